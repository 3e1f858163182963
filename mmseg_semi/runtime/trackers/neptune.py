"""Neptune: one run by an id that is chosen here."""

import os
import uuid
from typing import Any

from mmengine.visualization import NeptuneVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers.continued import ContinuedRun


@VISBACKENDS.register_module()
class ContinuedNeptuneVisBackend(ContinuedRun, NeptuneVisBackend):
    """MMEngine's ``NeptuneVisBackend``, which continues the run of the same ``custom_run_id``.

    Args:
        save_dir, init_kwargs: See MMEngine's backend.
    """

    tracker = 'neptune'

    def prepare(self, known: dict[str, Any]) -> None:
        # MMEngine's own choice without arguments
        arguments = self._init_kwargs = dict(self._init_kwargs or {'mode': 'offline'})
        self._id = None
        if (
            not arguments.keys() & {'with_id', 'custom_run_id'}
            and 'NEPTUNE_CUSTOM_RUN_ID' not in os.environ
        ):
            self._id = arguments['custom_run_id'] = known.get('id') or uuid.uuid4().hex

    def identity(self) -> dict[str, Any]:
        return {'id': self._id} if self._id else {}
