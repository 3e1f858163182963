"""A second run in a work folder is refused before it writes anything, and a killed one leaves nothing that must be removed."""

import errno
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_semi import tiny_data
from whole_runs import call_tool, on_ranks

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import devices, run_lock
from mmseg_semi.runtime.run_lock import LOCK, NOTE, Owner, hold


@pytest.fixture
def no_locks(monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(run_lock.fcntl, 'flock', flock)


def refused(folder: Path) -> str:
    with pytest.raises(SetupError) as error, hold(folder):
        pass
    return str(error.value)


def test_the_second_is_told_who_is_there(tmp_path):
    folder = tmp_path / 'run'
    with hold(folder):
        said = refused(folder)
        assert said.startswith(f"the work folder '{folder}' holds a run that is going on: process")
        assert f'process {os.getpid()} on {socket.gethostname()}, since 2' in said
        assert 'another --work-dir, or stop that one' in said and 'by --resume' in said
        assert [path.name for path in folder.iterdir()] == [LOCK]
        (folder / 'iter_1.pth').touch()
    with hold(folder):  # free again
        pass
    assert [path.name for path in folder.iterdir()] == ['iter_1.pth']


def test_a_folder_into_which_nothing_came_is_removed(tmp_path):
    with hold(tmp_path / 'run'):
        pass
    assert not (tmp_path / 'run').exists()


def test_the_command_refuses_before_it_writes(tmp_path, capsys):
    cfg = tiny_data(tmp_path, 'supervised')
    with hold(tmp_path / 'run'):
        for options in ([], ['--resume']):
            with pytest.raises(SystemExit) as end:
                call_tool('train', cfg.filename, '--work-dir', tmp_path / 'run', *options)
            said = capsys.readouterr()
            assert end.value.code == 2 and said.out == ''
            assert re.fullmatch(r"error: the work folder '.*run' holds a run .*\n", said.err)
        assert [path.name for path in (tmp_path / 'run').iterdir()] == [LOCK]


def test_a_killed_run_leaves_no_lock(tmp_path):
    """Not even while its workers live on; they are forked from it."""
    ready = tmp_path / 'ready'
    run = os.fork()
    if run == 0:
        with hold(tmp_path / 'run'):
            worker = os.fork()
            if worker:
                ready.write_text(str(worker))
            time.sleep(60)
        os._exit(0)
    while not ready.exists() or not ready.read_text():
        time.sleep(0.01)
    try:
        assert f'process {run} on' in refused(tmp_path / 'run')
        os.kill(run, signal.SIGKILL)
        os.waitpid(run, 0)
        assert (tmp_path / 'run' / LOCK).exists()
        os.kill(int(ready.read_text()), 0)  # the worker is there
        with hold(tmp_path / 'run'):
            pass
    finally:
        os.kill(int(ready.read_text()), signal.SIGKILL)


def test_a_run_killed_on_another_machine_is_named(tmp_path, capsys):
    """Its lock may be one that this machine does not see."""
    owner = Owner('elsewhere', 12, '2026-11-28 09:00:00+00:00')
    (tmp_path / LOCK).write_text(json.dumps(owner._asdict()))
    with hold(tmp_path):
        assert 'process 12 on elsewhere' in capsys.readouterr().out


def test_without_locks_a_note_says_who_is_there(tmp_path, no_locks, capsys):
    with hold(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [NOTE]
        assert 'cannot be locked (No locks available)' in capsys.readouterr().out
        said = refused(tmp_path)
        assert f'process {os.getpid()} on' in said and f'remove {tmp_path / NOTE}' in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('change', [dict(pid=2**22 + 1), dict(started=1)])
def test_without_locks_a_dead_process_is_no_run(tmp_path, no_locks, change):
    (tmp_path / NOTE).write_text(json.dumps(Owner.this_process()._replace(**change)._asdict()))
    with hold(tmp_path):
        assert json.loads((tmp_path / NOTE).read_text())['pid'] == os.getpid()


def test_without_locks_another_machine_is_believed(tmp_path, no_locks):
    (tmp_path / NOTE).write_text(json.dumps(Owner('elsewhere', 2**22 + 1, 'then')._asdict()))
    assert 'on elsewhere, since then' in refused(tmp_path)
    (tmp_path / NOTE).write_text('')
    assert 'a process that gave no name' in refused(tmp_path)


@pytest.mark.parametrize(
    ('number', 'words'),
    [
        (errno.EROFS, 'Read-only file system; make its folder writable, or name another'),
        (errno.EACCES, 'Permission denied; make its folder writable, or name another'),
        (errno.ENOSPC, 'No space left on device; make room on that disk, or name'),
    ],
)
def test_a_folder_that_takes_no_files(tmp_path, monkeypatch, number, words):
    def refuse(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(run_lock.os, 'open', refuse)
    assert f"'{tmp_path}' cannot be written: {words}" in refused(tmp_path)


def test_a_file_where_the_folder_must_be(tmp_path):
    (tmp_path / 'run').write_text('')
    for folder in (tmp_path / 'run', tmp_path / 'run' / 'below'):
        assert f"'{folder}' cannot be written" in (said := refused(folder))
        assert 'a file stands where a folder must be' in said


def hold_on_ranks(rank: int, path: str, folder: Path) -> str:
    devices.init_distributed(Config.fromfile(path), 'pytorch')
    with hold(folder):
        said = refused(folder)
    return said


def test_all_ranks_are_refused(tmp_path):
    cfg = tiny_data(tmp_path, 'supervised')
    one, other = on_ranks(hold_on_ranks, 2, cfg.filename, tmp_path / 'run')
    assert one == other and 'holds a run that is going on: process' in one
