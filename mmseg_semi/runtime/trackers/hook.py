"""The hook that notes which runs the trackers write to."""

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.runtime.trackers import record
from mmseg_semi.runtime.trackers.continued import ContinuedRun


@HOOKS.register_module()
class TrackersHook(Hook):
    """Lets a resumed run continue the runs of the trackers that the visualizer lists.

    ``trackers.json`` in the work folder holds each tracker's run. It is written before the first iteration, behind all
    checks: a run that is refused changes nothing. A run that is not resumed begins new runs, also in a folder that has
    such a file.

    The hook is what :func:`~mmseg_semi.runtime.trackers.following.follow` looks for: without it the backends are MMEngine's.
    """

    priority = 'VERY_LOW'

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Notes the runs."""
        backends = _backends(runner)
        for backend in backends:
            if backend.continued:
                backend.resumed_at(runner.iter)
        runs = {backend.tracker: backend.identity() for backend in backends}
        if runs or record.read(runner.work_dir):
            record.write(runner.work_dir, runs)

    @master_only
    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Flushes: a run that is resumed from this checkpoint logs nothing before it again."""
        for backend in _backends(runner):
            backend.flush()


def _backends(runner: Runner) -> list[ContinuedRun]:
    """The trackers whose run this process has opened."""
    return [
        backend
        for backend in runner.visualizer._vis_backends.values()
        if isinstance(backend, ContinuedRun) and hasattr(backend, '_work_dir')
    ]
