"""Losses of this package, usable in any MMSegmentation config."""

from mmseg_semi.losses.contrast import PrototypeContrastLoss, prototype_contrast
from mmseg_semi.losses.pixel import (
    OHEMCrossEntropyLoss,
    check_divisor,
    masked_cross_entropy,
    ohem_cross_entropy,
    self_training_loss,
)

__all__ = [
    'OHEMCrossEntropyLoss',
    'PrototypeContrastLoss',
    'check_divisor',
    'masked_cross_entropy',
    'ohem_cross_entropy',
    'prototype_contrast',
    'self_training_loss',
]
