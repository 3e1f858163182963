"""DDFP: density-descending feature perturbation (CVPR 2024); README.md says what is implemented.

``objective.py`` is the method's training step. It uses ``flow.py`` (normalizing flow),
``mixture.py`` (density of features), ``direction.py`` (perturbation), ``head.py`` (decoder with
auxiliary norms) and ``hook.py`` (fit of the density).
"""

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
