"""ClearML: one task by its id."""

from typing import Any

from mmengine.visualization import ClearMLVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers.continued import ContinuedRun


@VISBACKENDS.register_module()
class ContinuedClearMLVisBackend(ContinuedRun, ClearMLVisBackend):
    """MMEngine's ``ClearMLVisBackend``, which continues the task of the same id.

    ClearML's own default is that a run of the same project and name takes the last one's task over and empties it. Here
    a run that is not resumed begins a task of its own, unless ``init_kwargs`` says otherwise.

    Args:
        save_dir, init_kwargs, args, kwargs: See MMEngine's backend.
    """

    tracker = 'clearml'

    def prepare(self, known: dict[str, Any]) -> None:
        import clearml

        # the seed of a run is the config's
        clearml.Task.set_random_seed(None)
        arguments = self._init_kwargs = dict(self._init_kwargs or {})
        if not arguments.keys() & {'reuse_last_task_id', 'continue_last_task'}:
            arguments['reuse_last_task_id'] = known.get('id', False)
            if known:
                # an offset of 0: steps are counted from the begin of the run; True would add the last one to them
                arguments['continue_last_task'] = 0

    def identity(self) -> dict[str, Any]:
        return {'id': self._task.id}
