"""The semi-supervised segmentor and its data preprocessor."""

from mmseg_semi.segmentors.data_preprocessor import SemiDataPreprocessor
from mmseg_semi.segmentors.semi_segmentor import NonFiniteLossError, SemiSegmentor
from mmseg_semi.segmentors.teacher import TeacherRecipe

__all__ = ['NonFiniteLossError', 'SemiDataPreprocessor', 'SemiSegmentor', 'TeacherRecipe']
