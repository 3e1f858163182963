"""Perturbations of features, in pure PyTorch."""

from .density_descending import density_descending_direction, random_direction

__all__ = ['density_descending_direction', 'random_direction']
