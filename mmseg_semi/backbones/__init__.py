"""Backbones that MMSegmentation lacks."""

from mmseg_semi.backbones.ceil_resnet import CeilResNet
from mmseg_semi.backbones.efficientnet_lite import EfficientNetLite

__all__ = ['CeilResNet', 'EfficientNetLite']
