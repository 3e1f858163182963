"""MLLC: multi-level label correction (IEEE Trans. Multimedia 2024)."""

from mmseg_semi.methods.mllc.class_counts import ClassCountThreshold
from mmseg_semi.methods.mllc.correction_quality import (
    CorrectionQuality,
    correction_quality,
    describe_quality,
)
from mmseg_semi.methods.mllc.head import MLLCHead, MLLCPlusHead
from mmseg_semi.methods.mllc.objective import MLLCObjective
from mmseg_semi.methods.mllc.pseudo_labels import GraphCorrection, TrainedGraphCorrection

__all__ = [
    'ClassCountThreshold',
    'CorrectionQuality',
    'GraphCorrection',
    'MLLCHead',
    'MLLCObjective',
    'MLLCPlusHead',
    'TrainedGraphCorrection',
    'correction_quality',
    'describe_quality',
]
