"""The frame of a semi-supervised step: checks before training, time and randomness before it, objectives after it."""

from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.registry import HOOKS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_semi.data.checks import check_files, check_label_values
from mmseg_semi.data.skipped_images import SkippedImages
from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import two_stage


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
    """The seed of rank 0: ``randomness.diff_rank_seed`` gives each rank one of its own, but they share one stream of images."""
    seed = torch.tensor(runner.seed)
    broadcast(seed)
    return int(seed)


@torch.no_grad()
def share_statistics(module: nn.Module) -> None:
    """Averages over the ranks the running statistics of the batch norms that this step has moved.

    Left alone they differ from rank to rank, and with them a teacher's labels and a validation's parts, while a checkpoint
    holds those of rank 0 only. SyncBN has them equal already.
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

    Before training: checks batch and sampler, classes of data and model, the hooks that the recipe needs and the
    validation files, passes a small image through student and teacher so that a head that cannot serve is refused by
    name, and seeds the sampler with the run's seed. Before each iteration: tells the segmentor the iteration and seeds
    its random streams, and notes images that were skipped because they cannot be read. After it: averages running
    statistics over ranks, then objectives' ``after_step`` (banks, counts), behind ``FlowEstimatorHook`` and in front of
    ``MeanTeacherHook``. After a checkpoint is read: refuses one of another architecture.

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
        sampler = loader.sampler
        if hasattr(sampler, 'check_loader'):
            sampler.check_loader(loader)
        if hasattr(sampler, 'seed'):
            sampler.seed = self.seed  # a resumed run goes on with the seed of its checkpoint
        self._check_hooks(runner, segmentor)
        self._check_sources(sampler, segmentor)
        self._check_classes('train_dataloader', loader.dataset, segmentor)
        self._check_validation(runner)
        self._probe(segmentor)

    @staticmethod
    def _check_hooks(runner: Runner, segmentor: nn.Module) -> None:
        """Without its hook a teacher or a density would stay as it was initialised, and no loss would tell."""
        present = {base.__name__ for hook in runner.hooks for base in type(hook).__mro__}
        recipe = segmentor.recipe
        moved = recipe is not None and (
            recipe.weights == 'ema' or (recipe.weights == 'shared' and recipe.buffers != 'own')
        )
        if moved and 'MeanTeacherHook' not in present:
            raise SetupError(
                f"model.teacher has weights='{recipe.weights}', buffers='{recipe.buffers}', but no hook updates it: add "
                "teacher=dict(type='MeanTeacherHook', momentum=0.001) to default_hooks"
            )
        for objective in segmentor.objectives:
            if hasattr(objective, 'estimator_loss') and 'FlowEstimatorHook' not in present:
                raise SetupError(
                    f"objective '{objective.name}' has a density, but no hook fits it: add "
                    "flow=dict(type='FlowEstimatorHook', epochs=...) to default_hooks"
                )

    @staticmethod
    def _check_sources(sampler: Any, segmentor: nn.Module) -> None:
        """An objective may ask for unlabelled images in a later phase only."""
        pools = len(getattr(sampler, 'source_sizes', (None, None))) > 1
        for objective in segmentor.objectives:
            if objective.all_needs.unlabeled and not pools:
                raise SetupError(
                    f"objective '{objective.name}' needs unlabelled images, but train_dataloader.dataset has none: give "
                    'train_dataloader.dataset.unlabeled and a sampler.source_ratio with two entries, or remove the '
                    'objective'
                )
            objective.check_data(getattr(sampler, 'dataset', None))

    @staticmethod
    def _check_classes(key: str, dataset: Any, segmentor: nn.Module) -> None:
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if not classes:
            return
        segmentor.classes = classes
        if len(classes) != segmentor.num_classes:
            raise SetupError(
                f'{key}.dataset has {len(classes)} classes, but model.student.decode_head.num_classes='
                f'{segmentor.num_classes}: set them equal'
            )

    def _check_validation(self, runner: Runner) -> None:
        """Finds missing or unfit validation files now, not after the first thousand iterations."""
        if runner.val_loop is not None:
            self._check_validated(runner.val_loop.dataloader.dataset, bare_model(runner))

    def _check_validated(self, dataset: Any, segmentor: nn.Module, masks: int = 100) -> None:
        self._check_classes('val_dataloader', dataset, segmentor)
        if not isinstance(dataset, BaseSegDataset):
            return
        check_files(dataset, 'val_dataloader.dataset')
        check_files(dataset, 'val_dataloader.dataset', 'seg_map_path')
        check_label_values(dataset, len(dataset.metainfo['classes']), masks)

    @torch.no_grad()
    def _probe(self, segmentor: nn.Module) -> None:
        """One small image through both networks in evaluation mode; touches no statistics."""
        device = next(segmentor.student.parameters()).device
        image = torch.zeros(1, 3, self.probe_size, self.probe_size, device=device)
        training = segmentor.training
        segmentor.eval()
        for name, network in segmentor.networks.items():
            head = two_stage(network.decode_head)
            auxiliary = network.auxiliary_head if network.with_auxiliary_head else []
            try:
                levels = network.extract_feat(image)
                logits = head.finish(head.lift(head.embed(levels))).logits
                for other in (
                    auxiliary if isinstance(auxiliary, list | nn.ModuleList) else [auxiliary]
                ):
                    other(levels)
            except SetupError:
                raise
            except (RuntimeError, IndexError, ValueError, AssertionError) as error:
                reason = str(error).partition('\n')[0] or type(error).__name__
                raise SetupError(
                    f'model.student: the {name} cannot pass a {self.probe_size} x {self.probe_size} image '
                    f'({reason}): make in_channels and in_index of the heads match the backbone, or, for a network of '
                    'one input size, set default_hooks.step.probe_size'
                ) from error
            if logits.shape[1] != segmentor.num_classes:
                raise SetupError(
                    f'model.student.decode_head gives {logits.shape[1]} channels for num_classes='
                    f'{segmentor.num_classes}: semi-supervised training needs one channel a class (leave out_channels unset)'
                )
        segmentor.train(training)

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
        if not hasattr(model, 'networks'):
            return
        state = checkpoint.get('state_dict')
        if state is None:
            raise SetupError(
                f"load_from: the file holds {sorted(checkpoint)[:5]} and no 'state_dict': give a checkpoint of a segmentor"
            )
        state = checkpoint['state_dict'] = self._adapt(state, model)
        own = model.state_dict()
        missing = sorted(own.keys() - state.keys())
        extra = sorted(state.keys() - own.keys())
        shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
        if self.strict_load and (missing or extra or shapes):
            found = '; '.join(
                f'{len(keys)} {what} (first: {sorted(keys)[0]})'
                for keys, what in (
                    (missing, 'missing'),
                    (extra, 'unknown'),
                    (shapes, 'of another shape'),
                )
                if keys
            )
            path = getattr(runner, '_load_from', None)
            raise SetupError(
                (f"checkpoint '{path}'" if path else 'the checkpoint')
                + f' is of another architecture than the config: {found}; use the config that made it, or '
                'load what fits with --cfg-options default_hooks.step.strict_load=False'
            )

    @staticmethod
    def _adapt(state: dict, model: nn.Module) -> dict:
        """A plain segmentor's weights as those of all networks; the segmentor's own stay as they are."""
        if any(key.startswith('student.') for key in state):
            return state
        adapted = {
            f'{name}.{key}': value for name in model.networks for key, value in state.items()
        }
        # objectives and counts start fresh from a plain checkpoint
        return adapted | {
            key: value
            for key, value in model.state_dict().items()
            if key.startswith(('objectives.', 'pseudo_label.'))
        }
