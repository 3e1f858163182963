"""Trainings in processes of their own, which are killed or observed."""

import multiprocessing
import os
import platform
import signal
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from mmseg_semi import __version__
from mmseg_semi.cli.common import TRAIN


class Training(Protocol):
    """A running training, such as a ``multiprocessing.Process``."""

    def is_alive(self) -> bool: ...

    def kill(self) -> None: ...

    def join(self) -> None: ...

    @property
    def exitcode(self) -> int | None: ...


class Command:
    """``mmseg-semi train --resume`` in its own process group, which is killed with all its processes.

    Args:
        config: A config file.
        work_dir: Folder of the run.
        options: Values of ``--cfg-options``.
    """

    def __init__(self, config: str | Path, work_dir: Path, options: list[str]) -> None:
        command = [*TRAIN, config, '--work-dir', work_dir]
        command += ['--resume', *(['--cfg-options', *options] if options else [])]
        with open(f'{work_dir}.log', 'a') as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    def join(self) -> None:
        self.process.wait()

    @property
    def exitcode(self) -> int | None:
        return self.process.poll()


class Forked:
    """The same by a process that is forked from one that has imported the package: a start takes a second instead of five.

    Args:
        config, work_dir, options: See :class:`Command`.
    """

    def __init__(self, config: str | Path, work_dir: Path, options: list[str]) -> None:
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload(
            ['mmseg_semi.cli.train', 'mmseg.apis', 'yapf.yapflib.yapf_api']
        )
        words = [str(config), '--work-dir', str(work_dir), '--resume']
        words += ['--cfg-options', *options] if options else []
        self.process = context.Process(target=_train, args=(words, f'{work_dir}.log'))
        self.process.start()
        self.is_alive, self.join = self.process.is_alive, self.process.join

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def exitcode(self) -> int | None:
        return self.process.exitcode


def _train(words: list[str], log: str) -> None:
    from mmseg_semi.cli.train import main

    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ['mmseg-semi train', *words]
    main(words)


def circumstances() -> dict[str, Any]:
    """When, on what and with which versions something is measured."""
    versions = dict(mmseg_semi=__version__, python=platform.python_version())
    for name in ('torch', 'onedl-mmengine', 'mmengine', 'onedl-mmsegmentation', 'mmsegmentation'):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return dict(
        date=datetime.now(UTC).isoformat(timespec='minutes'),
        cores=os.cpu_count(),
        system=f'{platform.system()} {platform.release()}',
        versions=versions,
    )
