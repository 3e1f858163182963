"""Configs of the trainings of ST and ST++, made from the one config that a user gives.

``mmseg_semi/cli/selective_retraining.py`` runs them.
"""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import MODELS, TRANSFORMS

from mmseg_semi.data.semi_dataset import KEY
from mmseg_semi.data.transforms import LoadPseudoMask
from mmseg_semi.errors import SetupError
from mmseg_semi.methods.stpp.hook import snapshot_iterations

TRAININGS = ('labels', 'reliable', 'all')
"""Names of the trainings, which are their folders and the keys of a config's ``stages``."""
STAGES = (
    'train_labels',
    'rank',
    'label_all',
    'label_reliable',
    'train_reliable',
    'label_remaining',
    'train_all',
)
"""Names of all stages in their order, which are those of their notes; ST has three of them, ST++ six."""
_NOT_COMPARED = re.compile(
    r'(stages\.\w+\.)?'
    r'((work_dir|experiment_name|visualizer|vis_backends|log_level|log_processor|env_cfg|default_hooks\.logger)(\.|$)'
    r'|\w+_dataloader\.(num_workers|persistent_workers|prefetch_factor|pin_memory)$)'
)
"""Dotted keys of a config that may differ when a command goes on: they change no result."""


def labels_config(cfg: Config) -> Config:
    """The config of the first training: the labelled images alone, as many in a step as before.

    Args:
        cfg: Config of the re-training; left as it is.

    Returns:
        Config: Copy without unlabelled images, and without the objectives that need them.
    """
    cfg = copy.deepcopy(cfg)
    loader = cfg.train_dataloader
    first, *others = loader.sampler.source_ratio
    loader.batch_size = loader.batch_size * first // (first + sum(others))
    loader.sampler.batch_size, loader.sampler.source_ratio = loader.batch_size, [1]
    loader.dataset.unlabeled = None
    cfg.model.objectives = [
        objective
        for objective in cfg.model.objectives
        if not MODELS.build(copy.deepcopy(objective)).all_needs.unlabeled
    ]
    return of_stage(cfg, 'labels')


def retraining_config(cfg: Config, stage: str, images: dict, masks: Path, folder: str) -> Config:
    """The config of a training on labelled and pseudo-labelled images.

    Args:
        cfg: Config of the re-training; left as it is.
        stage: 'reliable' or 'all'.
        images: Keys of the unlabelled source that say which images are pseudo-labelled.
        masks: Folder of the pseudo-masks.
        folder: Folder of the images, which the names of the masks are relative to.

    Returns:
        Config: Copy with these images and masks.
    """
    cfg = copy.deepcopy(cfg)
    dataset = cfg.train_dataloader.dataset
    dataset.protocol = None  # its hashes are those of the complete list
    dataset.unlabeled.update(images)
    for step in dataset.unlabeled.pipeline:
        if _is_loader(step):
            step.update(masks=str(masks), images=folder)
    return of_stage(cfg, stage)


def of_stage(cfg: Config, stage: str) -> Config:
    """A copy of a config with what its key ``stages`` changes in a training.

    Args:
        cfg: Left as it is.
        stage: One of :data:`TRAININGS`.

    Example:
        >>> cfg = Config(dict(train_cfg=dict(max_iters=9), stages=dict(labels=dict(train_cfg=dict(max_iters=3)))))
        >>> of_stage(cfg, 'labels').train_cfg.max_iters, of_stage(cfg, 'all').train_cfg.max_iters
        (3, 9)
    """
    cfg = copy.deepcopy(cfg)
    changes = (cfg.pop('stages', None) or {}).get(stage)
    if changes:
        cfg.merge_from_dict(dict(changes))
    return cfg


def compared_content(cfg: Config) -> dict:
    """What a config says of the trainings, by which a command recognises the run that it goes on with.

    Args:
        cfg: Left as it is.

    Returns:
        dict: As a JSON file gives it back. It lacks the keys that change no result.

    Example:
        >>> compared_content(Config(dict(train_dataloader=dict(batch_size=(2,), num_workers=4), log_level='INFO')))
        {'train_dataloader': {'batch_size': [2]}}
    """
    return json.loads(json.dumps(_without(cfg.to_dict(), ''), default=str))


def _without(node: dict, prefix: str) -> dict:
    """A dict without the keys that are not compared."""
    return {
        key: _without(value, f'{prefix}{key}.') if isinstance(value, dict) else value
        for key, value in node.items()
        if not _NOT_COMPARED.match(f'{prefix}{key}')
    }


def first_difference(found: dict, given: dict) -> tuple[str, str, str] | None:
    """The first dotted key in which two contents differ.

    Returns:
        tuple[str, str, str] | None: The key, and it with its value in ``found`` and in ``given``; None if they are equal.

    Example:
        >>> first_difference(dict(a=[dict(b=1)]), dict(a=[dict(b=2)]))
        ('a.0.b', 'a.0.b=1', 'a.0.b=2')
        >>> first_difference(dict(a=1), {})
        ('a', 'a=1', 'no a')
    """
    one, two = dict(_leaves(found)), dict(_leaves(given))
    for key in {**two, **one}:
        if key not in one or key not in two or one[key] != two[key]:
            said = (f'{key}={part[key]!r}' if key in part else f'no {key}' for part in (one, two))
            return (key, *said)
    return None


def _leaves(node: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """The dotted keys of all values; an empty dict or list is a value."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if value and isinstance(value, dict | list):
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _is_loader(step: Any) -> bool:
    kind = TRANSFORMS.get(step['type']) if isinstance(step['type'], str) else step['type']
    return isinstance(kind, type) and issubclass(kind, LoadPseudoMask)


def check_config(cfg: Config, config: str, checkpoints: int | None, share: float) -> None:
    """Refuse a config or an option that does not fit the method.

    Args:
        cfg: The config.
        config: Its path.
        checkpoints: The option of this name; None if no checkpoints are compared.
        share: The option ``--reliable``.

    Raises:
        SetupError: A key is missing or wrong, or an option is out of range.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    source = dataset.get('unlabeled')
    if dataset.get('type') != 'SemiDataset' or not source:
        raise SetupError(
            f"config '{config}': {KEY} has no unlabelled images (type {dataset.get('type')!r}), expected a SemiDataset "
            'with labeled and unlabeled; inherit one of configs/stpp'
        )
    if isinstance(source, list | tuple) or 'shards' in source:
        found = (
            'a list of data sets' if isinstance(source, list | tuple) else 'a data set of shards'
        )
        raise SetupError(
            f"config '{config}': {KEY}.unlabeled is {found}, but selective re-training ranks the images of one list or "
            'folder; give one data set of image files'
        )
    if not any(map(_is_loader, source.get('pipeline', []))):
        raise SetupError(
            f"config '{config}': {KEY}.unlabeled.pipeline has no LoadPseudoMask, so pseudo-masks would not be read; put "
            "dict(type='LoadPseudoMask', num_classes=...) behind LoadImage, as configs/stpp does"
        )
    objectives = [objective.get('type') for objective in cfg.model.get('objectives', [])]
    if 'PseudoMaskObjective' not in objectives:
        raise SetupError(
            f"config '{config}': model.objectives are {objectives}, none of which learns pseudo-masks; add "
            "dict(type='PseudoMaskObjective')"
        )
    unknown = [stage for stage in cfg.get('stages') or {} if stage not in TRAININGS]
    if unknown:
        raise SetupError(
            f"config '{config}': stages has the key '{unknown[0]}'; its keys are {', '.join(TRAININGS)}"
        )
    if not cfg.get('test_pipeline'):
        raise SetupError(
            f"config '{config}' has no key 'test_pipeline', by which unlabelled images are loaded to be labelled; inherit "
            'it from configs/_base_/datasets/semi.py'
        )
    if not 0 < share < 1:
        raise SetupError(f'--reliable {share}: expected a share of the images between 0 and 1')
    if not (cfg.get('default_hooks') or {}).get('checkpoint'):
        raise SetupError(
            f"config '{config}' has no default_hooks.checkpoint, but the last checkpoint of a training labels images; inherit "
            'it from configs/_base_/default_runtime.py'
        )
    if checkpoints is not None:
        snapshot_iterations(labels_config(cfg).train_cfg.max_iters, checkpoints)
