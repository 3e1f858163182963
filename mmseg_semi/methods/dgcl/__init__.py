"""DGCL: density-guided contrastive learning (CVPR 2023); README.md says what is implemented.

``objective.py`` is the method's training step. It uses ``knn.py`` (density of features),
``class_bank.py`` (memory banks), ``class_order.py`` (samples of each class's pixels),
``class_tables.py`` (rows at such samples), ``contrast.py`` (loss) and ``head.py`` (decoder with a projection).
"""

from mmseg_semi.methods.dgcl.class_bank import UNKNOWN_DENSITY, ClassBank
from mmseg_semi.methods.dgcl.class_order import ClassOrder, order_by_class
from mmseg_semi.methods.dgcl.class_tables import at_size, draw_over_ranks, take
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
    'at_size',
    'draw_over_ranks',
    'knn_density',
    'neighbor_weights',
    'order_by_class',
    'prototype_contrast',
    'take',
]
