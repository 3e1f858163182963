"""ST and ST++: self-training in stages on stored pseudo-masks (CVPR 2022); README.md says what is implemented.

``stability.py`` ranks images, ``objective.py`` learns their pseudo-masks, ``hook.py`` keeps the weights that are
compared, ``lengths.py`` counts the iterations of the published runs. The stages are run by
``mmseg_semi/cli/selective_retraining.py``.
"""

from mmseg_semi.methods.stpp.hook import SnapshotHook
from mmseg_semi.methods.stpp.lengths import lengths_on_split, stage_lengths
from mmseg_semi.methods.stpp.objective import PseudoMaskObjective
from mmseg_semi.methods.stpp.stability import (
    confusion_matrix,
    mean_iou,
    most_stable,
    stability_score,
)

__all__ = [
    'PseudoMaskObjective',
    'SnapshotHook',
    'confusion_matrix',
    'lengths_on_split',
    'mean_iou',
    'most_stable',
    'stability_score',
    'stage_lengths',
]
