"""Ending a training between two iterations: by Ctrl-C, by SIGTERM, or when its time is up.

A command that trains receives signals by :func:`stop_requests` and registers a :class:`StopHook`, which
ends the run after the iteration in which a request came, with a complete checkpoint.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from torch.utils.data._utils import signal_handling

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.checkpoint_hook import AtomicCheckpointHook, is_accumulating
from mmseg_semi.runtime.devices import end_workers

TIME_IS_UP = 1
"""The request of a run whose time is up; others are numbers of signals, all of which are larger."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_PRESS = 0.5
"""Seconds in which a second signal is the first one again: ``timeout`` sends it to a process and to its group."""


class Interrupted(KeyboardInterrupt):
    """A signal came while there was nothing to finish, such as before the first iteration.

    Attributes:
        status: The exit status of the command.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class Stopped(Exception):
    """The run was ended by a request, after a whole iteration.

    Attributes:
        status: The exit status of the command: 0 if its time was up, else 128 and the signal's number.
        reason: What ended it.
        iteration: Iterations that were trained.
        checkpoint: The file to go on from; None if the config saves none.
    """

    def __init__(self, request: int, iteration: int, checkpoint: str | None) -> None:
        self.status = 0 if request == TIME_IS_UP else 128 + request
        self.reason = 'time is up' if request == TIME_IS_UP else signal.Signals(request).name
        self.iteration, self.checkpoint = iteration, checkpoint
        super().__init__(f'{self.reason} at iteration {iteration}')


class StopRequests:
    """Signals that came, and the time at which the run is to end.

    Args:
        seconds: Time from now after which the run is to end; None sets no end.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.can_wait = False
        """Whether an iteration is running, which a signal lets come to its end."""
        self.is_ending: Callable[[], bool] = bool
        """Whether the run ends anyway, such as for another rank's end; a first signal then changes nothing."""
        self.signal: int | None = None
        self._came = 0.0
        self._process = os.getpid()

    def pending(self) -> int:
        """What is asked for: 0 for nothing, TIME_IS_UP, or the number of a signal."""
        if self.signal is not None:
            return self.signal
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return TIME_IS_UP if late else 0

    def time_left(self) -> float | None:
        """Seconds until the run's time is up; None without an end."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """The handler of signals.

        Raises:
            Interrupted: There is nothing to finish.
        """
        if os.getpid() != self._process:
            return  # a child between its fork and _ignore_signals
        if not self.can_wait:
            raise Interrupted(number)
        if self.is_ending():
            return
        if self.signal is None:
            self.signal, self._came = number, time.monotonic()
            if int(os.environ.get('RANK', '0')) == 0:
                # not print: the signal may have come in the middle of one
                os.write(
                    sys.__stderr__.fileno() if sys.__stderr__ else 2,
                    b'\nstopping: this iteration is finished and saved (a second time: ends at once)\n',
                )
        elif time.monotonic() - self._came > _ONE_PRESS:
            end_workers()
            os._exit(128 + number)


_catching = False


def _ignore_signals() -> None:
    """In a forked child: leave signals to the parent.

    Ctrl-C goes to every process of a terminal, and a job system may send SIGTERM to all processes of a job. A
    worker that ends by it would print a traceback and take the parent's batch along. Workers end with their
    parent, and by SIGKILL in ``end_workers``.
    """
    if _catching:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        set_handlers = signal_handling._set_worker_signal_handlers

        def set_handlers_but_one() -> None:
            """A loader gives its worker a handler of SIGTERM, by which it ends."""
            set_handlers()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        signal_handling._set_worker_signal_handlers = set_handlers_but_one  # in this child alone


os.register_at_fork(after_in_child=_ignore_signals)


@contextlib.contextmanager
def stop_requests(seconds: float | None = None) -> Iterator[StopRequests]:
    """Within it, Ctrl-C and SIGTERM are requests, in this process and in no child of it.

    A second signal ends the process at once. Outside of the main thread, where Python allows no handlers, signals
    keep their meaning.

    Args:
        seconds: See :class:`StopRequests`.
    """
    global _catching
    requests = StopRequests(seconds)
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.signal(number, requests.receive) for number in _SIGNALS}
    _catching, outer = True, _catching
    try:
        yield requests
    finally:
        _catching = outer
        for number, handler in before.items():
            signal.signal(number, handler)


class StopHook(Hook):
    """Ends the run after an iteration, or within a validation, when that is asked for, with a complete checkpoint.

    All ranks end after the same iteration, also if only one got the signal or their clocks differ. They agree by a
    number that is reduced between the *hosts* (gloo) while the next iteration runs, and read after it. A GPU is not
    waited for, beyond the one read of the losses that each iteration has.

    Args:
        requests: What is asked for.

    Raises:
        Stopped: From the hook's methods, when the run ends.
    """

    priority = 'LOWEST'  # behind the checkpoint of the same iteration

    def __init__(self, requests: StopRequests) -> None:
        self.requests = requests
        self._group: Any = None
        self._running: tuple[Any, torch.Tensor] | None = None
        self._shared_batches = 0
        self._agreed = 0

    def before_train(self, runner: Runner) -> None:
        if get_world_size() > 1:
            self._group = dist.new_group(backend='gloo')
        self.requests.can_wait = True

    def after_train(self, runner: Runner) -> None:
        self.requests.can_wait = False
        if self._running is not None:
            self._running[0].wait()
            self._running = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._end_if_asked(runner, runner.iter + 1)

    def before_val(self, runner: Runner) -> None:
        if self.requests.can_wait and get_world_size() > 1:
            batches = torch.tensor(len(runner.val_dataloader), device=_device(runner))
            all_reduce(batches, op='min')
            self._shared_batches = int(batches)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if not self.requests.can_wait:  # the validation that a resumed run begins with
            return
        # ranks without a batch left would not take part
        if self._group is None or batch_idx < self._shared_batches:
            self._end_if_asked(runner, runner.iter)

    def _end_if_asked(self, runner: Runner, iteration: int) -> None:
        self._agreed = self._agreed or self._agree(self.requests.pending())
        request = self._agreed
        if request and not is_accumulating(runner):  # a checkpoint holds no gradients
            checkpoint = save_now(runner, iteration)
            self.requests.can_wait = False
            raise Stopped(request, iteration, checkpoint)

    def _agree(self, request: int) -> int:
        """The largest request of all ranks, one call later; alone, the request itself."""
        if self._group is None:
            return request
        agreed = 0
        if self._running is not None:
            work, flag = self._running
            work.wait()
            agreed, self._running = int(flag), None
        if not agreed:
            flag = torch.tensor(request)
            work = dist.all_reduce(flag, dist.ReduceOp.MAX, self._group, async_op=True)
            self._running = work, flag
        return agreed


def _device(runner: Runner) -> torch.device:
    return next(runner.model.parameters()).device


def save_now(runner: Runner, iteration: int) -> str | None:
    """Save a complete checkpoint beside those that the config asks for, unless this iteration has one.

    Args:
        runner: In the hooks after an iteration, or in a validation.
        iteration: Iterations that are trained.

    Returns:
        Its path; None if the run has no checkpoint hook.
    """
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    if hook is None:
        return None
    name = hook.filename_tmpl.format(iteration)
    if hook.last_ckpt is None or os.path.basename(hook.last_ckpt) != name:
        if isinstance(hook, AtomicCheckpointHook):
            return hook.save_between(runner, iteration)
        meta = dict(epoch=runner.epoch, iter=iteration)
        hook._save_checkpoint_with_step(runner, iteration, meta)
    return str(hook.last_ckpt)


def parse_time(text: str) -> float:
    """Seconds of a duration such as '2h', '90m', '1h30m' or '45s'.

    Raises:
        SetupError: It is none, or not positive.

    Example:
        >>> parse_time('1h30m'), parse_time('45s'), parse_time('0.5h')
        (5400.0, 45.0, 1800.0)
    """
    number = r'(\d+(?:\.\d+)?)'
    match = re.fullmatch(rf'(?:{number}h)?(?:{number}m)?(?:{number}s)?', text.strip().lower())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise SetupError(
            f"--time '{text}' is no duration; give hours, minutes or seconds with their unit, such as 2h, 90m, 1h30m or 45s"
        )
    return total
