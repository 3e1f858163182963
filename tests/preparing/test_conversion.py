"""Plans of converters: made in one or several processes, interrupted, continued."""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from raw_data import snapshot

from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file, write_whole
from mmseg_semi.preparing import conversion
from mmseg_semi.preparing.conversion import Plan
from mmseg_semi.preparing.jobs import Job
from mmseg_semi.preparing.manifest import check_prepared


def everything(path: str) -> bool:
    return True


def upper(source: Path, target: Path) -> None:
    write_whole(target, source.read_bytes().upper(), sync=False)


def fail(source: Path, target: Path) -> None:
    raise SetupError(f'{source.name} is damaged')


def die(source: Path, target: Path) -> None:
    """As if killed in the middle of a file."""
    with whole_file(target, sync=False) as draft:
        draft.write_bytes(b'half')
        os._exit(9)


def write_pid_and_wait(source: Path, target: Path) -> None:
    write_whole(target, str(os.getpid()), sync=False)
    time.sleep(60)


def converter(out: Path, make=upper):
    def plan(files):
        jobs = [Job(make, file, out / 'made' / Path(name).name) for name, file in files.items()]
        return Plan(jobs, f'{len(jobs)} files', {'lists/all.txt': 'x\n'})

    return plan


@pytest.mark.parametrize('workers', [1, 2])
def test_a_run_is_complete_continued_or_has_nothing_to_do(tmp_path, folder, workers):
    out = tmp_path / 'out'
    args = ([folder], out, everything, converter(out))
    assert check_prepared(out) is None
    assert conversion.prepare(*args, workers=workers) == '3 files'
    first = snapshot(out)
    assert first['made/b.txt'][0] == b'B' * 3000 and first['lists/all.txt'][0] == b'x\n'
    assert sorted(first) == [
        'lists/all.txt',
        'made/a.txt',
        'made/b.txt',
        'made/c.bin',
        'prepared.json',
    ]
    assert check_prepared(out) == []

    # damaged and missing files are made again, the others stay
    (out / 'made/a.txt').unlink()
    (out / 'made/b.txt').write_bytes(b'B' * 10)
    assert check_prepared(out) == ['made/a.txt', 'made/b.txt']
    conversion.prepare(*args, workers=workers)
    again = snapshot(out)
    assert {name: value[0] for name, value in again.items()} == {
        name: value[0] for name, value in first.items()
    }
    assert again['made/c.bin'] == first['made/c.bin']


def test_an_interrupted_run_is_continued(tmp_path, folder):
    out = tmp_path / 'out'
    (out / 'made').mkdir(parents=True)
    (out / 'made/a.txt').write_bytes(b'KEPT')  # what a run left that was ended before its manifest
    (out / 'made/.b.txt.123.draft').write_bytes(b'half')
    conversion.prepare([folder], out, everything, converter(out))
    assert (out / 'made/a.txt').read_bytes() == b'KEPT'
    assert not list(out.rglob('*.draft'))


@pytest.mark.parametrize('workers', [1, 2])
def test_an_error_in_a_worker_reaches_the_user(tmp_path, folder, workers):
    out = tmp_path / 'out'
    with pytest.raises(SetupError, match='^(a.txt|b.txt|c.bin) is damaged$'):
        conversion.prepare([folder], out, everything, converter(out, fail), workers=workers)
    assert not (out / 'made/a.txt').exists() and not (out / 'prepared.json').exists()


def test_a_worker_that_is_killed_leaves_no_half_file(tmp_path, folder):
    out = tmp_path / 'out'
    with pytest.raises(SetupError, match='the system ended a worker process'):
        conversion.prepare([folder], out, everything, converter(out, die), workers=2)
    assert list((out / 'made').glob('.*.draft'))
    assert not [path for path in (out / 'made').iterdir() if path.suffix != '.draft']
    assert check_prepared(out) is None
    conversion.prepare([folder], out, everything, converter(out), workers=2)
    assert (out / 'made/b.txt').read_bytes() == b'B' * 3000
    assert not list((out / 'made').glob('.*.draft'))


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='needs /proc')
def test_workers_end_when_their_parent_is_killed(tmp_path, folder):
    out = tmp_path / 'out'
    args = ([folder], out, everything, converter(out, write_pid_and_wait))
    parent = multiprocessing.get_context('fork').Process(
        target=conversion.prepare, args=args, kwargs=dict(workers=3)
    )
    parent.start()
    wait_for(lambda: len(list(out.glob('made/[a-c].*'))) == 3)
    workers = [int(path.read_text()) for path in out.glob('made/[a-c].*')]
    assert len(set(workers)) == 3 and all(map(is_running, workers))
    parent.kill()
    parent.join()
    wait_for(lambda: not any(map(is_running, workers)))


def test_other_options_are_refused(tmp_path, folder):
    out = tmp_path / 'out'
    conversion.prepare([folder], out, everything, converter(out), options=dict(format='png'))
    assert check_prepared(out, dict(format='png')) == []
    with pytest.raises(SetupError, match='was prepared with format=png, not with format=jpg'):
        check_prepared(out, dict(format='jpg'))
    (out / 'prepared.json').write_text(json.dumps([1]))
    with pytest.raises(SetupError, match='is no manifest'):
        check_prepared(out)


def test_a_disk_error_is_one_sentence(tmp_path, folder, capsys):
    parser = argparse.ArgumentParser()
    conversion.add_arguments(parser, str(tmp_path / 'out'))
    args = parser.parse_args([str(folder), '--workers', '1'])

    def full(source, target):
        raise OSError(28, 'No space left on device', str(target))

    with pytest.raises(
        SetupError, match='a.txt: No space left on device; .* finished files are kept'
    ):
        conversion.run(args, everything, converter(args.out, full))
