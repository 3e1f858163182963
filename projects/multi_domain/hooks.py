"""Hooks for several domains: checks before training, and pictures of pseudo-labels."""

from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.pictures import default_palette
from mmseg_semi.runtime.pseudo_label_hook import PseudoLabelHook
from mmseg_semi.step import checks
from mmseg_semi.step.hooks import SemiStepHook, find_segmentor
from projects.multi_domain.turns import in_domain


@HOOKS.register_module()
class DomainStepHook(SemiStepHook):
    """``SemiStepHook`` for a ``MultiDomainSegmentor``: runs its checks for every domain.

    Args:
        args, kwargs: See :class:`~mmseg_semi.step.hooks.SemiStepHook`.
    """

    def before_train(self, runner: Runner) -> None:
        model = find_segmentor(runner, self)
        if not hasattr(model, 'domains'):
            raise SetupError(
                f"DomainStepHook needs model.type='MultiDomainSegmentor', found '{type(model).__name__}': set "
                "default_hooks.step.type='SemiStepHook' for one domain"
            )
        sampler = runner.train_dataloader.sampler
        turns = getattr(sampler, 'turns', None)
        if turns != model.turns:
            raise SetupError(
                f'model has {model.turns}, but train_dataloader.sampler has {turns}: give both the same domains in the same '
                "order, schedule and turns, and the sampler the type 'MultiDomainSampler'"
            )
        super().before_train(runner)

    def check(self, runner: Runner, segmentor: nn.Module) -> None:
        """The checks of ``SemiStepHook`` for every domain."""
        loader = runner.train_dataloader
        for name, domain in segmentor.domains.items():
            with in_domain(name):
                checks.check_hooks(runner.hooks, domain)
        for name, domain in segmentor.domains.items():
            with in_domain(name):
                checks.check_sources(loader.sampler.samplers[name], domain)
        for name, domain in segmentor.domains.items():
            with in_domain(name):
                checks.check_classes('train_dataloader', loader.dataset.domains[name], domain)
        if runner.val_loop is not None:
            self._check_validation(runner.val_loop, segmentor)
        for name, domain in segmentor.domains.items():
            with in_domain(name):
                checks.check_networks(domain, self.probe_size)

    @staticmethod
    def _check_validation(val_loop: Any, segmentor: nn.Module) -> None:
        if not hasattr(val_loop, 'loops'):
            raise SetupError(
                f"val_cfg.type='{type(val_loop).__name__}' knows one head: set it to 'MultiDomainValLoop'"
            )
        for name, loop in val_loop.loops.items():
            with in_domain(name):
                checks.check_validation(loop.dataloader.dataset, segmentor.domains[name])

    def adapt(self, state: dict, model: nn.Module) -> dict:
        """The checkpoint as it is; refuses one of a single domain."""
        if not any(key.startswith('domains.') for key in state):
            raise SetupError(
                f'load_from: the checkpoint is of one domain (its first tensor is {next(iter(state), None)}), the model has '
                f'{list(model.domains)}; a backbone of a single run is loaded with '
                'model.domains.<first>.student.backbone.init_cfg'
            )
        return state


@HOOKS.register_module()
class DomainPseudoLabelHook(PseudoLabelHook):
    """``PseudoLabelHook`` for several domains: writes ``pseudo_labels/<domain>/iter_<n>.png``.

    If domains alternate, ``interval`` counts iterations of the run.

    Args:
        args, kwargs: See :class:`~mmseg_semi.runtime.pseudo_label_hook.PseudoLabelHook`.
    """

    def before_train(self, runner: Runner) -> None:
        """Find the segmentors and the colours of their classes."""
        self._domains = find_segmentor(runner, self).domains
        self._metainfo = runner.train_dataloader.dataset.metainfo

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the domains of the step in every ``interval``-th iteration."""
        for name, segmentor in self._domains.items():
            self._name, self._segmentor = name, segmentor
            palette, count = self._metainfo[name].get('palette'), segmentor.num_classes
            fits = palette and len(palette) >= count
            self._palette = palette if fits else default_palette(count)
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def _write(self, folder: Path, picture, step: int) -> None:
        super()._write(folder / self._name, picture, step)
