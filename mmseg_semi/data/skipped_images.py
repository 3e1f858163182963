"""A log of the images that could not be read and were replaced by others."""

import logging
import re
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner

FILE = 'skipped_images.txt'
"""Name of the log in the work folder."""

_NAME = re.compile(r'sample \d+: ((?:image|mask) .+?) (?:\(\d+ bytes\)|does not|cannot)')
_SHOWN = 20  # lines in the run's log; the file has all


class SkippedImages:
    """Logs the images that ``SemiDataset(on_unreadable='skip')`` replaced.

    It is a part of ``SemiStepHook``.     Every rank appends one line per case to
    ``skipped_images.txt`` in the work folder: iteration, number of the sample in the batch, file
    and problem. A resumed run that meets the same case again writes the same line, and the count at
    the end includes it once.
    """

    def __init__(self) -> None:
        self._seen = 0

    def note(self, runner: Runner, data_batch: Any) -> None:
        """Log the images that this batch replaced.

        Args:
            runner: MMEngine's runner, for iteration, rank and work folder.
            data_batch: Collated batch; its samples have ``skipped`` in their metainfo.
        """
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        branches = samples if isinstance(samples, dict) else {'labeled': samples or []}
        # the weak and the strong view of an image count once
        cases = {
            number: sample.metainfo
            for branch in branches.values()
            for number, sample in enumerate(branch)
            if sample is not None and 'skipped' in sample.metainfo
        }
        lines = [
            f'iter {runner.iter + 1}, rank {runner.rank}, sample {number}: {problem}; taken '
            f'instead: {info.get("img_path")}'
            for number, info in sorted(cases.items())
            for problem in info['skipped']
        ]
        if not lines:
            return
        with open(Path(runner.work_dir) / FILE, 'a', encoding='utf-8') as file:
            file.write(''.join(f'{line}\n' for line in lines))
        for line in lines:
            self._seen += 1
            if self._seen <= _SHOWN:
                print_log(f'skipped, {line}', logger='current', level=logging.WARNING)
            if self._seen == _SHOWN:
                print_log(
                    f'further skipped images are logged in {FILE} only',
                    logger='current',
                    level=logging.WARNING,
                )

    def report(self, runner: Runner) -> None:
        """Log at the end how many images were skipped in the complete run, over all ranks."""
        barrier()
        path = Path(runner.work_dir) / FILE
        if not is_main_process() or not path.is_file():
            return
        lines = set(path.read_text(encoding='utf-8').splitlines())
        files = {found[1] for line in lines if (found := _NAME.search(line))}
        print_log(
            f'skipped: {len(files)} files could not be read, {len(lines)} times in this run; they '
            f'are listed in {path}',
            logger='current',
            level=logging.WARNING,
        )
