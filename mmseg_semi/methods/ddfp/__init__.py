"""DDFP: density-descending feature perturbation (CVPR 2024)."""

from mmseg_semi.methods.ddfp.direction import density_descending_direction, random_direction
from mmseg_semi.methods.ddfp.flow import CouplingFlow
from mmseg_semi.methods.ddfp.head import DDFPHead
from mmseg_semi.methods.ddfp.hook import FlowEstimatorHook
from mmseg_semi.methods.ddfp.mixture import IGNORED, UNLABELED, MixtureDensity
from mmseg_semi.methods.ddfp.objective import DDFPObjective

__all__ = [
    'CouplingFlow',
    'DDFPHead',
    'DDFPObjective',
    'FlowEstimatorHook',
    'IGNORED',
    'MixtureDensity',
    'UNLABELED',
    'density_descending_direction',
    'random_direction',
]
