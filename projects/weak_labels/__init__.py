"""Training with image-level labels: a multi-label classifier, class maps, weak masks, objectives.

``custom_imports = dict(imports=['mmseg_semi', 'projects.weak_labels'])`` in a config registers
everything below.
"""

import mmseg_semi  # noqa: F401  (first: it adapts the stack)

# isort: split
from .classifier import ClassifierHook, MultiLabelClassifier, MultiLabelMetric
from .image_labels import ImageLabelDataset, PackImageLabels
from .objectives import WeakCCTObjective, WeakSelfTrainingObjective
from .weak_masks import LoadWeakMask

__all__ = [
    'ClassifierHook',
    'ImageLabelDataset',
    'LoadWeakMask',
    'MultiLabelClassifier',
    'MultiLabelMetric',
    'PackImageLabels',
    'WeakCCTObjective',
    'WeakSelfTrainingObjective',
]
