"""What training reads: data sets, sampling and transforms of labelled and unlabelled images."""

from mmseg_semi.data.camvid import CamVidDataset
from mmseg_semi.data.coco import COCOObjectsDataset
from mmseg_semi.data.colour import (
    DeferColour,
    PILColorJitter,
    PILGaussianBlur,
    PILGrayscale,
    RandomIntensity,
)
from mmseg_semi.data.folder_dataset import FolderDataset
from mmseg_semi.data.pools import ShardedImages
from mmseg_semi.data.quickstart import QuickstartDataset
from mmseg_semi.data.samplers import MultiSourceSampler, SampleKey
from mmseg_semi.data.semi_dataset import SemiDataset
from mmseg_semi.data.sun_rgbd import SUNRGBDDataset
from mmseg_semi.data.transforms import (
    EvaluateAtThisSize,
    InitValidMap,
    LoadAnyImage,
    LoadAnyLabels,
    LoadImage,
    LoadPseudoMask,
    LoadSegLabels,
    MultiBranch,
    PackSemiInputs,
    PadAllMaps,
    RandomErasing,
    RandomRelativeResize,
    RandomScaleCrop,
)

__all__ = [
    'COCOObjectsDataset',
    'CamVidDataset',
    'DeferColour',
    'EvaluateAtThisSize',
    'FolderDataset',
    'InitValidMap',
    'LoadAnyImage',
    'LoadAnyLabels',
    'LoadImage',
    'LoadPseudoMask',
    'LoadSegLabels',
    'MultiBranch',
    'MultiSourceSampler',
    'PILColorJitter',
    'PILGaussianBlur',
    'PILGrayscale',
    'PackSemiInputs',
    'PadAllMaps',
    'QuickstartDataset',
    'RandomErasing',
    'RandomIntensity',
    'RandomRelativeResize',
    'RandomScaleCrop',
    'SUNRGBDDataset',
    'SampleKey',
    'SemiDataset',
    'ShardedImages',
]
