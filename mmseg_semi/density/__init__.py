"""Density models of pixel features, in pure PyTorch."""

from .class_bank import UNKNOWN_DENSITY, ClassBank, ClassOrder, order_by_class
from .flow import CouplingFlow
from .knn import knn_density, neighbor_weights
from .mixture import IGNORED, UNLABELED, MixtureDensity

__all__ = [
    'IGNORED',
    'UNKNOWN_DENSITY',
    'UNLABELED',
    'ClassBank',
    'ClassOrder',
    'CouplingFlow',
    'MixtureDensity',
    'knn_density',
    'neighbor_weights',
    'order_by_class',
]
