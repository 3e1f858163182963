"""Metrics of validations before the first iteration: names that nothing computes, and what means hide."""

import difflib
from collections.abc import Iterable

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric

from mmseg_semi.errors import SetupError

_OF_IOU = {
    'mIoU': ('mIoU', 'mAcc'),
    'mDice': ('mDice', 'mAcc'),
    'mFscore': ('mFscore', 'mPrecision', 'mRecall'),
}
"""What IoUMetric computes by the name in ``iou_metrics``, beside aAcc."""
_LOOPS = ('ValLoop', 'TeacherStudentValLoop')


def check_metrics(runner: Runner) -> list[str]:
    """Checks the names of metrics that validations compute, and of those that hooks choose by.

    Names that hooks choose by are checked where all metrics are of MMSegmentation's IoUMetric and the loop is a usual one.

    Returns:
        A warning on mFscore: a class that is never predicted is left out of its mean, and missing it raises the mean.

    Raises:
        SetupError: IoUMetric knows no such metric, or a hook waits for one that no validation will have.
    """
    if runner.val_loop is None:
        return []
    metrics = runner.val_loop.evaluator.metrics
    names = {'aAcc'}
    for metric in metrics:
        if isinstance(metric, IoUMetric):
            names |= _names_of(metric)
    usual = all(type(metric) is IoUMetric and not metric.prefix for metric in metrics)
    if usual and type(runner.val_loop).__name__ in _LOOPS:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for hook in runner.hooks:
            _check_hook(hook, names, list(getattr(model, 'networks', ())))
    if not any('mFscore' in (getattr(metric, 'metrics', None) or []) for metric in metrics):
        return []
    return [
        "val_evaluator: 'mFscore' leaves out a class that is never predicted, so that missing a class raises it; 'mDice', the same "
        'number elsewhere, counts 0 for such a class'
    ]


def _names_of(metric: IoUMetric) -> set[str]:
    """Names of what a metric computes."""
    given = metric.metrics
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise SetupError(
            f'val_evaluator: iou_metrics of IoUMetric is {given!r:.80}, expected a list such as {[*_OF_IOU]}'
        )
    for name in given:
        if name not in _OF_IOU:
            raise SetupError(
                f'val_evaluator: iou_metrics of IoUMetric names {name!r}, expected some of {", ".join(_OF_IOU)}'
                + _similar(name, _OF_IOU)
            )
    return {of for name in metric.metrics for of in _OF_IOU[name]}


def _check_hook(hook: Hook, names: set[str], networks: list[str]) -> None:
    """Refuse a hook that keeps the best checkpoint, or ends the run, by a metric that is none."""
    if isinstance(hook, CheckpointHook):
        key = 'save_best'
    elif isinstance(hook, EarlyStoppingHook):
        key = 'monitor'
    else:
        return
    given = getattr(hook, key) or []
    for name in [given] if isinstance(given, str) else given:
        network, _, metric = name.rpartition('/')
        if name == 'auto' or metric in names and network in ('', *networks):
            continue
        of = f' of {" and ".join(networks)}, such as {networks[0]}/{max(names)}' * bool(networks)
        raise SetupError(
            f'{type(hook).__name__}.{key}={name!r} is no metric of the validation, which computes {", ".join(sorted(names))}{of}'
            + _similar(metric, names)
        )


def _similar(name: str, known: Iterable[str]) -> str:
    near = [one for one in difflib.get_close_matches(name, list(known), n=1) if one != name]
    return f'; did you mean {near[0]!r}?' if near else '; choose among them'
