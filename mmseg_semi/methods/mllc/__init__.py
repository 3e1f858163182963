"""MLLC: multi-level label correction (IEEE Trans. Multimedia 2024); see README.md.

``objective.py`` is the method's training step. It uses ``graphs.py`` (label correction on two
graphs), ``pseudo_labels.py`` (the correction as a pseudo-labeller), ``class_counts.py``
(thresholds), ``node_contrast.py`` and ``prototypes.py`` (losses on features), ``head.py`` (decoders
with an embedding) and ``correction_quality.py`` (what a correction changes).
"""

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
