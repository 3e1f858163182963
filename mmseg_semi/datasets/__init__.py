"""Data sets, sampling and transforms for labelled and unlabelled images; registered in mmseg."""

from .camvid import CamVidDataset
from .quickstart import QuickstartDataset
from .samplers import MultiSourceSampler, SampleKey
from .semi_dataset import SemiDataset
from .transforms import (
    EvaluateAtThisSize,
    InitValidMap,
    LoadImage,
    LoadSegLabels,
    MultiBranch,
    PackSemiInputs,
    PadAllMaps,
    PILColorJitter,
    PILGaussianBlur,
    PILGrayscale,
    RandomRelativeResize,
)

__all__ = [
    'CamVidDataset',
    'EvaluateAtThisSize',
    'InitValidMap',
    'LoadImage',
    'LoadSegLabels',
    'MultiBranch',
    'MultiSourceSampler',
    'PILColorJitter',
    'PILGaussianBlur',
    'PILGrayscale',
    'PackSemiInputs',
    'PadAllMaps',
    'QuickstartDataset',
    'RandomRelativeResize',
    'SampleKey',
    'SemiDataset',
]
