"""A run that is refused before its first iteration leaves no file behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmseg_semi.files import write_whole
from mmseg_semi.runtime.commands import describe_error


class Begun(Hook):
    """Notes that a run has trained or predicted something, so that its log is worth keeping.

    Attributes:
        yes: Whether it has.
        runner: The runner; None until it is registered.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.yes = False
        self.runner: Runner | None = None

    def watch(self, runner: Runner) -> None:
        """Register the hook with a runner."""
        self.runner = runner
        runner.register_hook(self)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self.yes = True

    def after_test_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self.yes = True


@contextlib.contextmanager
def no_traces(work_dir: str | Path) -> Iterator[Begun]:
    """Within it, a mistake of the user that ends the run before it has done anything removes what the run has written.

    MMEngine makes the work folder, a log and a copy of the config before it looks at data or model. What was in the folder before stays,
    and so does the config of an earlier run there, by which its checkpoints are read.

    Args:
        work_dir: The work folder; it need not exist.

    Yields:
        The hook that notes whether the run has begun.
    """
    folder = Path(os.path.abspath(work_dir))
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    before, visualizers = set(_below(folder)), _visualizers(Visualizer)
    configs = {path: path.read_bytes() for path in folder.glob('*.py')}
    begun = Begun()
    try:
        yield begun
    except Exception as error:
        if describe_error(error) is not None and not begun.yes and is_main_process():
            _close(begun.runner)
            _remove(folder, before, missing)
            for path, content in configs.items():
                if path.read_bytes() != content:
                    write_whole(path, content)
            for kind, name in _visualizers(Visualizer) - visualizers:
                # the next run of this process must not write into a folder that is gone
                del kind._instance_dict[name]
        raise


def _visualizers(kind: type[Visualizer]) -> set[tuple[type[Visualizer], str]]:
    """MMEngine's register of visualizers: their types and names."""
    found = {(kind, name) for name in kind._instance_dict}
    return found.union(*map(_visualizers, kind.__subclasses__()))


def _below(folder: Path) -> Iterator[str]:
    """Files and folders below a folder, those within a folder first."""
    for root, folders, files in os.walk(folder, topdown=False):
        yield from (os.path.join(root, name) for name in [*files, *folders])


def _close(runner: Runner | None) -> None:
    """Let trackers finish their files, which are removed next."""
    if runner is not None:
        with contextlib.suppress(Exception):  # the user's mistake is what is to be told
            runner.visualizer.close()


def _remove(folder: Path, before: set[str], missing: list[Path]) -> None:
    for path in _below(folder):
        if path not in before:
            with contextlib.suppress(OSError):
                (os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink)(path)
    for path in missing:
        with contextlib.suppress(OSError):  # another program has written there meanwhile
            path.rmdir()
