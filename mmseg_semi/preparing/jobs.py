"""Make the files of a data set in several processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from rich.progress import MofNCompleteColumn

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.progress import progress_bar


@dataclass(frozen=True)
class Job:
    """One file to make.

    Args:
        make: Called as ``make(source, target)`` in a worker process; writes ``target`` with
            :func:`mmseg_semi.files.whole_file`.
        source: File to read.
        target: File to make.
    """

    make: Callable[[Path, Path], None]
    source: Path
    target: Path


def available_cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], workers: int, title: str) -> None:
    """Make all files, with a progress bar; the first error ends it.

    Args:
        jobs: One for each file.
        workers: Number of processes; 1 works in this process.
        title: Text of the progress bar.

    Raises:
        SetupError: If a job raises it, or the system kills a worker.
    """
    for folder in {job.target.parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    if workers <= 1 or len(jobs) < 2:
        with progress_bar(MofNCompleteColumn()) as bar:
            for job in bar.track(jobs, description=title):
                job.make(job.source, job.target)
        return
    # A forked worker has the stack imported already, which takes seconds otherwise; macOS and
    # Windows cannot fork safely.
    method = 'fork' if sys.platform.startswith('linux') else 'spawn'
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method), _begin_worker)
    try:
        # before the bar, whose thread a forked worker must not inherit half-way
        futures = [pool.submit(job.make, job.source, job.target) for job in jobs]
        with progress_bar(MofNCompleteColumn()) as bar:
            for future in bar.track(as_completed(futures), len(futures), description=title):
                future.result()
    except BrokenProcessPool as error:
        raise SetupError(
            'the system ended a worker process, as happens when memory runs out; run the command '
            'again with fewer --workers, finished files are kept'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C

    def end_with_parent() -> None:
        # a worker whose parent was killed would wait for work for ever
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
