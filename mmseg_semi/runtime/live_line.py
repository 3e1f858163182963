"""A progress bar below the log, on a terminal."""

import atexit
import logging
import sys
import time

from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

_BETWEEN = 0.2
"""Seconds between two drawings."""


def console_handler(logger: MMLogger) -> logging.StreamHandler | None:
    """The handler by which a logger writes to the terminal, or to what its output is redirected to."""
    return next((h for h in logger.handlers if type(h) is logging.StreamHandler), None)


class LiveLine:
    """A bar with the number of the iteration and a text behind it. What is logged meanwhile stands above it.

    It is drawn by the caller's thread. The terminal is given back by :meth:`close`, at the latest when the
    process ends.

    Args:
        handler: The logger's handler of the terminal.
        total: Iterations of the run.
        done: Of them, those that a resumed run has behind it.
    """

    def __init__(self, handler: logging.StreamHandler, total: int, done: int = 0) -> None:
        self._handler, self._stream = handler, handler.stream
        self._drawn = 0.0
        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn(
                '{task.fields[values]}',
                markup=False,
                table_column=Column(no_wrap=True, overflow='ellipsis'),
            ),
            console=Console(file=handler.stream, highlight=False),
            auto_refresh=False,
        )
        self._task = self._progress.add_task('training', total=total, completed=done, values='')
        self._progress.start()
        handler.stream = sys.stdout  # which rich has replaced by what writes above the bar
        atexit.register(self.close)

    def show(self, done: int, values: str, doing: str = 'training') -> None:
        """Replaces the line, at most five times a second.

        Args:
            done: Iterations that are trained.
            values: The text behind the bar; it is cut at the terminal's width.
            doing: The word before the bar.
        """
        self._progress.update(self._task, completed=done, values=values, description=doing)
        now = time.monotonic()
        if now - self._drawn >= _BETWEEN:
            self._drawn = now
            self._progress.refresh()

    def close(self) -> None:
        """Draws the line a last time and leaves it in place."""
        if self._handler.stream is not self._stream:
            self._progress.refresh()
            self._progress.stop()
            self._handler.stream = self._stream
        atexit.unregister(self.close)
