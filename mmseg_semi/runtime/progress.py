"""What a person sees of a training: a block before it, a line while it runs, a time that is left."""

import logging
import os
import statistics
import time
from collections import deque
from datetime import datetime, timedelta
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.runtime.live_line import LiveLine, console_handler
from mmseg_semi.runtime.run_summary import duration, memory, summary
from mmseg_semi.step.hooks import bare_model

_FILE, _CONSOLE = {'only': 'file'}, {'only': 'console'}
_FIRST = 10
"""Iterations after which the time left is told."""
_WINDOW = 10
"""Iterations over which shown values are averaged, as MMEngine's log does."""


@HOOKS.register_module()
class ProgressHook(LoggerHook):
    """MMEngine's ``LoggerHook`` for people: a summary first, then a line that says how it goes.

    On a terminal, the line is a progress bar that is redrawn. Elsewhere it is a line per interval. It has the number of
    the iteration, the loss and its parts, the share of confident pixels, the last validation and the time left. All
    values of an iteration go to the log file and to the visualizer's backends, as with ``LoggerHook``.

    Args:
        interval: Iterations between two lines, at most. A run of fewer than 20 intervals has a shorter one, an
            integer of at least 1, so that it has about twenty lines; ``model.monitor_interval`` is then shortened, too.
        live: Whether to draw a bar; None draws one on a terminal.
        args, kwargs: See MMEngine's hook.
    """

    def __init__(self, interval: int = 50, *args, live: bool | None = None, **kwargs) -> None:
        super().__init__(interval, *args, **kwargs)
        self.live = live
        self._validation_interval = interval
        self._bar: LiveLine | None = None
        self._times: deque[float] = deque(maxlen=50)
        self._last = self._validated = ''
        self._ended: float | None = None
        self._validation_began = 0.0
        self._validation_time: float | None = None
        self._deadline: Any = None

    # -- training ------------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        """Says what will happen."""
        self.shorten_interval(runner)
        self._begin, self._predicting = runner.iter, _predicting(runner)
        runner.logger.info('What is going to happen:\n' + summary(runner))
        handler = console_handler(runner.logger)
        if self.live is None and handler is not None and handler.level <= logging.INFO:
            self.live = handler.stream.isatty() and os.environ.get('TERM') != 'dumb'
        if self.live and handler is not None and is_main_process():
            self._bar = LiveLine(handler, runner.max_iters, runner.iter)

    def shorten_interval(self, runner: Runner) -> None:
        """Adapts the interval to a short run."""
        shorter = max(1, runner.max_iters // 20)
        if shorter < self.interval:
            self.interval = shorter
            model = bare_model(runner)
            if hasattr(model, 'monitor_interval'):
                model.monitor_interval = min(model.monitor_interval, shorter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Logs an iteration, or draws it."""
        now = time.perf_counter()
        if self._ended is not None:
            self._times.append(now - self._ended)
        self._ended = now
        done = batch_idx + 1
        due = self.every_n_inner_iters(batch_idx, self.interval)
        if due or self._bar is not None:
            self._last = self._values(runner, outputs or {})
        if due:
            tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
            runner.logger.info(line, extra=_FILE)
            runner.visualizer.add_scalars(tag, step=done, file_path=self.json_log_path)
        left = self._left(runner, done)
        if self._bar is not None:
            self._bar.show(done, f'{self._last}  {left}')
        elif due:
            number = str(done).rjust(len(str(runner.max_iters)))
            runner.logger.info(
                f'iteration {number}/{runner.max_iters}  {self._last}  {left}', extra=_CONSOLE
            )
        if done - self._begin == _FIRST and done < runner.max_iters:
            runner.logger.info(self._forecast(runner, done))

    def after_train(self, runner: Runner) -> None:
        self.close()

    def close(self) -> None:
        """Gives the terminal back; also to be called if the training ends by an exception."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    # -- validation ----------------------------------------------------------------------------

    def before_val_epoch(self, runner: Runner) -> None:
        self._validation_began = time.perf_counter()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Shows how far a validation is."""
        total = len(runner.val_dataloader)
        if self._bar is not None:
            self._bar.show(runner.iter, f'{batch_idx + 1}/{total} images', 'validating')
        elif self.every_n_inner_iters(batch_idx, self._validation_interval):
            _, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'val')
            runner.logger.info(line)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Logs a validation; its line stands in the file, ``ResultsHook`` tells the metrics to people."""
        self._validation_time = time.perf_counter() - self._validation_began
        self._ended = None  # the next iteration's time would hold the validation
        name = f'{self._predicting}/mIoU' if getattr(self, '_predicting', None) else 'mIoU'
        if name in (metrics or {}):
            self._validated = f'{name.replace("/", " ")} {metrics[name]:.1f}'
        super().after_val_epoch(runner, metrics)

    # -- what is said --------------------------------------------------------------------------

    def _values(self, runner: Runner, outputs: dict) -> str:
        """Loss, its parts, confident share and last validation."""

        def mean(key: str) -> float:
            return runner.message_hub.get_scalar(f'train/{key}').mean(_WINDOW)

        said = []
        if 'loss' in outputs:
            said.append(f'loss {mean("loss"):.3f}')
        parts: dict[str, float] = {}
        for key in outputs:
            if 'loss' in key and key != 'loss':
                name = key.partition('.')[0]
                parts[name] = parts.get(name, 0.0) + mean(key)
        if len(parts) > 1:
            said[-1] += ' (' + ', '.join(f'{key} {value:.3f}' for key, value in parts.items()) + ')'
        share = next((key for key in outputs if key.endswith('.confident')), None)
        if share is not None:
            said.append(f'confident {mean(share):.0%}')
        if self._validated:
            said.append(self._validated)
        return '  '.join(said)

    def _seconds_left(self, runner: Runner, done: int) -> float:
        """Of iterations, and of validations if there was one, but not beyond the end that ``--time`` sets."""
        seconds = statistics.median(self._times) * (runner.max_iters - done)
        if self._validation_time is not None:
            seconds += self._validation_time * _validations_left(runner, done)
        end = self._deadline() if self._deadline is not None else None
        return seconds if end is None else min(seconds, end)

    def _left(self, runner: Runner, done: int) -> str:
        if not self._times or done == runner.max_iters:
            return ''
        each = statistics.median(self._times)
        return f'{each:.2f} s each, {duration(self._seconds_left(runner, done))} left'

    def _forecast(self, runner: Runner, done: int) -> str:
        seconds = self._seconds_left(runner, done)
        said = (
            f'{_FIRST} iterations: {statistics.median(self._times):.2f} s each, about {duration(seconds)} left, '
            f'until {datetime.now() + timedelta(seconds=seconds):%H:%M}'
        )
        count = _validations_left(runner, done)
        if self._validation_time is None and count:
            said += f', and the time of {count} validation{"s" if count > 1 else ""}'
        return f'{said}; {memory()}'

    def end_with(self, time_left: Any) -> None:
        """Take another end into account.

        Args:
            time_left: A function that returns the seconds until the run is ended; None without such an end.
        """
        self._deadline = time_left


def _predicting(runner: Runner) -> str | None:
    return getattr(bare_model(runner), 'predicting_network', None)


def _validations_left(runner: Runner, done: int) -> int:
    """Those at an interval, and the one at the end."""
    if runner.val_loop is None:
        return 0
    interval, last = runner.train_loop.val_interval, runner.max_iters
    return last // interval - done // interval + bool(last % interval)
