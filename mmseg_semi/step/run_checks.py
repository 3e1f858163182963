"""What a run's length, schedules, batch and heads are refused for before its first iteration."""

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmseg_semi.data.checks import header_size
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.norms import statistics_kept
from mmseg_semi.step.segmentor import SemiSegmentor

# -- length ----------------------------------------------------------------------------------------


def check_loop(runner: Runner) -> None:
    """Checks that the run counts iterations: its sampler has no end, so that an epoch would have none.

    Raises:
        SetupError: A loop of epochs, or a log, hook or schedule that counts epochs.
    """
    loop = runner.train_loop
    if not isinstance(loop, IterBasedTrainLoop):
        epochs = getattr(loop, 'max_epochs', 1)
        iterations = _passes(runner, epochs)
        raise SetupError(
            f"train_cfg.type='{type(loop).__name__}': the sampler of labelled and unlabelled images has no end, so an epoch "
            f"would never end; set train_cfg=dict(type='IterBasedTrainLoop', max_iters={iterations}, val_interval="
            f'{max(1, iterations // max(1, epochs))}), which is {epochs} passes over the labelled images'
        )
    if getattr(runner.log_processor, 'by_epoch', False):
        raise SetupError(
            'log_processor.by_epoch=True: the run counts iterations; set log_processor=dict(by_epoch=False)'
        )
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.by_epoch:
            raise SetupError(
                f'{type(hook).__name__} has by_epoch=True, but the run has no epochs; set '
                'default_hooks.checkpoint.by_epoch=False and its interval in iterations'
            )


def _passes(runner: Runner, count: int) -> int:
    """Iterations of some passes over the labelled images."""
    loader = runner.train_dataloader
    counts = getattr(loader.sampler, 'num_per_source', [loader.batch_size or 1])
    sizes = getattr(loader.sampler, 'source_sizes', [len(loader.dataset)])
    return max(1, -(-count * sizes[0] // (counts[0] * get_world_size())))


def check_intervals(runner: Runner) -> list[str]:
    """Checks that something is validated and saved.

    Returns:
        Sentences on what is allowed and probably not meant.

    Raises:
        SetupError: No validation or no checkpoint would come.
    """
    last, loop, said = runner.max_iters, runner.train_loop, []
    if runner.val_loop is not None and loop.val_begin > last:
        raise SetupError(
            f'train_cfg.val_begin={loop.val_begin} is beyond the run of max_iters={last}, so that nothing would be '
            'validated; lower it'
        )
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and not hook.save_last and hook.interval > last:
            raise SetupError(
                f'default_hooks.checkpoint: interval={hook.interval} is beyond the run of max_iters={last} and save_last is '
                'False, so that no checkpoint would be saved; lower the interval'
            )
        # ProgressHook adapts its interval to the run
        if type(hook) is LoggerHook and hook.interval > last:
            said.append(
                f'default_hooks.logger.interval={hook.interval} is beyond the run of max_iters={last}: no loss is logged; '
                "lower it, or set default_hooks.logger.type='ProgressHook'"
            )
    return said


def check_schedules(runner: Runner) -> list[str]:
    """Compares the learning rate's schedules with the run's length.

    Returns:
        Sentences on what is allowed and probably not meant.

    Raises:
        SetupError: A schedule counts epochs, or ends at 0 before the run does.
    """
    if getattr(runner.train_loop, 'endless', False):
        return []
    groups = runner.param_schedulers or []
    groups = groups.values() if isinstance(groups, dict) else [groups]
    last, said = runner.max_iters, []
    for schedules in groups:
        for schedule in schedules:
            if schedule.by_epoch:
                raise SetupError(
                    f'param_scheduler: {type(schedule).__name__} counts epochs (by_epoch=True), but the run has none; set '
                    'by_epoch=False, with begin and end in iterations'
                )
        final = [s for s in schedules if getattr(s, 'eta_min', None) is not None]
        for schedule in final:
            name, end = type(schedule).__name__, schedule.end
            followed = any(s.end > end and s.param_name == schedule.param_name for s in schedules)
            if end < last and schedule.eta_min == 0 and not followed:
                raise SetupError(
                    f'param_scheduler: {name} brings {schedule.param_name} to 0 at iteration {end}, but the run has '
                    f'max_iters={last}: nothing would be learned in the last {last - end}; set its end={last} (a resumed '
                    "run goes on with its checkpoint's schedules; to train longer, start anew with load_from)"
                )
            if end < last and not followed:
                said.append(
                    f'param_scheduler: {name} ends at iteration {end} of {last}; {schedule.param_name} stays as it is then'
                )
            elif end > 1.01 * last and end < 10**9:
                said.append(
                    f'param_scheduler: {name} ends at iteration {end}, after the run of max_iters={last}: '
                    f'{schedule.param_name} does not come down to its end; set its end={last} unless this is a trial'
                )
    return said


def check_phases(segmentor: SemiSegmentor, iterations: int) -> list[str]:
    """Names the objectives that take no part in a run of this length.

    Args:
        iterations: Of the run.

    Returns:
        A sentence each.
    """
    unit, said = segmentor.iters_per_epoch, []
    for objective in segmentor.objectives:
        times = (i / unit for i in range(0, iterations, max(1, iterations // 1000)))
        times = itertools.chain(times, [(iterations - 1) / unit])
        if all(objective.weight(time) == 0 for time in times):
            said.append(
                f"objective '{objective.name}' has the weight 0 in all {iterations} iterations: its phase begins later (one "
                f'unit of its schedule is model.iters_per_epoch={unit} iterations); lower model.iters_per_epoch to try it'
            )
    return said


# -- heads -----------------------------------------------------------------------------------------


def check_heads(segmentor: SemiSegmentor) -> None:
    """Checks what heads ignore, and the classes of auxiliary ones.

    Raises:
        SetupError: A head or one of its losses ignores another label than 255, or an auxiliary head has other classes.
    """
    for name, network in segmentor.networks.items():
        if name == 'teacher':
            continue
        key = f'model.{name}'
        auxiliary = network.auxiliary_head if network.with_auxiliary_head else []
        auxiliary = auxiliary if isinstance(auxiliary, Iterable) else [auxiliary]
        heads = {f'{key}.decode_head': network.decode_head}
        heads |= {f'{key}.auxiliary_head': head for head in auxiliary}
        for place, head in heads.items():
            ignored = getattr(head, 'ignore_index', IGNORE)
            if ignored != IGNORE:
                raise SetupError(
                    f'{place}.ignore_index={ignored}, but padding and ignored pixels have the label {IGNORE} here; leave '
                    f"ignore_index out, and map what is to be ignored to {IGNORE} (own data: the key 'ignore' of the data "
                    'file)'
                )
            classes = getattr(head, 'num_classes', segmentor.num_classes)
            if classes != segmentor.num_classes:
                raise SetupError(
                    f'{place}.num_classes={classes}, but {key}.decode_head.num_classes={segmentor.num_classes}: set them '
                    'equal, or leave the first one out'
                )


def check_inference(segmentor: SemiSegmentor) -> None:
    """Checks how validations pass an image, which MMSegmentation reads when the first one comes.

    Raises:
        SetupError: ``test_cfg`` of a network names no mode, or windows without their size and stride.
    """
    for name, network in segmentor.networks.items():
        given = getattr(network, 'test_cfg', None) or {}
        key, mode = (
            f'model.{"student" if name == "teacher" else name}.test_cfg',
            given.get('mode', 'whole'),
        )
        if mode not in ('whole', 'slide'):
            raise SetupError(f"{key}.mode={mode!r}, expected 'whole' or 'slide'; set one of them")
        missing = [part for part in ('crop_size', 'stride') if not given.get(part)]
        if mode == 'slide' and missing:
            raise SetupError(
                f"{key} has mode='slide' and no {' and no '.join(missing)}; add it, such as crop_size=(512, 512), stride=(341, 341)"
            )


# -- batches ---------------------------------------------------------------------------------------


@torch.no_grad()
def check_batch(segmentor: SemiSegmentor, sampler: Any, size: int) -> None:
    """Checks that batch norms have more than one value a channel where a single image passes.

    A head's pooling over the image leaves one value of it. No statistics are changed.

    Args:
        sampler: Of the training data, with ``num_per_source``.
        size: Side of the probing image in pixels.

    Raises:
        SetupError: A norm in training mode gets one value.
    """
    counts = getattr(sampler, 'num_per_source', None)
    synced = any(isinstance(module, nn.SyncBatchNorm) for module in segmentor.modules())
    if counts is None or (synced and get_world_size() > 1):
        return
    if smallest_pass(segmentor, counts) > 1:
        return
    student, training = segmentor.student, segmentor.training
    device = next(student.parameters()).device
    channels = getattr(segmentor.data_preprocessor, 'channels', 3)
    image = torch.zeros(1, channels, size, size, device=device)
    segmentor.train()
    try:
        with statistics_kept(student):
            levels = student.extract_feat(image)
            student.decode_head(levels)
            auxiliary = student.auxiliary_head if student.with_auxiliary_head else []
            for head in auxiliary if isinstance(auxiliary, list | nn.ModuleList) else [auxiliary]:
                head(levels)
    except ValueError as error:
        if 'more than 1 value per channel' not in str(error):
            raise
        found = f'{counts[0]} labelled'
        if len(counts) > 1:
            found += f' and {sum(counts[1:])} unlabelled'
        ratio = [2 * count for count in counts]
        raise SetupError(
            f'train_dataloader: a batch has {found} image(s) on each device, and a batch norm of the network cannot be trained '
            f'on the single value that one image gives it; set batch_size={sum(ratio)} in train_dataloader and in its '
            f'sampler, with source_ratio={ratio}, or a norm_cfg that needs no batch (GN)'
        ) from error
    finally:
        segmentor.train(training)


def smallest_pass(segmentor: SemiSegmentor, counts: list[int]) -> int:
    """Images of the smallest pass that the norms of student or teacher see together.

    Args:
        counts: Images of each source in a batch, labelled ones first; all others are unlabelled.
    """
    unlabeled = sum(counts[1:])
    views = ['labeled']
    for objective in segmentor.objectives:
        needs = objective.all_needs
        views += [view for view in segmentor.plan.image_views(needs.views) if view not in views]
        if (needs.weak or needs.weak_features) and 'weak' not in views:
            views.append('weak')
    # the labelled images pass alone while the other objectives wait
    phases = [['labeled'], views]
    if not any(o.weight(0) == 0 for o in segmentor.objectives if o.all_needs.unlabeled):
        phases = phases[1:]
    sizes = [
        sum(counts[0] if view == 'labeled' else unlabeled for view in call)
        for phase in phases
        for call in segmentor.plan.calls(phase)
    ]
    recipe = segmentor.recipe
    if recipe is not None and recipe.mode == 'train' and recipe.rows == 'weak':
        sizes.append(unlabeled)
    return min(size for size in sizes if size)


def check_validation_batch(loader: Any, key: str = 'val_dataloader') -> None:
    """Checks that the images of a validation batch have one size, after the pipeline.

    One image of each size on the disk is loaded, twenty at most.

    Args:
        loader: The data loader.
        key: Its key in the config, named in the error.

    Raises:
        SetupError: They have several, and a batch holds several images.
    """
    size = getattr(loader, 'batch_size', 1) or 1
    dataset = loader.dataset
    if size < 2 or not hasattr(dataset, 'get_data_info'):
        return
    first: dict[tuple[int, int] | None, int] = {}
    for index in range(len(dataset)):
        path = dataset.get_data_info(index).get('img_path')
        first.setdefault(path and header_size(path), index)
    if len(first) < 2:
        return
    shapes: dict[tuple[int, ...], str] = {}
    for index in itertools.islice(first.values(), 20):
        shape = tuple(dataset[index]['inputs'].shape[-2:])
        shapes.setdefault(shape, dataset.get_data_info(index)['img_path'])
    if len(shapes) > 1:
        (one, path), (other, second) = itertools.islice(shapes.items(), 2)
        raise SetupError(
            f'{key}.batch_size={size}: its images have several sizes ({path}: {one[1]} x {one[0]} pixels, {second}: {other[1]} x '
            f'{other[0]}), which cannot be one batch; set {key}.batch_size=1, or bring them to one size in its pipeline'
        )
