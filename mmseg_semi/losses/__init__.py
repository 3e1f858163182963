"""Losses of this package, usable in any MMSegmentation config."""

from mmseg_semi.losses.bootstrapped import AnnealedBootstrappedCELoss, bootstrapped_cross_entropy
from mmseg_semi.losses.consistency import (
    Term,
    cell_chunks,
    consistency_sums,
    decoder_sums,
    find_distance,
    label_cross_entropy,
)
from mmseg_semi.losses.contrast import PrototypeContrastLoss, prototype_contrast
from mmseg_semi.losses.pixel import (
    OHEMCrossEntropyLoss,
    check_divisor,
    masked_cross_entropy,
    ohem_cross_entropy,
    self_training_loss,
)

__all__ = [
    'AnnealedBootstrappedCELoss',
    'OHEMCrossEntropyLoss',
    'bootstrapped_cross_entropy',
    'cell_chunks',
    'PrototypeContrastLoss',
    'check_divisor',
    'Term',
    'consistency_sums',
    'decoder_sums',
    'label_cross_entropy',
    'find_distance',
    'masked_cross_entropy',
    'ohem_cross_entropy',
    'prototype_contrast',
    'self_training_loss',
]
