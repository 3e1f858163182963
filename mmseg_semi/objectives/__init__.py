"""Objectives: one file a method."""

from mmseg_semi.objectives.base import Objective
from mmseg_semi.objectives.cct import CCTObjective
from mmseg_semi.objectives.ddfp import DDFPObjective
from mmseg_semi.objectives.dgcl import DGCLObjective
from mmseg_semi.objectives.mllc import MLLCObjective
from mmseg_semi.objectives.perturbed_features import PerturbedFeaturesObjective
from mmseg_semi.objectives.self_training import SelfTrainingObjective
from mmseg_semi.objectives.supervised import SupervisedObjective

__all__ = [
    'CCTObjective',
    'DDFPObjective',
    'DGCLObjective',
    'MLLCObjective',
    'Objective',
    'PerturbedFeaturesObjective',
    'SelfTrainingObjective',
    'SupervisedObjective',
]
