"""Names of metrics that validations compute, and what a mean hides."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmseg.evaluation import IoUMetric

from mmseg_semi.errors import SetupError
from mmseg_semi.step.metric_checks import check_metrics


def scores(metric: str) -> float:
    """MMSegmentation's mean over three classes: two half right, one never predicted."""
    areas = torch.tensor([50.0, 50.0, 0.0]), torch.tensor([100.0, 100.0, 50.0])
    predicted, label = torch.tensor([100.0, 50.0, 0.0]), torch.tensor([50.0, 100.0, 50.0])
    found = IoUMetric.total_area_to_metrics(areas[0], areas[1], predicted, label, [metric])
    return float(np.nanmean(found['Fscore' if metric == 'mFscore' else 'Dice']))


def test_a_metric_that_a_missed_class_raises_is_named():
    for names, expected in ((['mIoU'], 0), (['mFscore'], 1), (['mIoU', 'mFscore'], 1)):
        loop = SimpleNamespace(evaluator=Evaluator([IoUMetric(iou_metrics=names)]))
        said = check_metrics(SimpleNamespace(val_loop=loop, hooks=[], model=None))
        assert len(said) == expected and all("'mDice'" in sentence for sentence in said)
    assert check_metrics(SimpleNamespace(val_loop=None)) == []
    # what the sentence says: 2/3, 2/3 and a class that is missed
    assert scores('mFscore') == pytest.approx(2 / 3) and scores('mDice') == pytest.approx(4 / 9)


class ValLoop:
    def __init__(self, *metrics: IoUMetric) -> None:
        self.evaluator = Evaluator(list(metrics))


def run_with(loop: ValLoop, save_best) -> SimpleNamespace:
    """A runner of a model with two networks, whose checkpoint hook chooses by a metric."""
    hook = CheckpointHook(by_epoch=False, save_best=save_best, rule='greater')
    model = SimpleNamespace(networks=dict(teacher=None, student=None))
    return SimpleNamespace(val_loop=loop, hooks=[hook], model=model)


@pytest.mark.parametrize('name', ['mIoU', 'student/mAcc', 'teacher/mDice', 'auto'])
def test_names_that_are_computed(name):
    assert check_metrics(run_with(ValLoop(IoUMetric(iou_metrics=['mIoU', 'mDice'])), name)) == []


@pytest.mark.parametrize('name', ['mFscore', 'techer/mIoU', 'miou'])
def test_names_that_are_none(name):
    with pytest.raises(SetupError, match=f"CheckpointHook.save_best='{name}' is no metric"):
        check_metrics(run_with(ValLoop(IoUMetric()), name))


def test_other_metrics_may_have_any_name():
    class Other(IoUMetric):
        pass

    assert check_metrics(run_with(ValLoop(IoUMetric(), Other()), 'boundary')) == []
