"""Aim: one run by its hash."""

from typing import Any

from mmengine.visualization import AimVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers.continued import ContinuedRun


@VISBACKENDS.register_module()
class ContinuedAimVisBackend(ContinuedRun, AimVisBackend):
    """MMEngine's ``AimVisBackend``, which continues the run of the same hash.

    Args:
        save_dir, init_kwargs: See MMEngine's backend.
    """

    tracker = 'aim'

    def prepare(self, known: dict[str, Any]) -> None:
        arguments = self._init_kwargs = dict(self._init_kwargs or {})
        if known and 'run_hash' not in arguments:
            arguments['run_hash'] = known['hash']
            arguments.setdefault('repo', known['repo'])
            arguments.setdefault('experiment', known['experiment'])

    def identity(self) -> dict[str, Any]:
        run = self._aim_run
        return {'hash': run.hash, 'repo': str(run.repo.root_path), 'experiment': run.experiment}
