"""Values of a config that MMEngine would take and stumble over later, or without a word that names them."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.utils.dl_utils import set_multi_processing
from mmseg.evaluation import IoUMetric

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.config_structure import need_dict

_IOU_KEYS = [name for name in inspect.signature(IoUMetric).parameters if name != 'kwargs']
_CONSTRUCTOR = 'StudentOptimWrapperConstructor'
_MP_KEYS = [
    name for name in inspect.signature(set_multi_processing).parameters if name != 'distributed'
]
_TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)


def check_config(cfg: Config) -> None:
    """Refuse a config from which no runner could be built, or whose run would end at its first step, validation or checkpoint.

    Args:
        cfg: Left as it is.

    Raises:
        SetupError: A part is missing or is no dict, or a length, interval, seed or learning rate is out of its range.
    """
    need_dict(cfg.get('model'), 'model')
    for keys in _TOGETHER:
        missing = [key for key in keys if cfg.get(key) is None]
        if missing and len(missing) < len(keys):
            there = [key for key in keys if key not in missing]
            raise SetupError(
                f'the config has {" and ".join(there)}, but no {" and no ".join(missing)}; add it, or remove the other'
                + 's' * (len(there) > 1)
            )
    for name, hook in (cfg.get('default_hooks') or {}).items():
        if hook is not None:
            need_dict(hook, f'default_hooks.{name}', ending=', or None for no such hook')
    for place, hook in enumerate(cfg.get('custom_hooks') or []):
        if isinstance(hook, str):
            need_dict(hook, f'custom_hooks.{place}')
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and not _is_whole(seed, 0, 2**32 - 1):
        raise SetupError(
            f'randomness.seed={seed!r}, expected a whole number of 0 to {2**32 - 1}, or None for another one in each run; '
            'set it so'
        )
    environment = cfg.get('env_cfg') or {}
    check_keys(environment, ['cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'], 'env_cfg')
    check_keys(environment.get('mp_cfg') or {}, _MP_KEYS, 'env_cfg.mp_cfg')
    for key in ('val_evaluator', 'test_evaluator'):
        _check_evaluator(cfg.get(key), key)
    _check_lengths(cfg.get('train_cfg') or {})
    if cfg.get('optim_wrapper') is not None:
        _check_rates(cfg.optim_wrapper)


def check_training(cfg: Config, config: str) -> None:
    """Refuse a config that is to be trained and says nothing of training.

    Args:
        cfg: Left as it is.
        config: Its file; the error names it.
    """
    missing = [key for key in ('model', *_TOGETHER[0]) if cfg.get(key) is None]
    if len(missing) > 1:
        raise SetupError(
            f"config '{config}' has no {', '.join(missing)}, so there is nothing to train; add them, or inherit from a "
            "config that has them: _base_ = 'mmseg_semi::own_data/fixmatch_lite0.py'"
        )


def check_keys(given: Mapping[str, Any], known: list[str], place: str) -> None:
    """Refuse unknown keys of a type that would take them and hand them on.

    Args:
        given: The keys in question.
        known: All keys that there are.
        place: Of the type in the config; the error names it.

    Example:
        >>> check_keys({'interval': 1}, ['interval'], 'default_hooks.checkpoint')
    """
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'its keys are {", ".join(known)}'
            raise SetupError(f'{place} has the key {key!r}; {hint}')


def _check_evaluator(given: Any, place: str) -> None:
    """Refuse unknown keys of IoUMetric, which takes any and heeds those that it knows."""
    for metric in given if isinstance(given, list | tuple) else [given]:
        if isinstance(metric, Mapping) and metric.get('type') in ('IoUMetric', 'mmseg.IoUMetric'):
            check_keys(metric, ['type', '_scope_', *_IOU_KEYS], place)


def _is_whole(value: Any, low: int, high: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _check_lengths(train_cfg: Mapping) -> None:
    if 'Epoch' in str(train_cfg.get('type') or train_cfg.get('by_epoch') and 'Epoch'):
        return  # check_loop says how many iterations these are
    for key in ('max_iters', 'val_interval', 'val_begin'):
        value = train_cfg.get(key)
        endless = key == 'max_iters' and value == math.inf
        if key in train_cfg and not endless and not _is_whole(value, 1):
            raise SetupError(
                f'train_cfg.{key}={value!r}, expected a number of iterations, a whole number of 1 or more; set it so'
            )


def _check_rates(optim_wrapper: Mapping) -> None:
    optimizer = optim_wrapper.get('optimizer')
    if not isinstance(optimizer, Mapping):
        own = optim_wrapper.get('constructor', _CONSTRUCTOR) == _CONSTRUCTOR
        if own or optimizer is not None:
            need_dict(optimizer, 'optim_wrapper.optimizer', "dict(type='SGD', lr=...)")
        return
    rate = optimizer.get('lr')
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if rate is not None and not (number and math.isfinite(rate) and rate >= 0):
        raise SetupError(
            f'optim_wrapper.optimizer.lr={rate!r}, expected a number of 0 or more, without quotes; set it so'
        )
