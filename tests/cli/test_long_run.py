"""What the long run's observer sees and says; docs/robustness.md has the outcome of a real one."""

import dataclasses
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest

from mmseg_semi.cli.analysis import long_run
from mmseg_semi.cli.analysis.long_run import Observer, Sample, judge, report
from mmseg_semi.cli.analysis.small_runs import small_run
from mmseg_semi.cli.train import parse_args
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='observes by /proc')


def samples(count: int = 100, **of_step) -> list[Sample]:
    """A minute each; the first ones as a process has them that still loads what it needs."""
    steady = dict(
        memory=600.0, files=40, threads=8, processes=3, temporary=2, step=0.1, processor=0.08
    )
    found = []
    for index in range(count):
        values = {**steady, **{key: value(index) for key, value in of_step.items()}}
        if index < 5:
            values.update(memory=300.0, threads=2)
        found.append(Sample(seconds=60.0 * index, iteration=600 * index, disk=1.0, **values))
    return found


def growing(found: list[Sample]) -> list[str]:
    return [finding.name for finding in judge(found) if finding.grows]


def test_what_grows_is_named_and_noise_is_not():
    assert growing(samples()) == []
    noisy = samples(memory=lambda i: 600 + 5 * (i % 7), step=lambda i: 0.1 + 0.02 * (i % 3))
    assert growing(noisy) == []
    assert growing(samples(memory=lambda i: 600 + 0.5 * i)) == ['resident memory, MiB']
    assert growing(samples(files=lambda i: 40 + i // 20)) == ['open files']
    assert growing(samples(temporary=lambda i: i // 10)) == ['temporary files']
    assert growing(samples(threads=lambda i: 8 + i // 20)) == ['threads']
    assert growing(samples(step=lambda i: 0.1 * (1 + i / 200))) == ['seconds an iteration']
    found = growing(samples(processor=lambda i: 0.08 * (1 + i / 300)))
    assert found == ['processor seconds an iteration']


def test_the_table_has_slopes_and_a_verdict():
    found = samples(memory=lambda i: 600 + 0.5 * i)
    said = report(found, judge(found))
    memory = next(line for line in said.splitlines() if 'memory' in line)
    assert [cell.strip() for cell in memory.split('|')[5:7]] == ['+30', 'grows']
    assert '59400 iterations in 1.65 hours, 100 observations: resident memory, MiB grew' in said
    assert 'nothing grew' in report(samples(), judge(samples()))
    with pytest.raises(SetupError, match='9 observations are too few'):
        judge(samples(9))


def test_steps_that_were_not_logged_are_left_out():
    found = [dataclasses.replace(s, step=None) if i % 2 else s for i, s in enumerate(samples())]
    assert len(judge(found)) == 7
    assert len(judge([dataclasses.replace(s, step=None) for s in found])) == 6


def busy(path: Path) -> None:
    files = [open(os.devnull) for _ in range(10)]  # noqa: SIM115  (the open files are what is counted)
    path.touch()
    time.sleep(60)
    del files


def test_observing_a_process(tmp_path):
    """Its children count, and lines of the log are read once, when they are whole."""
    log = tmp_path / 'run' / '20261128_100000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    (tmp_path / 'temporary').mkdir()
    observer = Observer(os.getpid(), tmp_path / 'run', tmp_path / 'temporary')
    before = observer.sample()
    child = multiprocessing.get_context('fork').Process(target=busy, args=(tmp_path / 'ready',))
    child.start()
    try:
        while not (tmp_path / 'ready').exists():
            time.sleep(0.01)
        lines = [json.dumps({'iter': i, 'step': i, 'time': i / 10}) for i in (1, 2, 3)]
        log.write_text('\n'.join(lines)[:-3])
        (tmp_path / 'temporary' / 'left').touch()
        after = observer.sample()
        assert (after.iteration, after.step) == (2, pytest.approx(0.15))
        log.write_text('\n'.join(lines) + '\n')
        assert (observer.sample().step, observer.iteration) == (0.3, 3)
        assert (last := observer.sample()).step is None and last.processor is None
    finally:
        child.kill()
        child.join()
    assert before.step is None and before.processor is None and 0 < after.processor < 60
    assert before.memory > 50 and before.files > 2
    assert after.processes == before.processes + 1 and after.threads > before.threads
    assert after.files >= before.files + 10 and after.temporary == before.temporary + 1


def test_the_small_run_is_one(tmp_path):
    """Its options fit the demo's config."""
    name, options = small_run(tmp_path, iterations=30)
    cfg = configs.load_config(name, parse_args([name, '--cfg-options', *options]).cfg_options)
    assert cfg.train_cfg.max_iters == 30 and cfg.train_cfg.val_interval == 10
    assert cfg.model.student.decode_head.in_channels == [8, 64]
    assert Path(cfg.val_dataloader.dataset.data_root) == tmp_path / 'scenes'
    assert len((tmp_path / 'scenes' / 'unlabeled.txt').read_text().split()) == 16


def test_a_training_that_fails_is_told(tmp_path):
    class Failed:
        class process:
            pid = os.getpid()

        exitcode = 2

        def is_alive(self):
            return False

        def join(self):
            pass

    with pytest.raises(SetupError, match='ended with exit status 2, expected one of'):
        long_run.observe(lambda work_dir: Failed(), tmp_path, 1)
