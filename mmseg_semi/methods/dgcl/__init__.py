"""DGCL: density-guided contrastive learning (CVPR 2023)."""

from mmseg_semi.methods.dgcl.class_bank import (
    UNKNOWN_DENSITY,
    ClassBank,
    ClassOrder,
    order_by_class,
)
from mmseg_semi.methods.dgcl.contrast import PrototypeContrastLoss, prototype_contrast
from mmseg_semi.methods.dgcl.head import DGCLHead, Projection
from mmseg_semi.methods.dgcl.knn import knn_density, neighbor_weights
from mmseg_semi.methods.dgcl.objective import DGCLObjective

__all__ = [
    'ClassBank',
    'ClassOrder',
    'DGCLHead',
    'DGCLObjective',
    'Projection',
    'PrototypeContrastLoss',
    'UNKNOWN_DENSITY',
    'knn_density',
    'neighbor_weights',
    'order_by_class',
    'prototype_contrast',
]
