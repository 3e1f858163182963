"""Hooks around MMEngine's runner."""

from mmseg_semi.hooks.checkpoint_hook import AtomicCheckpointHook
from mmseg_semi.hooks.flow_estimator_hook import FlowEstimatorHook
from mmseg_semi.hooks.mean_teacher_hook import MeanTeacherHook
from mmseg_semi.hooks.pseudo_label_hook import PseudoLabelHook
from mmseg_semi.hooks.results_hook import ResultsHook
from mmseg_semi.hooks.step_hook import SemiStepHook

__all__ = [
    'AtomicCheckpointHook',
    'FlowEstimatorHook',
    'MeanTeacherHook',
    'PseudoLabelHook',
    'ResultsHook',
    'SemiStepHook',
]
