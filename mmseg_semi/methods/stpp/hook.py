"""Keeps the weights of earlier iterations, whose predictions are compared with those of the last one."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.step.hooks import bare_model

FOLDER = 'snapshots'
"""Folder of the weights, in the work folder of the run."""


def snapshot_iterations(max_iters: int, count: int) -> list[int]:
    """The iterations after which the ``count`` compared weights are taken; the last one is the end of the run.

    Raises:
        SetupError: If the run is shorter than their number.

    Example:
        >>> snapshot_iterations(600, 3)
        [200, 400, 600]
    """
    if not 2 <= count <= max_iters:
        raise SetupError(
            f'{count} checkpoints of a training of {max_iters} iterations are to be compared; expected 2 or more, and '
            'not more than iterations: set train_cfg.max_iters or --checkpoints'
        )
    return [max_iters * number // count for number in range(1, count + 1)]


@HOOKS.register_module()
class SnapshotHook(Hook):
    """Writes the model's weights after some iterations, beside the checkpoints of the run.

    A checkpoint hook keeps the newest files only. These stay, in ``snapshots/iter_<n>.pth``, without optimiser and log.

    Args:
        iterations: The number of finished iterations after which the weights are written.
    """

    # before the checkpoint (VERY_LOW): a run that resumes behind an iteration has its snapshot
    priority = 'LOW'

    def __init__(self, iterations: list[int]) -> None:
        self.iterations = set(iterations)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        finished = runner.iter + 1
        if finished in self.iterations and is_main_process():
            content = dict(state_dict=bare_model(runner).state_dict(), meta=dict(iter=finished))
            with whole_file(Path(runner.work_dir, FOLDER, f'iter_{finished}.pth')) as draft:
                torch.save(content, draft)
