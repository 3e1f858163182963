"""TensorBoard: one folder, without what was logged behind the checkpoint."""

from typing import Any

from mmengine.config import Config
from mmengine.visualization import TensorboardVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers.continued import ContinuedRun


@VISBACKENDS.register_module()
class ContinuedTensorboardVisBackend(ContinuedRun, TensorboardVisBackend):
    """MMEngine's ``TensorboardVisBackend`` in the folder of the run that is resumed.

    TensorBoard shows a folder as one run, whatever the number of its event files. Values behind the checkpoint are
    purged: the new file tells readers to drop them.

    Args:
        save_dir: See MMEngine's backend.
    """

    tracker = 'tensorboard'

    def prepare(self, known: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._new_writer = SummaryWriter
        self.keep_folder(known)

    def open(self, config: Config, **kwargs) -> None:
        self._config = config
        if not self.continued:  # else the iteration to continue from is needed first
            super().open(config, **kwargs)

    def resumed_at(self, iteration: int) -> None:
        self._tensorboard = self._new_writer(self._save_dir, purge_step=iteration + 1)
        self._env_initialized = True
        super().open(self._config)

    def flush(self) -> None:
        self._tensorboard.flush()

    def identity(self) -> dict[str, Any]:
        return {'folder': self.noted_folder()}
