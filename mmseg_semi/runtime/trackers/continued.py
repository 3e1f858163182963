"""What the continued backends share: they know the run to continue before they open one."""

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.trackers import record


class ContinuedRun:
    """Mixin before one of MMEngine's backends: a resumed run continues the tracker's run.

    MMEngine hands the config to each backend as the first call. The tracker's run is opened by this call, and only on
    the first process. What the config sets for the tracker stays as it is; a subclass fills what is not set.

    Attributes:
        tracker: Key of the tracker in the record.
        continued: Whether the record names a run to continue.
    """

    tracker = ''
    continued = False

    def add_config(self, config: Config, **kwargs) -> None:
        """Opens the run, or the run to continue, and hands the config to it.

        Raises:
            SetupError: The tracker's package is not installed, or the record cannot be read.
        """
        if not self._env_initialized:
            self._work_dir = Path(config.work_dir).absolute()
            known = record.read(self._work_dir) if config.get('resume') else {}
            self.continued = self.tracker in known
            try:
                with undisturbed():
                    self.prepare(known.get(self.tracker, {}))
                    self.open(config, **kwargs)
            except ImportError as error:
                raise SetupError(
                    f'visualizer.vis_backends: {type(self).__bases__[1].__name__} needs a package that cannot be imported '
                    f'({error}); install it, or remove the backend from the list'
                ) from error

    def open(self, config: Config, **kwargs) -> None:
        """Open the run and hand the config to it."""
        super().add_config(config, **kwargs)

    def prepare(self, known: dict[str, Any]) -> None:
        """Fill the arguments with which the run is opened.

        Args:
            known: What :meth:`identity` said of the run to continue; empty for a new run.
        """

    def identity(self) -> dict[str, Any]:
        """Facts by which another process finds the run again, as plain types."""
        return {}

    def resumed_at(self, iteration: int) -> None:
        """Forget what an earlier process logged behind the checkpoint, where the tracker allows it.

        Args:
            iteration: Iterations that the checkpoint has.
        """

    def flush(self) -> None:
        """Bring to the disk what a kill would lose, where the tracker can: a checkpoint is about to be written."""

    # -- folders -------------------------------------------------------------------------------

    def keep_folder(self, known: dict[str, Any]) -> None:
        """Write into the folder of the run to continue, unless the config names a folder.

        MMEngine's own choice is a new folder with the time of the start.
        """
        own = self._save_dir is not None and Path(self._save_dir).absolute()
        if 'folder' in known and own and own.parent.parent == self._work_dir:
            self._save_dir = str(self._work_dir / known['folder'])

    def noted_folder(self) -> str:
        """The folder that is written to; inside the work folder relative to it, so that this can be moved."""
        folder = Path(self._save_dir).absolute()
        inside = folder.is_relative_to(self._work_dir)
        return (folder.relative_to(self._work_dir) if inside else folder).as_posix()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep random generators and this process's handlers of signals, whatever a tracker does to them.

    ClearML 2.1 seeds all generators when a task begins, behind ``randomness.seed`` and before the model is built, and
    closes its task on SIGTERM, while the run still finishes its iteration. Handlers that are Python's own are left to
    the tracker.
    """
    python, array = random.getstate(), np.random.get_state()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        for number, handler in before.items():
            if main and callable(handler) and handler is not signal.default_int_handler:
                signal.signal(number, handler)
