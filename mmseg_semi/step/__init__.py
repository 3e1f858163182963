"""The training step of every method."""

from mmseg_semi.step.data_preprocessor import SemiDataPreprocessor
from mmseg_semi.step.hooks import SemiStepHook
from mmseg_semi.step.losses import OHEMCrossEntropyLoss
from mmseg_semi.step.mean_teacher_hook import MeanTeacherHook
from mmseg_semi.step.mixing import ClassMix, ColourAfterMixing, CutMix, CutOut
from mmseg_semi.step.objective import Objective
from mmseg_semi.step.pseudo_labels import ConfidenceThreshold, EntropyPercentile
from mmseg_semi.step.segmentor import NonFiniteLossError, SemiSegmentor
from mmseg_semi.step.teacher import TeacherRecipe

__all__ = [
    'ClassMix',
    'ColourAfterMixing',
    'ConfidenceThreshold',
    'CutMix',
    'CutOut',
    'EntropyPercentile',
    'MeanTeacherHook',
    'NonFiniteLossError',
    'OHEMCrossEntropyLoss',
    'Objective',
    'SemiDataPreprocessor',
    'SemiSegmentor',
    'SemiStepHook',
    'TeacherRecipe',
]
