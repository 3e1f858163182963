"""Weights & Biases: one run by its id."""

import os
from typing import Any

from mmengine.config import Config
from mmengine.visualization import WandbVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers.continued import ContinuedRun


@VISBACKENDS.register_module()
class ContinuedWandbVisBackend(ContinuedRun, WandbVisBackend):
    """MMEngine's ``WandbVisBackend``, which continues the run of the same id.

    Online, W&B appends to the run. Offline it writes one more folder ``offline-run-*`` with the id of the run beside the
    first; ``wandb sync`` joins them and numbers the steps on.

    MMEngine stores every ``.py`` file below the current folder with the run. It does not where W&B's own setting
    ``disable_code`` forbids this.

    Args:
        save_dir, init_kwargs, args, kwargs: See MMEngine's backend.
    """

    tracker = 'wandb'

    def prepare(self, known: dict[str, Any]) -> None:
        self.keep_folder(known)
        arguments = self._init_kwargs = dict(self._init_kwargs or {})
        if not known or arguments.keys() & {'resume_from', 'fork_from'}:
            return
        if 'id' not in arguments and 'WANDB_RUN_ID' not in os.environ:
            if 'id' not in known:
                return
            arguments['id'] = known['id']
        arguments.setdefault('resume', 'allow')
        arguments.setdefault('allow_val_change', True)  # such as resume and load_from

    def open(self, config: Config, **kwargs) -> None:
        if (
            self.experiment.run.settings.disable_code
        ):  # WANDB_DISABLE_CODE, which MMEngine does not ask for
            self._wandb.config.update(
                config.to_dict(),
                allow_val_change=self._init_kwargs.get('allow_val_change', False),
            )
        else:
            super().open(config, **kwargs)

    def identity(self) -> dict[str, Any]:
        run = self._wandb.run
        if run is None or run.disabled:
            return {}
        return {'id': run.id, 'folder': self.noted_folder()}
