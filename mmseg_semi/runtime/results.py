"""Last and best validation metrics of every network, in the log and in one file."""

import json
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from mmseg_semi.files import write_whole

_KEY = 'results'


@HOOKS.register_module()
class ResultsHook(Hook):
    """Keeps the last and the best value of each validation metric, with their iterations.

    The hook logs them after every validation. ``results.json`` in the work folder holds them, all
    validations so far, and the protocol of the training lists with their hashes.

    State:
        ``results`` in the message hub: one dict per validation. A resumed run continues it.
    """

    priority = 'LOW'

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Adds a validation, writes the file and logs mIoU."""
        if not metrics:
            return
        history = list(runner.message_hub.runtime_info.get(_KEY, []))
        entry = {'iter': int(runner.iter), **{key: float(value) for key, value in metrics.items()}}
        history = [old for old in history if old['iter'] < entry['iter']] + [entry]
        runner.message_hub.update_info(_KEY, history)
        summary = {}
        for key in entry:
            if key == 'iter':
                continue
            best = max((old for old in history if key in old), key=lambda old: old[key])
            summary[key] = {
                'last': entry[key],
                'last_iter': entry['iter'],
                'best': best[key],
                'best_iter': best['iter'],
            }
        self._write(runner, summary, history)
        for key, row in summary.items():
            if key.endswith('mIoU'):
                runner.logger.info(
                    f'{key}: last {row["last"]:.2f} (iteration {row["last_iter"]}), '
                    f'best {row["best"]:.2f} (iteration {row["best_iter"]})'
                )

    @master_only
    def _write(self, runner: Runner, summary: dict, history: list[dict]) -> None:
        results = {'protocol': _protocol(runner), 'summary': summary, 'history': history}
        write_whole(Path(runner.work_dir, 'results.json'), json.dumps(results, indent=1))


def _protocol(runner: Runner) -> dict | None:
    """``SemiDataset.protocol`` of the training data; None for other data sets or without any.

    An unlabelled list that was not hashed, because there is nothing to compare it with, has its count and no hash.
    """
    loader = getattr(getattr(runner, '_train_loop', None), 'dataloader', None)
    dataset = getattr(loader, 'dataset', None)
    protocol = getattr(dataset, 'protocol', None)
    # the data sets of several domains have a protocol each
    if protocol and protocol.get('unlabeled', protocol) is None and len(dataset.datasets) > 1:
        count = sum(map(len, dataset.datasets[1:]))
        protocol = {**protocol, 'unlabeled': {'count': count, 'sha256': None}}
    return protocol


def choose_network(segmentor: nn.Module, checkpoint: dict) -> tuple[str, str]:
    """The network that validation prefers, and one sentence that says why.

    Args:
        segmentor: A segmentor with ``networks`` and ``predicting_network``.
        checkpoint: The file, whose message hub holds the validations of the run so far.

    Returns:
        The name; where the scores are equal or unknown, that of the network that predicts in the run.
    """
    default = segmentor.predicting_network
    names = list(segmentor.networks)
    if len(names) == 1:
        return default, f'The {default} is taken, the only network of this run.'
    hub = checkpoint.get('message_hub') or {}
    history = (hub.get('runtime_info') or {}).get('results') or []
    iteration = (checkpoint.get('meta') or {}).get('iter')
    entry = next((entry for entry in history if entry['iter'] == iteration), {})
    scores = {name: entry[f'{name}/mIoU'] for name in names if f'{name}/mIoU' in entry}
    if len(scores) < len(names):
        return default, (
            f'The {default} is taken: the checkpoint holds no validation of all its networks '
            f'({", ".join(names)}); --network chooses another one.'
        )
    best = max(scores.values())
    name = default if scores[default] == best else max(scores, key=scores.get)
    shown = ', '.join(f'{other} {score:.2f}' for other, score in scores.items())
    return name, (
        f'The {name} is taken: mIoU in the validation of iteration {iteration}: {shown}; --network chooses another one.'
    )
