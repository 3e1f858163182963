"""Backbones that MMSegmentation lacks."""

from mmseg_semi.backbones.ceil_resnet import CeilResNet

__all__ = ['CeilResNet']
