"""Last and best validation figures of every network, in one table and one file."""

import json
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

_KEY = 'results'


@HOOKS.register_module()
class ResultsHook(Hook):
    """Keeps the last and the best value of each validation metric, with their iterations.

    The table is logged after every validation; ``results.json`` in the work folder holds it together with every
    validation so far, and the protocol of the training lists with their hashes. The state travels in the message hub, so
    a resumed run continues its table.
    """

    priority = 'LOW'

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
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
        path = Path(runner.work_dir) / 'results.json'
        temporary = path.with_suffix('.tmp')
        results = {'protocol': _protocol(runner), 'summary': summary, 'history': history}
        temporary.write_text(json.dumps(results, indent=1))
        temporary.replace(path)


def _protocol(runner: Runner) -> dict | None:
    """What ``SemiDataset.protocol`` says of the training lists; None for other data sets and without training."""
    loader = getattr(getattr(runner, '_train_loop', None), 'dataloader', None)
    return getattr(getattr(loader, 'dataset', None), 'protocol', None)
