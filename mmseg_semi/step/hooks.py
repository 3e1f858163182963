"""The two hooks of a semi-supervised step: its frame, and the update of the teacher."""

from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_semi.data.skipped_images import SkippedImages
from mmseg_semi.errors import SetupError
from mmseg_semi.step import checks, metric_checks, run_checks
from mmseg_semi.step.sample_checks import check_samples
from mmseg_semi.step.teacher import MovingAverage


def bare_model(runner: Runner) -> nn.Module:
    """The runner's model without its DistributedDataParallel wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def find_segmentor(runner: Runner, hook: Hook) -> nn.Module:
    """The runner's SemiSegmentor.

    Raises:
        SetupError: The model is not one.
    """
    model = bare_model(runner)
    if not hasattr(model, 'start_step'):
        raise SetupError(
            f"{type(hook).__name__} needs model.type='SemiSegmentor', found '{type(model).__name__}': remove the hook or "
            'wrap the segmentor'
        )
    return model


def shared_seed(runner: Runner) -> int:
    """The seed of rank 0: ``randomness.diff_rank_seed`` gives each rank another one, but all share one stream of images."""
    seed = torch.tensor(runner.seed)
    broadcast(seed)
    return int(seed)


@torch.no_grad()
def share_statistics(module: nn.Module) -> None:
    """Averages the running statistics of batch norms in training mode over all ranks.

    Without it they differ from rank to rank, and so do a teacher's labels and the parts of a validation, while a checkpoint
    holds those of rank 0 only. SyncBN keeps them equal already.
    """
    tensors = [
        tensor
        for norm in module.modules()
        if isinstance(norm, _NormBase) and not isinstance(norm, nn.SyncBatchNorm)
        if norm.training and norm.running_mean is not None
        for tensor in (norm.running_mean, norm.running_var)
    ]
    if tensors:
        flat = torch.cat(tensors)
        all_reduce(flat, op='mean')
        torch._foreach_copy_(tensors, list(flat.split([tensor.numel() for tensor in tensors])))


@HOOKS.register_module()
class SemiStepHook(Hook):
    """Starts and finishes each step of a ``SemiSegmentor``.

    Before training it seeds the sampler with the run's seed and makes the checks of :mod:`mmseg_semi.step.checks`: batch and
    sampler, hooks, classes of data and model, validation files, and a small image through student and teacher. Before each
    iteration it gives the segmentor the iteration and seeds its random streams, and logs images that were skipped because
    they cannot be read. After the iteration it averages running statistics over ranks and lets objectives update banks and
    counts, after ``FlowEstimatorHook`` and before ``MeanTeacherHook``. It refuses checkpoints of another architecture.

    Args:
        strict_load: Refuse a checkpoint with missing or mismatching tensors. False loads what fits, for instance when
            fine-tuning with another number of classes.
        probe_size: Side of the probing image in pixels.
    """

    priority = 'NORMAL'

    def __init__(self, strict_load: bool = True, probe_size: int = 128) -> None:
        self.strict_load = strict_load
        self.probe_size = probe_size
        self.skipped = SkippedImages()

    def before_train(self, runner: Runner) -> None:
        segmentor = find_segmentor(runner, self)
        self.seed = shared_seed(runner)
        loader = runner.train_dataloader
        if hasattr(loader.sampler, 'check_loader'):
            loader.sampler.check_loader(loader)
        if hasattr(loader.sampler, 'seed'):
            loader.sampler.seed = self.seed  # a resumed run goes on with the seed of its checkpoint
        self.check(runner, segmentor)

    def check(self, runner: Runner, segmentor: nn.Module) -> None:
        """Refuses what cannot work, before the first iteration.

        Raises:
            SetupError: See :mod:`mmseg_semi.step.checks`.
        """
        loader = runner.train_dataloader
        run_checks.check_loop(runner)
        said = [*run_checks.check_schedules(runner), *run_checks.check_intervals(runner)]
        said += metric_checks.check_metrics(runner)
        checks.check_hooks(runner.hooks, segmentor)
        checks.check_sources(loader.sampler, segmentor)
        checks.check_classes('train_dataloader', loader.dataset, segmentor)
        checks.check_bands('train_dataloader', loader.dataset, segmentor)
        if runner.val_loop is not None:
            checks.check_validation(runner.val_loop.dataloader.dataset, segmentor)
            run_checks.check_validation_batch(runner.val_loop.dataloader)
            checks.check_held_out(loader.dataset, runner.val_loop.dataloader.dataset)
        val = runner.val_loop.dataloader.dataset if runner.val_loop is not None else None
        check_samples(loader.dataset, val)
        checks.check_networks(segmentor, self.probe_size)
        if hasattr(segmentor, 'plan'):  # of one domain
            run_checks.check_heads(segmentor)
            run_checks.check_inference(segmentor)
            run_checks.check_batch(segmentor, loader.sampler, self.probe_size)
            said += run_checks.check_phases(segmentor, runner.max_iters)
        for sentence in said + checks.check_compiling(segmentor, self.probe_size):
            runner.logger.warning(sentence)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.skipped.note(runner, data_batch)
        bare_model(runner).start_step(runner.iter, self.seed, get_rank())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        segmentor = bare_model(runner)
        if get_world_size() > 1:
            share_statistics(segmentor)
        segmentor.finish_step()

    def after_train(self, runner: Runner) -> None:
        self.skipped.report(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Maps a plain segmentor's checkpoint onto student and teacher, then checks names and shapes."""
        model = bare_model(runner)
        if not hasattr(model, 'networks'):  # tools evaluate plain segmentors with the same hooks
            return
        path = getattr(runner, '_load_from', None)
        if getattr(runner, '_resume', False):
            checks.check_resumable(checkpoint, path)
        if 'state_dict' not in checkpoint:
            raise SetupError(
                f"load_from: the file holds {sorted(checkpoint)[:5]} and no 'state_dict': give a checkpoint of a segmentor"
            )
        checkpoint['state_dict'] = self.adapt(checkpoint['state_dict'], model)
        if self.strict_load:
            checks.check_checkpoint(checkpoint['state_dict'], model, path)

    def adapt(self, state: dict, model: nn.Module) -> dict:
        """The tensors of a checkpoint under the model's names, see :func:`~mmseg_semi.step.checks.adapt_checkpoint`."""
        return checks.adapt_checkpoint(state, model)


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """Updates the teacher after every iteration, see :class:`~mmseg_semi.step.teacher.MovingAverage`.

    Start, copies and buffers follow ``model.teacher``. ``momentum`` is the share of the *student*, as in mmdetection: 0.001,
    not 0.999. mmdetection's hook does not update buffers by default, so that the teacher's BN statistics keep their initial
    values; this one does. A 'shared' teacher has no weights to average; its buffers follow the recipe all the same.

    Args:
        momentum: Share of the student's weights in an update, in (0, 1]. None takes ``window``; without either it is 0.001.
        window: Share of the run that the average spans, in (0, 1]: momentum = 1 / (window * max_iters). It keeps the teacher's
            age right when the run's length changes. A number for ``momentum`` takes precedence, so that a config may inherit this.
        interval: Update every so many iterations; iterations, not optimiser steps, count under gradient accumulation.
        skip_buffer: mmdetection's argument: True does not update buffers; None follows ``model.teacher.buffers``.
    """

    # after the objectives' after_step (NORMAL), before the checkpoint (VERY_LOW)
    priority = 'BELOW_NORMAL'

    def __init__(
        self,
        momentum: float | None = None,
        interval: int = 1,
        skip_buffer: bool | None = None,
        window: float | None = None,
    ) -> None:
        if momentum is None and window is None:
            momentum = 0.001
        if (momentum is not None and not 0 < momentum <= 1) or interval < 1:
            raise SetupError(
                f'MeanTeacherHook: momentum={momentum}, interval={interval}; expected the share of the student in (0, 1] '
                '(0.001, not 0.999) and an interval >= 1'
            )
        if window is not None and not 0 < window <= 1:
            raise SetupError(
                f'MeanTeacherHook: window={window}; expected the share of the run that the average spans, in (0, 1]'
            )
        self.momentum, self.window = momentum, window
        self.interval, self.skip_buffer = interval, bool(skip_buffer)
        self.average: MovingAverage | None = None

    def before_train(self, runner: Runner) -> None:
        segmentor = find_segmentor(runner, self)
        if segmentor.teacher is not None:
            recipe, unit = segmentor.recipe, segmentor.iters_per_epoch
            self.average = MovingAverage(
                segmentor.teacher,
                segmentor.student,
                self.momentum if self.window is None else self.momentum_of(runner.max_iters),
                recipe.weights,
                'own' if self.skip_buffer else recipe.buffers,
                start=round(recipe.start * unit),
                copy_until=round(recipe.copy_until * unit),
                interval=self.interval,
            )

    def momentum_of(self, iterations: int) -> float:
        """The momentum of a run of so many iterations.

        Example:
            >>> [MeanTeacherHook(window=1 / 6).momentum_of(length) for length in (600, 1200)]
            [0.01, 0.005]
        """
        if self.momentum is not None:
            return self.momentum
        return 1 / max(1, round(self.window * iterations))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self.average is not None:
            self.average.update(runner.iter)
