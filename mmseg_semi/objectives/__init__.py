"""Objectives: one file a method."""

from mmseg_semi.objectives.base import Objective
from mmseg_semi.objectives.ddfp import DDFPObjective
from mmseg_semi.objectives.mllc import MLLCObjective
from mmseg_semi.objectives.self_training import SelfTrainingObjective
from mmseg_semi.objectives.supervised import SupervisedObjective

__all__ = [
    'DDFPObjective',
    'MLLCObjective',
    'Objective',
    'SelfTrainingObjective',
    'SupervisedObjective',
]
