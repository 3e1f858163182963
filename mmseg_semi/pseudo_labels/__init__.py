"""From teacher logits to labels for unlabelled pixels."""

from mmseg_semi.pseudo_labels.threshold import (
    ConfidenceThreshold,
    EntropyPercentile,
    entropy,
    label_and_confidence,
    masked_quantile,
)

__all__ = [
    'ConfidenceThreshold',
    'EntropyPercentile',
    'entropy',
    'label_and_confidence',
    'masked_quantile',
]
