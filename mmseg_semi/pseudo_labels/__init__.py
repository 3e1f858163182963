"""From teacher logits to labels for unlabelled pixels."""

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
    'ConfidenceThreshold',
    'EntropyPercentile',
    'build_percentage',
    'entropy',
    'label_and_confidence',
    'masked_quantile',
    'most_certain',
]
