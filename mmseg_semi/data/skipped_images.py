"""The record of images that could not be read and were replaced by others."""

import logging
import re
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner

FILE = 'skipped_images.txt'
_NAME = re.compile(r'sample \d+: ((?:image|mask) .+?) (?:\(\d+ bytes\)|does not|cannot)')
_SHOWN = 20  # of them in the log; the file has all


class SkippedImages:
    """Writes down which images ``SemiDataset(on_unreadable='skip')`` replaced; part of ``SemiStepHook``.

    Every rank appends to ``skipped_images.txt`` in the work folder one line a case: iteration, number
    of the sample in the batch, and what is wrong with which file. A resumed run that comes by the same
    case again writes the same line, and it counts once.
    """

    def __init__(self) -> None:
        self._seen = 0

    def note(self, runner: Runner, data_batch: Any) -> None:
        """Write down what this batch replaced."""
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        branches = samples if isinstance(samples, dict) else {'labeled': samples or []}
        # a weak and a strong view are of one image
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
                    f'further skipped images are in {FILE} alone',
                    logger='current',
                    level=logging.WARNING,
                )

    def report(self, runner: Runner) -> None:
        """Tell at the end how many images of the whole run were skipped, over all ranks."""
        barrier()
        path = Path(runner.work_dir) / FILE
        if not is_main_process() or not path.is_file():
            return
        lines = set(path.read_text(encoding='utf-8').splitlines())
        files = {found[1] for line in lines if (found := _NAME.search(line))}
        print_log(
            f'skipped: {len(files)} files could not be read, {len(lines)} times in this run; they are '
            f'listed in {path}',
            logger='current',
            level=logging.WARNING,
        )
