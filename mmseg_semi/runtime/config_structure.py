"""The outline of a config: which keys hold dicts with a type, which ones lists of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from mmseg_semi.errors import SetupError

_DICTS = (
    *('train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'default_hooks', 'env_cfg'),
    *('randomness', 'visualizer', 'log_processor'),
)
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_PARTS = ('student', 'backbone', 'decode_head', 'teacher', 'pseudo_label', 'test_cfg')


def check_structure(cfg: Config) -> None:
    """Refuse values of another kind than every reader of a config takes for granted.

    Args:
        cfg: Any config; keys that it does not have are not asked for.

    Raises:
        SetupError: With the first such key, what it holds, and what is expected there.
    """
    for key in _DICTS:
        if cfg.get(key) is not None:
            need_dict(cfg[key], key, 'dict(...)')
    if 'model' in cfg:
        _check_model(cfg.model, 'model')
    for key in _LOADERS:
        # several domains have a loader each, in a dict by their names
        loaders = cfg.get(key)
        for place, loader in _listed(loaders, key):
            need_dict(loader, place, 'dict(batch_size=..., dataset=..., sampler=...)')
            for part in ('dataset', 'sampler', 'batch_sampler'):
                if part in loader and (loader[part] is not None or part == 'dataset'):
                    need_dict(loader[part], f'{place}.{part}')
            if 'dataset' not in loader and {'batch_size', 'sampler'} & set(loader):
                raise SetupError(
                    f"config: {place} has no 'dataset'; add dataset=dict(type='...', ...)"
                )
            for part, least in (('batch_size', 1), ('num_workers', 0)):
                value = loader.get(part, least)
                if isinstance(value, bool) or not isinstance(value, int) or value < least:
                    raise SetupError(
                        f'config: {place}.{part} is {value!r}, expected a whole number of {least} or more; set it so'
                    )
    _check_schedules(cfg.get('param_scheduler'))
    _check_types(cfg._cfg_dict, '')


def need_dict(value: Any, place: str, expected: str = "dict(type='...')", ending: str = '') -> None:
    """Refuse a value that is no dict.

    Args:
        value: Of the config.
        place: Its dotted key.
        expected: What should stand there.
        ending: Goes on after ``expected``.

    Raises:
        SetupError: It is none.

    Example:
        >>> need_dict(dict(type='SGD'), 'optim_wrapper.optimizer')
    """
    if not isinstance(value, Mapping):
        found = f'is {value!r:.80}' if value is not None else 'is missing or None'
        raise SetupError(f'config: {place} {found}, expected {expected}{ending}; write it so')


def _listed(value: Any, place: str) -> list[tuple[str, Any]]:
    if isinstance(value, list | tuple):
        return [(f'{place}.{i}', one) for i, one in enumerate(value)]
    return [] if value is None else [(place, value)]


def _check_model(model: Any, place: str) -> None:
    need_dict(model, place)
    for part in _PARTS:
        if part not in model or model[part] is None:
            continue
        for where, node in _listed(model[part], f'{place}.{part}'):
            need_dict(
                node, where, 'dict(...)' if part in ('teacher', 'test_cfg') else "dict(type='...')"
            )
            if part == 'student':
                _check_model(node, where)


def _check_types(node: Any, place: str) -> None:
    """Refuse a type that is neither a name nor a class."""
    if isinstance(node, Mapping):
        kind = node.get('type', '')
        if not isinstance(kind, str) and not callable(kind):
            raise SetupError(
                f'config: {place or "the config"} has type={kind!r:.60}, expected the name of a type; write it in quotes'
            )
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, child in items:
        if isinstance(child, Mapping | list | tuple):
            _check_types(child, f'{place}.{key}' if place else str(key))


def _check_schedules(given: Any) -> None:
    groups = given.items() if isinstance(given, Mapping) and 'type' not in given else [('', given)]
    for name, group in groups:
        place = f'param_scheduler.{name}' if name else 'param_scheduler'
        for where, schedule in _listed(group, place):
            need_dict(schedule, where)
            if 'type' not in schedule:
                raise SetupError(f"config: {where} has no 'type'; add one, such as type='PolyLR'")
