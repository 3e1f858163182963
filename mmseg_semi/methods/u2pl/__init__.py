"""U2PL: pixels without a reliable pseudo-label as negatives (CVPR 2022); README.md says what is implemented.

``objective.py`` is the method's training step. It uses ``negatives.py`` (which pixels are negatives of
which classes), ``class_queue.py`` (recent negatives of each class) and ``contrast.py`` (loss).
``dgcl.py`` gives DGCL these negatives.
"""

from mmseg_semi.methods.u2pl.class_queue import ClassQueue
from mmseg_semi.methods.u2pl.contrast import QueueContrastLoss, queue_contrast
from mmseg_semi.methods.u2pl.dgcl import DGCLUnreliableObjective
from mmseg_semi.methods.u2pl.negatives import UnreliableNegatives, negative_classes
from mmseg_semi.methods.u2pl.objective import U2PLObjective

__all__ = [
    'ClassQueue',
    'DGCLUnreliableObjective',
    'QueueContrastLoss',
    'U2PLObjective',
    'UnreliableNegatives',
    'negative_classes',
    'queue_contrast',
]
