"""SwanLab: one run by its id. Its backend is its own, imported by the config."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers.continued import ContinuedRun

MODULE, NAME = 'swanlab.integration.mmengine', 'SwanlabVisBackend'


def continued(found: Any, modules: Mapping[str, ModuleType]) -> str | None:
    """Name of the backend that continues a run of SwanLab's, which is registered at the first call.

    Args:
        found: A class of backends.
        modules: The imported modules. SwanLab is not imported for this.

    Returns:
        The name; None for another class.
    """
    own = getattr(modules.get(MODULE), NAME, None)
    if own is None or found is not own:
        return None
    name = f'Continued{NAME}'
    backend = type(name, (_ContinuedSwanlab, own), {'__module__': __name__})
    VISBACKENDS.register_module(name=name, module=backend, force=True)
    return name


class _ContinuedSwanlab(ContinuedRun):
    """SwanLab's ``SwanlabVisBackend``, which continues the run of the same id.

    Offline, SwanLab writes one more folder ``run-*`` with the id of the run beside the first.
    """

    tracker = 'swanlab'

    def prepare(self, known: dict[str, Any]) -> None:
        self.keep_folder(known)
        arguments = self._init_kwargs = dict(self._init_kwargs or {})
        if 'id' in known and 'id' not in arguments:
            arguments['id'] = known['id']
            arguments.setdefault('resume', 'allow')

    def close(self) -> None:
        """Ends the run; SwanLab's own backend leaves it to the end of the process, where a second training would go on with it."""
        if self._swanlab_initialized:
            self.experiment.finish()

    def identity(self) -> dict[str, Any]:
        return {'id': self.experiment.get_run().id, 'folder': self.noted_folder()}
