"""Density models of pixel features, in pure PyTorch."""

from .flow import CouplingFlow
from .mixture import IGNORED, UNLABELED, MixtureDensity

__all__ = ['IGNORED', 'UNLABELED', 'CouplingFlow', 'MixtureDensity']
