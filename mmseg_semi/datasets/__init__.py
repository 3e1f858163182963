"""Data sets, sampling and transforms for labelled and unlabelled images; registered in mmseg."""

from .camvid import CamVidDataset
from .colour import DeferColour, PILColorJitter, PILGaussianBlur, PILGrayscale
from .folder_dataset import FolderDataset, LoadAnyImage, LoadAnyLabels
from .pools import ShardedImages
from .quickstart import QuickstartDataset
from .samplers import MultiSourceSampler, SampleKey
from .semi_dataset import SemiDataset
from .sun_rgbd import SUNRGBDDataset
from .transforms import (
    EvaluateAtThisSize,
    InitValidMap,
    LoadImage,
    LoadSegLabels,
    MultiBranch,
    PackSemiInputs,
    PadAllMaps,
    RandomRelativeResize,
    RandomScaleCrop,
)

__all__ = [
    'CamVidDataset',
    'DeferColour',
    'EvaluateAtThisSize',
    'FolderDataset',
    'InitValidMap',
    'LoadAnyImage',
    'LoadAnyLabels',
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
    'RandomScaleCrop',
    'SUNRGBDDataset',
    'SampleKey',
    'SemiDataset',
    'ShardedImages',
]
