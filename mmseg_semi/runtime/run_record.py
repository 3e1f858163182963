"""What a run is: its ranks, batches, schedule, method and lists, noted in every checkpoint and compared when it is resumed."""

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.errors import SetupError
from mmseg_semi.step.hooks import bare_model

KEY = 'run_record'

MEANINGS = {
    'ranks': 'number of processes',
    'batch': 'images a process and step (train_dataloader.batch_size)',
    'ratio': 'labelled and unlabelled images of a batch (train_dataloader.sampler.source_ratio)',
    'accumulation': 'accumulated iterations (optim_wrapper.accumulative_counts)',
    'optimiser': 'optimiser (optim_wrapper.optimizer.type)',
    'rate': 'learning rate (optim_wrapper.optimizer.lr)',
    'iterations': 'iterations of the schedule (train_cfg.max_iters)',
    'objectives': 'objectives (model.objectives)',
    'labeled': 'labelled images',
    'unlabeled': 'unlabelled images',
}
"""Fact -> what it is, with the key that sets it."""


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Refuses to resume a run as another experiment.

    A checkpoint restores weights, optimisers and schedules; ranks, batches, lists and objectives come from the config. With other ones
    the run would go on as an experiment that is neither of the two, and the restored schedule would end where the old one did.

    State:
        ``run_record`` in the message hub. A checkpoint without it, of version 0.1, resumes as it is.

    Raises:
        SetupError: Before the first iteration of a resumed run, naming all facts that differ.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        now = describe(runner)
        before = runner.message_hub.runtime_info.get(KEY)
        if runner._resume and before is not None:
            compare(before, now)
        runner.message_hub.update_info(KEY, now)


def describe(runner: Runner) -> dict[str, Any]:
    """The facts of a run as plain types; those that its loader or model does not have are left out."""
    loader = runner.train_loop.dataloader
    optimizer = runner.optim_wrapper
    inner = getattr(optimizer, 'optimizer', None)
    objectives = getattr(bare_model(runner), 'objectives', [])
    facts = {
        'ranks': get_world_size(),
        'batch': loader.batch_size,
        'ratio': list(getattr(loader.sampler, 'source_ratio', []) or []),
        'accumulation': getattr(optimizer, '_accumulative_counts', None),
        'optimiser': type(inner).__name__ if inner is not None else None,
        'rate': _rate(runner.cfg),
        'iterations': runner.max_iters,
        'objectives': [type(objective).__name__ for objective in objectives],
        **_lists(loader.dataset),
    }
    return {key: value for key, value in facts.items() if value not in (None, [])}


def _rate(cfg: Mapping) -> float | None:
    wrapper = cfg.get('optim_wrapper') or {}
    rate = (wrapper.get('optimizer') or {}).get('lr') if isinstance(wrapper, Mapping) else None
    return None if rate is None else float(rate)


def _lists(dataset: Any) -> dict[str, str]:
    """'46 of hash 1a2b3c4d' for each list; the hash where the list has one."""
    protocol = getattr(dataset, 'protocol', None)
    if not isinstance(protocol, Mapping) or 'labeled' not in protocol:
        return {}
    pools = getattr(dataset, 'datasets', [None])[1:]
    found = {'labeled': protocol['labeled'], 'unlabeled': protocol.get('unlabeled')}
    if found['unlabeled'] is None and pools:
        found['unlabeled'] = dict(count=sum(map(len, pools)), sha256=None)
    return {
        key: str(entry['count']) + (f' of hash {entry["sha256"][:8]}' if entry['sha256'] else '')
        for key, entry in found.items()
        if entry is not None
    }


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a run that differs from the one that wrote the checkpoint.

    Raises:
        SetupError: At least one fact differs.

    Example:
        >>> compare({'ranks': 2}, {'ranks': 2, 'batch': 8})
    """
    differing = [
        key for key in MEANINGS if key in before and key in now and before[key] != now[key]
    ]
    if differing:
        shown = '; '.join(
            f'{MEANINGS[key]}: {_text(before[key])} then, {_text(now[key])} now'
            for key in differing
        )
        raise SetupError(
            f'--resume: this is another run than the one that wrote the checkpoint: {shown}. Set it as it was to go on; for a '
            'new run from its weights leave --resume out and give the checkpoint by --load-from'
        )


def _text(value: Any) -> str:
    return ', '.join(map(str, value)) if isinstance(value, list) else str(value)
