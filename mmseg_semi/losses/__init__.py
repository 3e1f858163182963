"""Losses of this package, usable in any MMSegmentation config."""

from mmseg_semi.losses.pixel import (
    OHEMCrossEntropyLoss,
    check_divisor,
    masked_cross_entropy,
    ohem_cross_entropy,
    self_training_loss,
)

__all__ = [
    'OHEMCrossEntropyLoss',
    'check_divisor',
    'masked_cross_entropy',
    'ohem_cross_entropy',
    'self_training_loss',
]
