"""From teacher logits to labels for unlabelled pixels."""

from mmseg_semi.pseudo_labels.class_counts import ClassCountThreshold
from mmseg_semi.pseudo_labels.correction_quality import (
    CorrectionQuality,
    correction_quality,
    describe_quality,
)
from mmseg_semi.pseudo_labels.graph_correction import GraphCorrection, TrainedGraphCorrection
from mmseg_semi.pseudo_labels.threshold import (
    ConfidenceThreshold,
    EntropyPercentile,
    build_percentage,
    entropy,
    label_and_confidence,
    masked_quantile,
    most_certain,
)

__all__ = [
    'ClassCountThreshold',
    'ConfidenceThreshold',
    'CorrectionQuality',
    'EntropyPercentile',
    'GraphCorrection',
    'TrainedGraphCorrection',
    'build_percentage',
    'correction_quality',
    'describe_quality',
    'entropy',
    'label_and_confidence',
    'masked_quantile',
    'most_certain',
]
