"""One pass over the data scores both networks as two passes would."""

import pytest
import torch
from tiny_semi import tiny_data, tiny_model, tiny_preprocessor, tiny_runner, tiny_student
from torch import nn

from mmseg_semi.errors import SetupError


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    """A run whose networks predict differently."""
    cfg = tiny_data(tmp_path_factory.mktemp('loops'), 'fixmatch', iterations=1)
    runner = tiny_runner(cfg)
    runner.train()
    torch.manual_seed(0)
    for network in runner.model.networks.values():
        nn.init.normal_(network.decode_head.conv_seg.weight)
    return runner


class Recorder:
    """A hook that notes what the loop calls it with."""

    def __init__(self, runner, stage: str) -> None:
        self.calls = []
        self.outputs = []
        hook = runner.call_hook

        def call(name, **kwargs):
            if stage in name:
                self.calls.append(name)
            if name == f'after_{stage}_iter':
                self.outputs.append(kwargs['outputs'])
            if name == f'after_{stage}_epoch':
                self.metrics = kwargs['metrics']
            hook(name, **kwargs)

        runner.call_hook = call


def separate(runner, name: str) -> dict:
    """Metrics of one network by mmengine's own loop."""
    loop = runner.build_test_loop(dict(type='mmengine.TestLoop'))
    with runner.model.predict_with(name):
        return loop.run()


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_metrics_are_those_of_two_evaluations(runner, stage, monkeypatch):
    expected = {name: separate(runner, name) for name in ('teacher', 'student')}
    assert expected['teacher'] != expected['student']
    monkeypatch.setattr(runner, 'call_hook', runner.call_hook)
    recorder = Recorder(runner, stage)
    loop = runner.val_loop if stage == 'val' else runner.test_loop
    evaluator = loop.evaluator
    for _ in range(2):  # nothing is left over from the time before
        recorder.calls.clear()
        metrics = loop.run()
        assert metrics == {
            f'{name}/{key}': value for name in expected for key, value in expected[name].items()
        }
        assert recorder.metrics == metrics
        each = [f'before_{stage}_iter', f'after_{stage}_iter'] * len(loop.dataloader)
        around = [
            f'before_{stage}',
            f'before_{stage}_epoch',
            f'after_{stage}_epoch',
            f'after_{stage}',
        ]
        assert recorder.calls == [*around[:2], *each, *around[2:]]
    assert all(not metric.results for metric in evaluator.metrics)
    # hooks draw the network that predicts
    model = runner.model
    batch = next(iter(loop.dataloader))
    deployed = model.network('teacher')
    shown = recorder.outputs[0][0].seg_logits.data
    expected = deployed.predict(
        model.data_preprocessor(batch, False)['inputs'], batch['data_samples']
    )
    assert (shown == expected[0].seg_logits.data).all()


def test_networks_can_be_chosen(runner):
    loop = runner.build_test_loop(dict(type='TeacherStudentTestLoop', networks=['student']))
    metrics = loop.run()
    assert metrics and all(key.startswith('student/') for key in metrics)
    loop = runner.build_val_loop(dict(type='TeacherStudentValLoop', networks=['unknown']))
    with pytest.raises(SetupError, match="network 'unknown'"):
        loop.run()


def test_a_model_with_one_network_has_one_set_of_metrics(tmp_path):
    cfg = tiny_data(tmp_path, 'supervised', iterations=1)
    runner = tiny_runner(cfg)
    metrics = runner.val()
    assert set(metrics) == {'student/aAcc', 'student/mIoU', 'student/mAcc'}
    plain = tiny_student(11) | dict(data_preprocessor=tiny_preprocessor(), _delete_=True)
    other = tiny_runner(cfg, model=plain)
    model = tiny_model('supervised', num_classes=11)
    runner.model.load_state_dict(model.state_dict())
    other.model.load_state_dict(model.student.state_dict())
    metrics = {key.removeprefix('student/'): value for key, value in runner.val().items()}
    assert other.val() == metrics
