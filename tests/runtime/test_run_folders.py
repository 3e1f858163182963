"""A clock that is set back, starts in one second, and a disk that is full while something else than a checkpoint is written."""

import errno
import json
import logging
import os
import re
import time

import pytest
import torch
from mmengine.hooks import Hook
from tiny_semi import tiny_data
from whole_runs import train

from mmseg_semi.errors import UnwritableFileError
from mmseg_semi.files import whole_file
from mmseg_semi.runtime.commands import describe_error
from mmseg_semi.runtime.report.collect import read_run
from mmseg_semi.runtime.run_folders import later_stamp, say_once
from mmseg_semi.runtime.stopping import TIME_IS_UP, StopHook, Stopped, StopRequests


class SetBack(Hook):
    """Sets the clock back by a day in the middle of a run."""

    priority = 'VERY_HIGH'

    def __init__(self, patch: pytest.MonkeyPatch, iteration: int) -> None:
        self.patch, self.iteration = patch, iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            set_clock(self.patch, -86400)


def set_clock(patch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time
    patch.setattr(time, 'time', lambda: now() + seconds)


def test_a_clock_that_is_set_back(tmp_path, monkeypatch):
    """Within a run, and between it and the one that goes on with it; both by days."""
    cfg = tiny_data(tmp_path, 'supervised', checkpoint_interval=2, val_interval=4)
    cfg.log_level = 'INFO'
    work_dir = tmp_path / 'run'
    train(cfg, work_dir, stop=4, hooks=(SetBack(monkeypatch, 2),))
    set_clock(monkeypatch, -86400)
    train(cfg, work_dir, resume=True)

    assert torch.load(work_dir / 'iter_8.pth', weights_only=True)['meta']['iter'] == 8
    first, second = sorted(path for path in work_dir.iterdir() if path.is_dir())
    text = {folder: next(folder.glob('*.log')).read_text() for folder in (first, second)}
    assert '[1/8]' in text[first] and '[5/8]' not in text[first]
    assert '[5/8]' in text[second] and '[4/8]' not in text[second]
    assert 'eta: 0:00:0' in text[first] and not re.search(r'eta: -|time: -', ''.join(text.values()))
    assert [step for step, _ in read_run(work_dir).scalars['time']] == list(range(1, 9))
    assert all(value > 0 for _, value in read_run(work_dir).scalars['time'])


def test_the_limit_of_time_is_no_time_of_day(tmp_path, monkeypatch):
    cfg = tiny_data(tmp_path, 'supervised')
    set_clock(monkeypatch, 86400)
    requests = StopRequests(1e-3)
    set_clock(monkeypatch, -2 * 86400)
    with pytest.raises(Stopped) as ended:
        requests.can_wait = True
        train(cfg, tmp_path / 'run', hooks=(StopHook(requests),))
    assert ended.value.iteration == 1 and StopRequests(60).pending() != TIME_IS_UP


def test_starts_in_one_second_have_folders_of_their_own(tmp_path):
    stamps = []
    for _ in range(3):
        stamps.append(later_stamp(tmp_path, '20261231_235959'))
        (tmp_path / stamps[-1]).mkdir()
    assert stamps == ['20261231_235959', '20270101_000000', '20270101_000001']
    (tmp_path / '99999999_999999').mkdir()  # no time
    assert later_stamp(tmp_path, '20261231_235959') == '20261231_235959'
    assert later_stamp(tmp_path / 'none', '20261231_235959') == '20261231_235959'


# -- a full disk -----------------------------------------------------------------------------------


def full(name: str | None = None) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *[name][: name is not None])


def test_a_log_that_cannot_be_written_is_told_once(tmp_path, capsys):
    handler = say_once(logging.FileHandler(tmp_path / 'run.log'))

    class Full:
        def write(self, text):
            raise full()

        def flush(self):
            pass

        close = flush

    handler.stream.close()
    handler.stream = Full()
    for _ in range(3):
        handler.handle(logging.makeLogRecord(dict(msg='a line', levelno=logging.INFO)))
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and f'{tmp_path}/run.log cannot be written: No space left' in said


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (
            full('a/scalars.json'),
            "'a/scalars.json' cannot be written: No space left on device; make",
        ),
        (full(), 'a file cannot be written: No space left on device; make room on that disk'),
        (PermissionError(errno.EACCES, 'Permission denied', 'x.png'), "'x.png' cannot be opened"),
    ],
)
def test_what_a_command_says(error, sentence):
    assert describe_error(error).startswith(sentence)


def test_a_file_stays_as_it_is(tmp_path):
    path = tmp_path / 'results.json'
    path.write_text(json.dumps('before'))
    with pytest.raises(UnwritableFileError, match=r'results.json.* cannot be written: No space'):
        with whole_file(path) as draft:
            draft.write_text('aft')
            raise full()
    assert path.read_text() == '"before"' and os.listdir(tmp_path) == ['results.json']
    # an error of a file that is read meanwhile is none of the written one
    with pytest.raises(PermissionError), whole_file(path):
        raise PermissionError(errno.EACCES, 'Permission denied', 'another.png')
