"""One folder a method; importing this package registers all of them."""

from mmseg_semi.methods import cct, cps, ddfp, dgcl, mllc, stpp, u2pl, unimatch
from mmseg_semi.methods.perturbed_features import PerturbedFeaturesObjective
from mmseg_semi.methods.self_training import SelfTrainingObjective
from mmseg_semi.methods.supervised import SupervisedObjective

__all__ = [
    'PerturbedFeaturesObjective',
    'SelfTrainingObjective',
    'SupervisedObjective',
    'cct',
    'cps',
    'ddfp',
    'dgcl',
    'mllc',
    'stpp',
    'u2pl',
    'unimatch',
]
