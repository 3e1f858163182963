"""AtomicCheckpointHook on a runner of one linear layer: what is on the disk, whenever it stops."""

import errno
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.fileio import LocalBackend
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmseg_semi.errors import SetupError, UnwritableFileError
from mmseg_semi.runtime.checkpoint_hook import AtomicCheckpointHook
from mmseg_semi.runtime.checkpoints import (
    best_checkpoint,
    from_plain,
    is_whole,
    latest_checkpoint,
    to_plain,
)


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x, mode='tensor'):
        y = self.linear(x)
        return {'loss': (y**2).mean()} if mode == 'loss' else [y]


class Score(BaseMetric):
    """A metric that is 1, 3, 2, 4, ... at the 1st, 2nd, ... validation of a run."""

    default_prefix = None

    def __init__(self, scores, name):
        super().__init__()
        self.scores, self.name = dict(scores), name
        self.runner = None

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {self.name: self.scores[self.runner.iter], 'other': np.float32(0.5)}


def build(work_dir, max_iters=4, resume=False, name='score', model=None, **hook):
    torch.manual_seed(0)
    data = DataLoader([{'x': torch.full((3,), float(i))} for i in range(8)], batch_size=2)
    metric = Score({1: 1.0, 2: 3.0, 3: 2.0, 4: 4.0}, name)
    runner = Runner(
        model=model or Toy(),
        work_dir=str(work_dir),
        train_dataloader=data,
        val_dataloader=data,
        val_evaluator=Evaluator(metric),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, end=4, by_epoch=False),
        default_hooks=dict(
            checkpoint=dict(type=AtomicCheckpointHook, by_epoch=False, **{'interval': 1} | hook),
            logger=dict(type='LoggerHook', interval=1),
        ),
        log_processor=dict(by_epoch=False),
        log_level='ERROR',
        load_from=str(latest_checkpoint(work_dir)) if resume else None,
        resume=resume,
        experiment_name=f'{Path(work_dir).name}-{time.monotonic_ns()}',
    )
    metric.runner = runner
    return runner


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.pth*'))


def weights(runner):
    return {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}


def test_files_of_a_whole_run(tmp_path):
    build(tmp_path, max_keep_ckpts=1, save_best='score', rule='greater').train()
    assert names(tmp_path) == ['best_score_iter_4.pth', 'iter_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_4.pth'
    checkpoint = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    info = checkpoint['message_hub']['runtime_info']
    # saved after the validation at 4 as well, so that resuming knows the best it has
    assert info['best_ckpt'] == 'best_score_iter_4.pth' and info['best_score'] == 4.0
    assert info['last_ckpt'] == 'iter_4.pth' and info['keep_ckpt_ids'] == [4]
    best = torch.load(tmp_path / 'best_score_iter_4.pth', weights_only=True)
    assert 'optimizer' not in best


def test_a_checkpoint_holds_its_validation(tmp_path):
    build(tmp_path, max_iters=3, save_best='score', rule='greater').train()
    hub = torch.load(tmp_path / 'iter_3.pth', weights_only=True)['message_hub']
    assert hub['runtime_info']['checkpoint_validated'] == 3
    scores = from_plain(hub)['log_scalars']['val/score'].data[0]
    assert scores.tolist() == [1.0, 3.0, 2.0]  # the last one is no new best


def test_several_best_metrics(tmp_path):
    build(tmp_path, save_best=['score', 'other'], rule='greater', max_keep_ckpts=2).train()
    expected = ['best_other_iter_1.pth', 'best_score_iter_4.pth', 'iter_3.pth', 'iter_4.pth']
    assert names(tmp_path) == expected


class Crash(BaseException):
    pass


def crash_at(monkeypatch, count):
    """Let the process 'die' at its count-th operation on files; returns the log of operations."""
    log = []

    def wrap(owner, name, before=None):
        original = getattr(owner, name)

        def operation(*args, **kwargs):
            log.append(name)
            if len(log) == count:
                if before:
                    before(*args)
                raise Crash(f'{count}: {name}')
            if len(log) > count:
                raise Crash('a dead process does nothing')
            # the death of a process does not lose what it wrote: syncing would only take time here
            return None if name == 'fsync' else original(*args, **kwargs)

        monkeypatch.setattr(owner, name, operation)

    def half(backend, data, path):
        Path(path).write_bytes(data[: len(data) // 2])

    wrap(LocalBackend, 'put', before=half)
    for owner, name in [(os, 'fsync'), (os, 'replace'), (Path, 'unlink'), (Path, 'write_bytes')]:
        wrap(owner, name)
    return log


def crashing_run(tmp_path, count):
    with pytest.MonkeyPatch.context() as monkeypatch:
        log = crash_at(monkeypatch, count)
        runner = build(tmp_path, max_keep_ckpts=1, save_best='score', rule='greater')
        try:
            runner.train()
        except Crash:
            return log
    return None


def test_a_crash_at_any_operation_leaves_whole_checkpoints(tmp_path):
    plain = build(tmp_path / 'plain', max_keep_ckpts=1, save_best='score', rule='greater')
    plain.train()
    expected = weights(plain)
    saved = best_saved = False
    count = 0
    while True:
        count += 1
        folder = tmp_path / f'crash{count}'
        log = crashing_run(folder, count)
        if log is None:
            break
        latest = latest_checkpoint(folder)
        # the first replace names the first checkpoint; from then on there always is one
        saved = saved or log[: count - 1].count('replace') >= 1
        assert not saved or latest is not None, log
        best = [path for path in folder.glob('best_*.pth') if is_whole(path)]
        best_saved = best_saved or log[: count - 1].count('replace') >= 3
        assert not best_saved or best, log
        for path in folder.glob('*.pth'):
            torch.load(path, weights_only=True)  # nothing under a final name is ever cut short
        if count % 5:  # going on is slower than crashing
            continue
        runner = build(
            folder,
            resume=latest is not None,
            max_keep_ckpts=1,
            save_best='score',
            rule='greater',
        )
        runner.train()
        assert names(folder) == ['best_score_iter_4.pth', 'iter_4.pth'], log
        assert all(torch.equal(expected[k], v) for k, v in weights(runner).items())
        scores = runner.message_hub.get_scalar('val/score').data[0]
        assert scores.tolist() == [1.0, 3.0, 2.0, 4.0], log  # no validation is missing or double
    assert count > 40


@pytest.mark.parametrize(
    ('number', 'fix'),
    [(errno.ENOSPC, 'make room on that disk'), (errno.EROFS, 'make its folder writable')],
)
def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch, number, fix):
    def half(backend, data, path):
        if 'iter_3' in str(path):
            Path(path).write_bytes(data[: len(data) // 2])
            raise OSError(number, os.strerror(number))
        Path(path).write_bytes(data)

    monkeypatch.setattr(LocalBackend, 'put', half)
    with pytest.raises(UnwritableFileError) as error:
        build(tmp_path, max_keep_ckpts=1).train()
    said = str(error.value)
    assert said.startswith(f"checkpoint '{tmp_path}/iter_3.pth' cannot be written: ")
    assert f'--resume goes on from {tmp_path}/iter_2.pth, which is whole; {fix}' in said
    assert names(tmp_path) == ['iter_2.pth'] and is_whole(tmp_path / 'iter_2.pth')
    assert not list(tmp_path.glob('.*'))  # no draft takes up room
    monkeypatch.undo()
    runner = build(tmp_path, resume=True, max_keep_ckpts=1)
    runner.train()
    whole = build(tmp_path / 'whole')
    whole.train()
    assert all(torch.equal(v, weights(runner)[k]) for k, v in weights(whole).items())


def test_killed_at_random_moments(tmp_path):
    rng = random.Random(0)
    for _ in range(3):
        child = os.fork()
        if child == 0:  # saves as fast as it can until it is killed
            try:
                torch.set_num_threads(1)
                runner = build(
                    tmp_path, 10**6, latest_checkpoint(tmp_path) is not None, max_keep_ckpts=1
                )
                runner._val_loop = None
                runner._val_dataloader = runner._val_evaluator = None
                runner.model.register_buffer('ballast', torch.zeros(200_000))
                runner.train()
            finally:
                os._exit(1)
        deadline = time.monotonic() + 30
        while latest_checkpoint(tmp_path) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.2, 0.6))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        latest = latest_checkpoint(tmp_path)
        step = torch.load(latest, weights_only=True)['meta']['iter']
        assert latest.name == f'iter_{step}.pth'


def test_a_moved_work_dir_resumes(tmp_path):
    kept = dict(max_keep_ckpts=2, save_best='score', rule='greater')
    build(tmp_path / 'here', max_iters=2, **kept).train()
    shutil.copytree(tmp_path / 'here', tmp_path / 'there')
    runner = build(tmp_path / 'there', resume=True, **kept)
    runner.train()
    assert names(tmp_path / 'here') == ['best_score_iter_2.pth', 'iter_1.pth', 'iter_2.pth']
    assert names(tmp_path / 'there') == ['best_score_iter_4.pth', 'iter_3.pth', 'iter_4.pth']
    whole = build(tmp_path / 'whole', **kept)
    whole.train()
    assert all(torch.equal(v, weights(runner)[k]) for k, v in weights(whole).items())


def test_resume_true_takes_the_newest_whole_file(tmp_path):
    build(tmp_path, max_iters=3).train()
    with open(tmp_path / 'iter_3.pth', 'rb+') as file:
        file.truncate(file.seek(0, 2) // 2)
    runner = build(tmp_path)
    runner._resume = True  # MMEngine's own way, without a path
    runner.train_loop  # noqa: B018  # builds it
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.load_or_resume()
    assert runner.iter == 2


def test_latest_checkpoint(tmp_path, caplog):
    assert latest_checkpoint(tmp_path) is None
    for step in (2, 10):
        torch.save({'x': torch.zeros(100)}, tmp_path / f'iter_{step}.pth')
    torch.save({}, tmp_path / 'best_mIoU_iter_99.pth')
    assert latest_checkpoint(tmp_path).name == 'iter_10.pth'  # by number, not by letter
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/iter_2.pth\n')
    assert latest_checkpoint(tmp_path).name == 'iter_2.pth'
    (tmp_path / 'iter_2.pth').write_bytes(b'PK\x03\x04 cut')
    assert latest_checkpoint(tmp_path).name == 'iter_10.pth'
    (tmp_path / 'iter_10.pth').unlink()
    assert latest_checkpoint(tmp_path) is None


def test_the_time_of_a_file_tells_nothing(tmp_path):
    """A clock may be set back between two starts, and a copied folder has the times of the copy."""
    for step, age in ((9, 2e9), (10, 1e9), (11, 0)):
        for name in (f'iter_{step}.pth', f'best_mIoU_iter_{step}.pth'):
            torch.save({}, tmp_path / name)
            os.utime(tmp_path / name, (time.time() + age,) * 2)
    assert latest_checkpoint(tmp_path).name == 'iter_11.pth'
    assert best_checkpoint(tmp_path).name == 'best_mIoU_iter_11.pth'


def test_unfinished_files_are_removed_at_the_start(tmp_path):
    kept = ['.mine.txt.12.draft', 'mine.tmp']
    drafts = ['.iter_9.pth.12.draft', '.best_score_iter_9.pth.12.draft', '.last_checkpoint.3.draft']
    old_drafts = ['iter_9.pth.tmp', 'best_score_iter_9.pth.tmp', 'last_checkpoint.tmp']
    for name in kept + drafts + old_drafts:
        (tmp_path / name).write_text('')
    build(tmp_path, max_iters=1).train()
    left = [path.name for path in tmp_path.iterdir() if path.suffix in ('.tmp', '.draft')]
    assert sorted(left) == kept


def test_message_hub_round_trip(tmp_path):
    runner = build(tmp_path, max_iters=2)
    hub = runner.message_hub
    hub.update_scalar('train/mine', np.float64(0.25))
    hub.update_info('array', np.arange(6, dtype=np.int16).reshape(2, 3))
    hub.update_info('scalar', np.float32(1.5))
    hub.update_info('path', Path('/a/b'))
    hub.update_info('unsaveable', object())
    runner.train()
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    assert 'unsaveable' not in saved['message_hub']['runtime_info']

    other = build(tmp_path, max_iters=2, resume=True)
    checkpoint = other.load_checkpoint(str(tmp_path / 'iter_2.pth'))
    fresh = MessageHub(f'fresh{time.monotonic_ns()}')
    fresh.load_state_dict(checkpoint['message_hub'])
    for key, buffer in runner.message_hub.log_scalars.items():
        for mine, theirs in zip(fresh.get_scalar(key).data, buffer.data, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
    array = fresh.get_info('array')
    assert array.dtype == np.int16 and array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert fresh.get_info('scalar') == 1.5 and fresh.get_info('path') == '/a/b'


def test_plain_forms():
    history = HistoryBuffer()
    history.update(1.0)
    state = nn.BatchNorm1d(2).state_dict()
    value = {
        'numbers': [np.int64(3), np.bool_(True), 2.5, None],
        'tuple': (np.float32(0.5), 'a'),
        'arrays': np.eye(2),
        'zero_d': np.array(4),
        'history': history,
        'state': state,
    }
    plain = to_plain(value)
    assert [type(item) for item in plain['numbers']] == [int, bool, float, type(None)]
    assert type(plain['tuple'][0]) is float
    assert plain['state']._metadata == state._metadata
    back = from_plain(plain)
    np.testing.assert_array_equal(back['arrays'], np.eye(2))
    assert back['zero_d'].shape == () and back['zero_d'] == 4
    assert back['history'].current() == 1.0 and back['tuple'] == (0.5, 'a')
    with pytest.raises(SetupError, match=r"'meta.a.1' holds a builtins.object"):
        to_plain({'a': [0, object()]}, 'meta')


def test_save_best_is_the_predicting_network(tmp_path):
    class Two(Toy):
        predicting_network = 'teacher'

    build(tmp_path, name='teacher/score', model=Two(), save_best='score', rule='greater').train()
    assert 'best_teacher_score_iter_4.pth' in names(tmp_path)


def test_save_best_of_an_unknown_metric(tmp_path):
    with pytest.raises(
        SetupError, match="save_best='mIoU' is no metric of the validation; .*score"
    ):
        build(tmp_path, save_best='mIoU', rule='greater').train()


def test_other_stores_are_refused(tmp_path):
    with pytest.raises(SetupError, match='local folder'):
        build(tmp_path, out_dir='s3://bucket').train()
