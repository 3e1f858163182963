"""The averaged teacher (Tarvainen & Valpola, arXiv 1703.01780)."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.step.hooks import find_segmentor


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """theta_T <- d theta_T + (1 - d) theta_S after every iteration, d = min(1 - 1/(n + 1), 1 - momentum).

    n counts iterations from the recipe's ``start`` (``model.teacher.start``), so the first update copies and d reaches
    0.999 at n = 999. With a later ``start`` the teacher is also copied after the iteration in front of it, so that it
    has learnt something when it is first asked. Before ``copy_until`` every update copies. ``momentum`` is the share of
    the *student*, as in mmdetection: 0.001, not 0.999. Buffers follow ``model.teacher.buffers``; mmdetection's hook
    leaves them alone by default, which freezes the teacher's BN statistics at their initial values.

    A 'shared' teacher has no weights to average; its buffers follow the recipe all the same.

    Args:
        momentum: Share of the student's weights in an update, in (0, 1].
        interval: Update every so many iterations; iterations, not optimiser steps, count under gradient accumulation.
        skip_buffer: mmdetection's argument: True leaves buffers alone; None follows ``model.teacher.buffers``.
    """

    # behind the objectives' after_step (NORMAL), in front of the checkpoint (VERY_LOW)
    priority = 'BELOW_NORMAL'

    def __init__(
        self, momentum: float = 0.001, interval: int = 1, skip_buffer: bool | None = None
    ) -> None:
        if not 0 < momentum <= 1 or interval < 1:
            raise SetupError(
                f'MeanTeacherHook: momentum={momentum}, interval={interval}; expected the share of the student in (0, 1] '
                '(0.001, not 0.999) and an interval >= 1'
            )
        self.momentum = momentum
        self.interval = interval
        self.skip_buffer = bool(skip_buffer)

    def before_train(self, runner: Runner) -> None:
        """Lists the tensors once; an update is then a few fused calls."""
        segmentor = find_segmentor(runner, self)
        self.recipe = segmentor.recipe
        unit = segmentor.iters_per_epoch
        teacher, student = segmentor.teacher, segmentor.student
        self.active = teacher is not None
        if not self.active:
            return
        self.start, self.copy_until = (
            round(self.recipe.start * unit),
            round(self.recipe.copy_until * unit),
        )
        own = self.recipe.weights == 'ema'
        self._averaged: tuple[list[Tensor], list[Tensor]] = (
            ([*teacher.parameters()], [*student.parameters()]) if own else ([], [])
        )
        self._copied: tuple[list[Tensor], list[Tensor]] = ([], [])
        if not self.skip_buffer and self.recipe.buffers != 'own':
            for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
                average = self.recipe.buffers == 'average' and mine.is_floating_point()
                for into, tensor in zip(
                    self._averaged if average else self._copied, (mine, theirs), strict=True
                ):
                    into.append(tensor)

    def decay(self, iteration: int) -> float:
        """d of the update after this iteration."""
        if iteration < max(self.start, self.copy_until):
            return 0.0
        return min(1 - 1 / (iteration - self.start + 1), 1 - self.momentum)

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        iteration = runner.iter
        if not self.active or iteration + 1 < self.start:
            return
        if iteration >= self.start and (iteration + 1) % self.interval:
            return
        decay = self.decay(iteration)
        mine, theirs = self._averaged
        if mine and decay == 0:
            torch._foreach_copy_(mine, theirs)
        elif mine:
            torch._foreach_lerp_(mine, theirs, 1 - decay)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)
