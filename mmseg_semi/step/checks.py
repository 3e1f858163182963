"""What a run is refused for before its first iteration, and which checkpoints are refused."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from torch import Tensor, nn

from mmseg_semi.data.checks import check_files, check_label_values
from mmseg_semi.data.colour import DeferColour
from mmseg_semi.data.image_checks import check_readable
from mmseg_semi.data.pools import find_images
from mmseg_semi.data.transforms import MultiBranch
from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import two_stage
from mmseg_semi.step.image_kernels import image_channels
from mmseg_semi.step.segmentor import SemiSegmentor
from mmseg_semi.step.views import STRONG, is_strong


def check_hooks(hooks: Iterable[Hook], segmentor: SemiSegmentor) -> None:
    """Checks that the hooks are there that the recipe needs.

    Without its hook a teacher or a density would stay as it was initialised, and no loss would show it.

    Raises:
        SetupError: A hook is missing.
    """
    present = {base.__name__ for hook in hooks for base in type(hook).__mro__}
    recipe = segmentor.recipe
    if recipe is not None and recipe.follows and 'MeanTeacherHook' not in present:
        raise SetupError(
            f"model.teacher has weights='{recipe.weights}', buffers='{recipe.buffers}', but no hook updates it: add "
            "teacher=dict(type='MeanTeacherHook', momentum=0.001) to default_hooks"
        )
    for objective in segmentor.objectives:
        if objective.get_estimator() is not None and 'FlowEstimatorHook' not in present:
            raise SetupError(
                f"objective '{objective.name}' has a density, but no hook fits it: add "
                "flow=dict(type='FlowEstimatorHook', epochs=...) to default_hooks"
            )


def check_sources(sampler: Any, segmentor: SemiSegmentor) -> None:
    """Checks that the training data have what the objectives need in any phase.

    Raises:
        SetupError: They have no unlabelled images, the sampler does not draw by source, or what ``Objective.check_data`` raises.
    """
    sizes = getattr(getattr(sampler, 'dataset', None), 'source_sizes', None)
    if sizes is not None and not hasattr(sampler, 'num_per_source'):
        raise SetupError(
            f'train_dataloader.sampler is {type(sampler).__name__}, which knows nothing of labelled and unlabelled images; set '
            f"sampler=dict(type='MultiSourceSampler', batch_size=..., source_ratio={[1] * len(sizes)})"
        )
    has_unlabeled = len(getattr(sampler, 'source_sizes', (None, None))) > 1
    for objective in segmentor.objectives:
        if objective.all_needs.unlabeled and not has_unlabeled:
            raise SetupError(
                f"objective '{objective.name}' needs unlabelled images, but train_dataloader.dataset has none: give "
                'train_dataloader.dataset.unlabeled and a sampler.source_ratio with two entries, or remove the '
                'objective'
            )
        objective.check_data(getattr(sampler, 'dataset', None))
    check_views(getattr(sampler, 'dataset', None), segmentor)


def check_views(dataset: Any, segmentor: SemiSegmentor) -> None:
    """Checks that the pipelines make every strong view that an objective learns from, and list the same views.

    A pipeline without a strong view is right: the view 'strong' is then the weak one.

    Args:
        dataset: A ``SemiDataset``; nothing is checked of others, and of pipelines without ``MultiBranch``.

    Raises:
        SetupError: A view is not made, or one pipeline lists other views than another.
    """
    if not hasattr(segmentor, 'plan'):  # of several domains, which check_classes refuses
        return
    sources = getattr(dataset, 'datasets', None) or []
    splits = [
        next((s for s in source.pipeline.transforms if isinstance(s, MultiBranch)), None)
        for source in sources
        if hasattr(source, 'pipeline')
    ]
    splits = [split for split in splits if split is not None]
    for split in splits[1:]:
        if {*split.branch_field} != {*splits[0].branch_field}:
            raise SetupError(
                f'train_dataloader.dataset: MultiBranch of one pipeline has branch_field={[*splits[0].branch_field]}, that of '
                f'another one {[*split.branch_field]}: list the same views in all pipelines'
            )
    needed = {
        view: objective.name
        for objective in segmentor.objectives
        for view in segmentor.plan.strong(objective.all_needs.views)
        if view != STRONG
    }
    for split in splits:
        if 'weak' not in split.branches:
            continue
        made = _strong_views(split)
        for view, name in needed.items():
            if view not in made:
                raise SetupError(
                    f"objective '{name}' learns from the view '{view}', but a pipeline of unlabelled images makes "
                    f"{['weak', *made]}: give its MultiBranch a branch '{view}', as to_two_strong of "
                    'configs/_base_/datasets/semi.py does'
                )


def _strong_views(split: MultiBranch) -> list[str]:
    """The strong views that a pipeline makes, or leaves to the device."""
    views = [view for view in split.branches if is_strong(view)]
    for step in split.branches['weak'].transforms:
        if isinstance(step, DeferColour):
            views += [STRONG, *(f'{STRONG}_{number}' for number in range(2, step.views + 1))]
    return views


def check_classes(key: str, dataset: Any, segmentor: SemiSegmentor) -> None:
    """Checks that data and model have the same number of classes, and keeps the classes' names for messages.

    Args:
        key: Config key of the loader, named in the error.

    Raises:
        SetupError: The numbers differ.
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not classes:
        return
    if len(classes) != segmentor.num_classes:
        raise SetupError(
            f'{key}.dataset has {len(classes)} classes, but model.student.decode_head.num_classes='
            f'{segmentor.num_classes}: set them equal'
        )
    segmentor.bound.class_names = classes


def check_bands(key: str, dataset: Any, segmentor: SemiSegmentor) -> None:
    """Checks that own data and the data preprocessor have the same number of bands.

    Args:
        key: Config key of the loader, named in the error.

    Raises:
        SetupError: The numbers differ.
    """
    channels = getattr(segmentor.data_preprocessor, 'channels', 3)
    for source in getattr(dataset, 'datasets', None) or [dataset]:
        own = getattr(source, 'own', None)
        if own is None:
            continue
        found = 3 if own.bands is None else own.bands.channels
        if found != channels:
            raise SetupError(
                f'{key}.dataset: the images of {own.source} have {found} bands, but model.data_preprocessor has mean and std '
                f"of {channels}: describe the bands by 'bands' in the data file, from which they are set (docs/custom_data.md)"
            )


def check_validation(dataset: Any, segmentor: SemiSegmentor, masks: int = 100) -> None:
    """Finds missing or unfit validation files now, not after the first thousand iterations.

    Args:
        masks: Number of masks whose values are checked, and of images that are looked at.

    Raises:
        SetupError: Another number of classes, a missing file, an image that cannot be read, or a label out of range.
    """
    check_classes('val_dataloader', dataset, segmentor)
    check_bands('val_dataloader', dataset, segmentor)
    if not isinstance(dataset, BaseSegDataset):
        return
    paths = check_files(dataset, 'val_dataloader.dataset')
    check_files(dataset, 'val_dataloader.dataset', 'seg_map_path')
    if not getattr(dataset, 'backend_args', None):
        for place in range(min(masks, len(paths))):
            path = paths[place * len(paths) // min(masks, len(paths))]
            check_readable(path, Path(path).read_bytes())
    check_label_values(
        dataset,
        len(dataset.metainfo['classes']),
        masks,
        'validation',
        lambda text: print_log(f'val_dataloader: {text}', 'current', logging.WARNING),
    )


def check_held_out(train: Any, val: Any) -> None:
    """Warns if validation images are trained on: their score is then no measure.

    Args:
        train: A ``SemiDataset``; nothing is checked of others.
        val: The validation data set.
    """
    if not isinstance(val, BaseSegDataset) or not getattr(train, 'datasets', None):
        return
    held_out = [val.get_data_info(i)['img_path'] for i in range(len(val))]
    for source in train.datasets:
        paths = getattr(source, 'paths', None)
        if paths is None:
            paths = [source.get_data_info(i)['img_path'] for i in range(len(source))]
        both = find_images(paths, held_out)
        if both:
            print_log(
                f'val_dataloader: {len(both)} of {len(held_out)} validation images are training images too, the first is '
                f'{paths[both[0]]}; take them out of the lists or folders of train_dataloader',
                'current',
                logging.WARNING,
            )


@torch.no_grad()
def check_networks(segmentor: SemiSegmentor, size: int = 128) -> None:
    """Passes one small image through student and teacher in evaluation mode; changes no statistics.

    Args:
        size: Side of the image in pixels.

    Raises:
        SetupError: The backbone takes other bands than the data preprocessor gives, a head does not fit the backbone, cannot
            serve, or has not one channel a class.
    """
    device = next(segmentor.student.parameters()).device
    channels = getattr(segmentor.data_preprocessor, 'channels', 3)
    for name, network in segmentor.networks.items():
        taken = image_channels(network)
        if taken not in (None, channels):
            raise SetupError(
                f'model.student.backbone: the {name} takes images of {taken} bands (in_channels), but they have {channels} '
                "(mean and std of model.data_preprocessor): describe them by 'bands' in the data file, from which both are set "
                '(docs/custom_data.md), or set in_channels, mean and std for the same number'
            )
    image = torch.zeros(1, channels, size, size, device=device)
    training = segmentor.training
    segmentor.eval()
    for name, network in segmentor.networks.items():
        head = two_stage(network.decode_head)
        auxiliary = network.auxiliary_head if network.with_auxiliary_head else []
        try:
            levels = network.extract_feat(image)
            logits = head.finish(head.lift(head.embed(levels))).logits
            for other in auxiliary if isinstance(auxiliary, list | nn.ModuleList) else [auxiliary]:
                other(levels)
        except SetupError:
            raise
        except (RuntimeError, IndexError, ValueError, AssertionError) as error:
            reason = str(error).partition('\n')[0] or type(error).__name__
            advice = (
                'make in_channels and in_index of the heads match the backbone, or, for a network of one input size, set '
                'default_hooks.step.probe_size'
            )
            if 'dropout probability' in reason:
                advice = 'correct dropout_ratio of the heads, or the drop rates of the backbone'
            raise SetupError(
                f'model.student: the {name} cannot pass a {size} x {size} image ({reason}): {advice}'
            ) from error
        if logits.shape[1] != segmentor.num_classes:
            raise SetupError(
                f'model.student.decode_head gives {logits.shape[1]} channels for num_classes='
                f'{segmentor.num_classes}: semi-supervised training needs one channel a class (leave out_channels unset)'
            )
    segmentor.train(training)


def check_compiling(segmentor: SemiSegmentor, size: int = 128) -> list[str]:
    """What of ``model.compile`` cannot be done, a sentence each; see :meth:`StepCompiler.check`.

    Args:
        size: Side of a probing image in pixels.
    """
    training = segmentor.training
    segmentor.eval()
    students = {name: net for name, net in segmentor.networks.items() if name != 'teacher'}
    said = segmentor.compiler.check(students, size, segmentor.data_preprocessor.channels)
    segmentor.train(training)
    return said


def adapt_checkpoint(state: dict[str, Tensor], segmentor: SemiSegmentor) -> dict[str, Tensor]:
    """Makes of a plain segmentor's weights those of student and teacher; returns a semi-segmentor's as they are.

    Objectives, counts and a peer start fresh from a plain checkpoint.
    """
    if any(key.startswith('student.') for key in state):
        return state
    # a peer that began with the student's weights would have nothing to tell it
    names = [name for name in segmentor.networks if name != 'peer']
    adapted = {f'{name}.{key}': value for name in names for key, value in state.items()}
    return adapted | {
        key: value
        for key, value in segmentor.state_dict().items()
        if key.startswith(('objectives.', 'pseudo_label.', 'peer.'))
    }


def check_resumable(checkpoint: Mapping, path: str | None = None) -> None:
    """Checks that a checkpoint holds what a run goes on from, and not weights alone.

    Args:
        checkpoint: Its content.
        path: Its file, for the error.

    Raises:
        SetupError: It has no optimiser, no iteration or no history.

    Example:
        >>> check_resumable(dict(optimizer={}, message_hub={}, meta=dict(iter=2, epoch=0)))
    """
    meta = checkpoint.get('meta') or {}
    missing = [key for key in ('optimizer', 'message_hub') if key not in checkpoint]
    missing += [f'meta.{key}' for key in ('iter', 'epoch') if key not in meta]
    if missing:
        named = f"checkpoint '{path}'" if path else 'the checkpoint'
        raise SetupError(
            f'--resume: {named} has no {", ".join(missing)}, so that no run can go on from it; give a checkpoint that a training '
            'wrote, or begin a new run from its weights: --load-from'
        )


def check_checkpoint(state: dict[str, Tensor], model: nn.Module, path: str | None = None) -> None:
    """Checks that a checkpoint has the model's tensors, in name and shape, and that its weights are numbers.

    Args:
        path: File of the checkpoint, for the error.

    Raises:
        SetupError: Missing or unknown tensors, tensors of another shape, or weights that are not finite.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> check_checkpoint(layer.state_dict(), layer)
    """
    own = model.state_dict()
    named = f"checkpoint '{path}'" if path else 'the checkpoint'
    for key, _ in model.named_parameters():
        value = state.get(key)
        if value is not None and value.is_floating_point() and not value.isfinite().all():
            wrong = value[~value.isfinite()][0].item()
            raise SetupError(
                f'{named} holds {wrong} in {key}, a network that could neither predict nor learn; take an earlier checkpoint of '
                'that run'
            )
    found = {
        'missing': own.keys() - state.keys(),
        'unknown': state.keys() - own.keys(),
        'of another shape': {
            key for key in own.keys() & state.keys() if own[key].shape != state[key].shape
        },
    }
    if any(found.values()):
        problems = '; '.join(
            f'{len(keys)} {problem} (first: {min(keys)})' for problem, keys in found.items() if keys
        )
        raise SetupError(
            f'{named} is of another architecture than the config: {problems}; use the config that made it, or '
            'load what fits with --cfg-options default_hooks.step.strict_load=False'
        )
