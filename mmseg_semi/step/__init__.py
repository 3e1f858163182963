"""The training step of every method."""

from mmseg_semi.step.adaptive_thresholds import (
    ClassShareThreshold,
    DistributionAlignment,
    FlexMatchThreshold,
    FreeMatchThreshold,
    SoftMatchWeight,
)
from mmseg_semi.step.class_shares import ClassShareHook
from mmseg_semi.step.data_preprocessor import SemiDataPreprocessor
from mmseg_semi.step.hooks import MeanTeacherHook, SemiStepHook
from mmseg_semi.step.losses import OHEMCrossEntropyLoss
from mmseg_semi.step.mixing import (
    AdaptiveCutMix,
    ClassMix,
    ColourAfterMixing,
    CutMix,
    CutOut,
    Mixing,
    MixingChoice,
)
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.pseudo_labels import ConfidenceThreshold, EntropyPercentile, PseudoLabeller
from mmseg_semi.step.segmentor import NonFiniteLossError, SemiSegmentor
from mmseg_semi.step.teacher import MovingAverage, TeacherRecipe

__all__ = [
    'AdaptiveCutMix',
    'ClassMix',
    'ClassShareHook',
    'ClassShareThreshold',
    'ColourAfterMixing',
    'ConfidenceThreshold',
    'CutMix',
    'CutOut',
    'DistributionAlignment',
    'EntropyPercentile',
    'FlexMatchThreshold',
    'FreeMatchThreshold',
    'MeanTeacherHook',
    'Mixing',
    'MixingChoice',
    'MovingAverage',
    'Needs',
    'Networks',
    'NonFiniteLossError',
    'OHEMCrossEntropyLoss',
    'Objective',
    'PseudoLabeller',
    'SemiDataPreprocessor',
    'SemiSegmentor',
    'SemiStepHook',
    'SoftMatchWeight',
    'TeacherRecipe',
]
