"""Join configs that train one domain each into one config of several domains."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict

from mmseg_semi.errors import SetupError
from projects.multi_domain.turns import Turns, check_names

ROOT = Path(__file__).resolve().parents[2]


class Domain(NamedTuple):
    """Name and config of a domain, for :func:`join`."""

    name: str
    config: Config


def domain(name: str, config: str, **changes: Any) -> Domain:
    """Load the config of a domain, with changes.

    Args:
        name: Name of the domain: letters, digits and underscores.
        config: Path of a config that trains this domain alone, relative to the working directory or
            else to this repository.
        changes: Keys of it to replace or merge, as an inheriting config would.

    Raises:
        SetupError: If there is no such config.
        ImportError: If one of its ``custom_imports`` fails, and the config does not allow that.
    """
    path = Path(config)
    path = path if path.is_file() else ROOT / config
    if not path.is_file():
        raise SetupError(
            f"domain '{name}': config '{config}' does not exist; give one that trains this domain alone, such as "
            'configs/fixmatch/camvid_46_small.py'
        )
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(changes)
    return Domain(name, cfg)


def join(
    *domains: Domain,
    schedule: str = 'joint',
    turns: dict[str, int] | None = None,
    share: tuple[str, ...] = ('backbone',),
    separate_statistics: bool = False,
    iters_per_epoch: int | None = None,
) -> dict[str, Any]:
    """Make the keys of a config that trains several domains.

    It takes model, training data with batch size and ratio, validation, test, metrics and
    ``custom_imports`` from each domain's config. Optimiser, learning rate and hooks belong to the
    run: the calling config or its ``_base_`` must set them.

    Args:
        domains: From :func:`domain`.
        schedule, turns, share, separate_statistics: See ``MultiDomainSegmentor``.
        iters_per_epoch: See ``MultiDomainSegmentor``; default the domains' own, in iterations of
            the run, if they agree.

    Returns:
        The keys; put them into the config with ``globals().update(join(...))``.

    Raises:
        SetupError: If two domains have one name, or the configs cannot be joined.
    """
    names = [one.name for one in domains]
    check_names(names, 'join')
    if len(set(names)) < len(names):
        raise SetupError(f'join: the domains are {names}; give each a name of its own')
    order = Turns(names, schedule, turns)
    models = {one.name: copy.deepcopy(one.config.model) for one in domains}
    teacher = _common({name: model.pop('teacher', None) for name, model in models.items()})
    if iters_per_epoch is None:
        units = {n: m.get('iters_per_epoch', 1) * order.per_step(n) for n, m in models.items()}
        if len(set(units.values())) > 1 or not float(next(iter(units.values()))).is_integer():
            raise SetupError(
                f'join: an epoch takes {units} iterations of the run; set iters_per_epoch, the unit of the '
                "teacher's start and of the flow's learning rate"
            )
        iters_per_epoch = int(next(iter(units.values())))
    loaders = {one.name: copy.deepcopy(one.config.train_dataloader) for one in domains}
    samplers = {name: _sampler(name, loader) for name, loader in loaders.items()}
    sizes = [sampler['batch_size'] for sampler in samplers.values()]
    size = sum(sizes) if schedule == 'joint' else max(sizes)
    workers = max(loader.get('num_workers', 0) for loader in loaders.values())
    places = dict(schedule=schedule, turns=turns)
    joined = dict(
        custom_imports=_imports([one.config.get('custom_imports') or {} for one in domains]),
        model=dict(
            type='MultiDomainSegmentor',
            domains=models,
            teacher=teacher,
            share=list(share),
            separate_statistics=separate_statistics,
            iters_per_epoch=iters_per_epoch,
            **places,
        ),
        model_wrapper_cfg=dict(
            type='mmseg.MultiDomainDistributedDataParallel', broadcast_buffers=False
        ),
        train_dataloader=dict(
            batch_size=size,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=dict(type='domain_collate'),
            sampler=dict(type='MultiDomainSampler', samplers=samplers, batch_size=size, **places),
            dataset=dict(
                type='MultiDomainDataset', domains={n: ld.dataset for n, ld in loaders.items()}
            ),
        ),
        val_cfg=dict(type='MultiDomainValLoop'),
        test_cfg=dict(type='MultiDomainTestLoop'),
        default_hooks=dict(
            step=dict(type='DomainStepHook'), checkpoint=dict(save_best='mean/mIoU')
        ),
        crop_size={one.name: one.config.get('crop_size') for one in domains},
    )
    for key in ('val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator'):
        joined[key] = {one.name: copy.deepcopy(one.config[key]) for one in domains}
    return _plain(joined)


def _imports(domains: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``custom_imports`` of the joined config: this package's, then those of all domains."""
    modules = ['mmseg_semi', 'projects.multi_domain']
    for own in domains:
        names = own.get('imports') or []
        modules += [names] if isinstance(names, str) else names
    return dict(
        imports=list(dict.fromkeys(modules)),
        # one for all: a module that may be missing must not end the run, and `domain` has imported those that may not
        allow_failed_imports=any(own.get('allow_failed_imports') for own in domains),
    )


def _common(teachers: dict[str, Any]) -> Any:
    """The teachers' common recipe; raises SetupError if the domains differ."""
    (first, teacher), *others = teachers.items()
    for name, other in others:
        if other != teacher:
            raise SetupError(
                f"join: domain '{first}' has teacher={teacher}, '{name}' has teacher={other}; they share a backbone, hence "
                "one recipe: give one of them the other's with domain(..., model=dict(teacher=...))"
            )
    return teacher


def _sampler(name: str, loader: ConfigDict) -> dict:
    """Config of the domain's sampler, without its type."""
    sampler = dict(loader.get('sampler') or {})
    if sampler.pop('type', None) != 'MultiSourceSampler' or 'source_ratio' not in sampler:
        raise SetupError(
            f"domain '{name}': train_dataloader.sampler is {dict(loader.get('sampler') or {})}; expected a "
            'MultiSourceSampler, with batch_size and source_ratio'
        )
    return sampler


def _plain(value: Any) -> Any:
    """Copy with plain dicts and lists, as in a config file."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value
