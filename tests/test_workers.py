"""The workers of data loaders end with the run that started them, and leave nothing in the temporary folder."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mmengine.config import Config
from tiny_semi import tiny_data
from whole_runs import ROOT

# Two trainings in one process.
SCRIPT = """
import sys
from mmseg_semi.cli.train import main

config, first, second = sys.argv[1:4]
main([config, '--work-dir', first, '--cfg-options', 'experiment_name=first', 'visualizer.name=first'])
main([config, '--work-dir', second, '--cfg-options', 'experiment_name=second', 'visualizer.name=second', *sys.argv[4:]])
"""


def run(tmp_path: Path, *options: str) -> tuple[int, str, list[str]]:
    """Exit status and errors of two trainings with two workers, and what then lies in the temporary folder."""
    cfg = tiny_data(tmp_path, 'supervised', iterations=1, checkpoint_interval=1, num_workers=2)
    # below pytest's own folders the paths of the workers' sockets would be too long
    with tempfile.TemporaryDirectory(prefix='w', dir='/tmp') as folder:
        return run_in(Path(folder), tmp_path, cfg, options)


def run_in(
    folder: Path, tmp_path: Path, cfg: Config, options: tuple[str, ...]
) -> tuple[int, str, list[str]]:
    # torch's cache of compiled code is one folder a user and stays on purpose
    environ = dict(
        os.environ,
        TMPDIR=str(folder),
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path / 'inductor'),
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS='1',
    )
    works = [str(tmp_path / name) for name in ('first', 'second')]
    command = [sys.executable, '-c', SCRIPT, cfg.filename, *works, *options]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    return done.returncode, done.stderr, sorted(path.name for path in folder.rglob('*'))


def test_two_trainings_in_one_process(tmp_path):
    status, errors, left = run(tmp_path)
    assert status == 0, errors
    assert (tmp_path / 'second' / 'iter_1.pth').is_file()
    assert left == []


def test_a_training_that_fails_while_its_workers_run(tmp_path):
    # the loss of the second training is not finite after the workers have given their first batches
    status, errors, left = run(
        tmp_path,
        'model.objectives.0.weight=1e39',
        'train_cfg.max_iters=2',
        'param_scheduler.0.end=2',
        'train_cfg.val_interval=2',
    )
    assert status == 2 and 'not finite' in errors
    assert left == []


def test_a_temporary_folder_of_too_long_a_path_is_refused(tmp_path):
    cfg = tiny_data(tmp_path, 'supervised', iterations=1, checkpoint_interval=1, num_workers=2)
    with tempfile.TemporaryDirectory(prefix='w', dir='/tmp') as short:
        folder = Path(short, 'a' * 80)
        folder.mkdir()
        status, errors, left = run_in(folder, tmp_path, cfg, ())
    assert status == 2
    assert 'path of 8' in errors or 'path of 9' in errors
    assert (
        'set the environment variable TMPDIR to a shorter one' in errors
        and 'Traceback' not in errors
    )
