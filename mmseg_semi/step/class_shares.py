"""A warning for classes that the pseudo-labels lose."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.adaptive_thresholds import class_counts
from mmseg_semi.step.hooks import bare_model
from mmseg_semi.step.segmentor import SemiSegmentor

TIMES = 10
"""A class is named if its share among the labelled pixels is more than so many times that among the pseudo-labels."""


def lost_classes(pseudo: Sequence[int], labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """Classes without a pseudo-label, and those with far fewer than their share among the labels lets expect.

    Args:
        pseudo: Pixels with a pseudo-label, by class.
        labels: Labelled pixels, by class.

    Returns:
        none: Classes without a pseudo-label.
        few: Other classes whose share is below a tenth of that among the labels.

    Example:
        >>> lost_classes(pseudo=[990, 10, 0], labels=[50, 40, 10])
        ([2], [1])
    """
    none = [c for c, count in enumerate(pseudo) if count == 0]
    # the quotients of both sides, multiplied out
    few = [
        c
        for c, (mine, labelled) in enumerate(zip(pseudo, labels, strict=True))
        if mine > 0 and TIMES * mine * sum(labels) < labelled * sum(pseudo)
    ]
    return none, few


class ClassShares:
    """Counts of pixels by class of one segmentor, over all ranks.

    Args:
        num_classes: K.
        length: Steps with pseudo-labels after which they are compared.
    """

    def __init__(self, num_classes: int, length: int) -> None:
        self.length, self.steps = length, 0
        self.counts = torch.zeros(2, num_classes, dtype=torch.int64)
        """Pixels with a pseudo-label in the last ``steps`` steps, and labelled pixels of all steps."""
        self.total = torch.zeros(num_classes, dtype=torch.int64)
        """Pixels with a pseudo-label in all steps so far, by class."""
        self.named = torch.zeros(2, num_classes, dtype=torch.bool)
        """Classes that were named because they had no pseudo-label, and because they had few."""

    def add(self, pseudo: Tensor, label_l: Tensor) -> None:
        """Adds a step; nothing is read from the device.

        Args:
            pseudo: (N_u, H, W) pseudo-labels, before mixing.
            label_l: (N_l, H, W) labels.
        """
        classes = self.counts.shape[1]
        new = torch.stack(
            [class_counts(labels, labels != IGNORE, classes) for labels in (pseudo, label_l)]
        )
        # in every step, not at the end: the checkpoint in between is that of rank 0
        all_reduce(new)
        self.counts = self.counts.to(new.device) + new
        self.total = self.total.to(new.device) + new[0]
        self.steps += 1

    def lines(self, names: Sequence[str] | None) -> list[str]:
        """After ``length`` steps: what is to be logged, each class once; then the pseudo-labels are counted anew."""
        if self.steps < self.length:
            return []
        pseudo, labels = self.counts.tolist()
        found = lost_classes(pseudo, labels)
        new = [[c for c in found[i] if not self.named[i, c]] for i in range(2)]
        for i in range(2):
            self.named[i, found[i]] = True
        # a class that was named with none is not named again with few
        self.named[1, found[0]] = True
        self.counts[0] = 0
        self.steps = 0
        total = [max(1, sum(counts)) for counts in (pseudo, labels)]

        def describe(c: int) -> str:
            name = f"'{names[c]}'" if names else str(c)
            shares = f'{labels[c] / total[1]:.2%} of the labelled pixels'
            return f'{name} ({shares}, {pseudo[c] / total[0]:.2%} of the pseudo-labels)'

        causes = (
            'classes without a pseudo-label',
            f'classes whose share among the pseudo-labels is below 1/{TIMES} of that among the labels',
        )
        return [
            f'in {self.length} iterations, {cause}: ' + ', '.join(map(describe, classes))
            for cause, classes in zip(causes, new, strict=True)
            if classes
        ]

    def state(self) -> dict[str, Any]:
        """Plain types, for the checkpoint."""
        return dict(
            counts=self.counts.cpu(),
            named=self.named.clone(),
            steps=self.steps,
            total=self.total.tolist(),
        )

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state`."""
        self.counts, self.named = state['counts'].clone(), state['named'].clone()
        self.steps = state['steps']
        if 'total' in state:  # not in older checkpoints
            self.total = torch.tensor(state['total'])


@HOOKS.register_module()
class ClassShareHook(Hook):
    """Names classes that get no pseudo-labels, or far fewer than their share among the labels.

    After every epoch of steps with pseudo-labels it logs a WARNING with the classes that had none, and those whose share among
    the pseudo-labels is below a tenth of their share among the labelled pixels so far. Each class is named once for each of the
    two reasons, with both shares. The pseudo-labels are those of the weak views, before mixing, of all ranks.

    Args:
        interval: Steps with pseudo-labels; None takes ``model.iters_per_epoch``, or if this is 1, ``train_cfg.val_interval``.

    State: under the checkpoint key ``class_shares``, so that a resumed run neither repeats a warning nor forgets a count.

    Raises:
        SetupError: An interval below 1; before training, if the model is no ``SemiSegmentor``.
    """

    # before SemiStepHook (NORMAL), which releases the step's views
    priority = 'HIGH'

    def __init__(self, interval: int | None = None) -> None:
        if interval is not None and interval < 1:
            raise SetupError(f'ClassShareHook: interval={interval}; expected None or a number >= 1')
        self.interval = interval
        self.shares: dict[str, ClassShares] = {}
        self._restored: dict[str, dict] = {}

    def before_train(self, runner: Runner) -> None:
        model = bare_model(runner)
        # a model may hold several, such as that of projects/multi_domain
        self._segmentors = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, SemiSegmentor)
        }
        if not self._segmentors:
            raise SetupError(
                f"{type(self).__name__} needs model.type='SemiSegmentor', found '{type(model).__name__}': remove the hook or "
                'wrap the segmentor'
            )
        for name, segmentor in self._segmentors.items():
            length = self.interval or segmentor.iters_per_epoch
            if self.interval is None and length == 1:
                length = runner.train_loop.val_interval
            self.shares[name] = ClassShares(segmentor.num_classes, length)
            if name in self._restored:
                self.shares[name].load(self._restored[name])
        self._restored = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Counts the step, and warns at the end of an epoch."""
        for name, segmentor in self._segmentors.items():
            views, shares = segmentor.last_views, self.shares[name]
            if views is None or views.teacher is None or views.teacher.pseudo_u is None:
                continue
            shares.add(views.teacher.pseudo_u.labels, views.batch.label_l)
            place = f'{name}: ' if name else ''
            for line in shares.lines(segmentor.bound.class_names):
                advice = 'see docs/pseudo_labels.md for thresholds by class, alignment and ClassMix with labelled images'
                print_log(f'{place}{line}; {advice}', logger='current', level=logging.WARNING)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self.shares:
            checkpoint['class_shares'] = {
                name: shares.state() for name, shares in self.shares.items()
            }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # load_from starts a new run
        if runner._resume and 'class_shares' in checkpoint:
            self._restored = checkpoint['class_shares']
