"""Takes the continued backends for those that a config names."""

import sys
from collections.abc import Mapping

from mmengine.config import Config
from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers import swanlab
from mmseg_semi.runtime.trackers.aim import ContinuedAimVisBackend
from mmseg_semi.runtime.trackers.clearml import ContinuedClearMLVisBackend
from mmseg_semi.runtime.trackers.dvclive import ContinuedDVCLiveVisBackend
from mmseg_semi.runtime.trackers.mlflow import ContinuedMLflowVisBackend
from mmseg_semi.runtime.trackers.neptune import ContinuedNeptuneVisBackend
from mmseg_semi.runtime.trackers.tensorboard import ContinuedTensorboardVisBackend
from mmseg_semi.runtime.trackers.wandb import ContinuedWandbVisBackend

CONTINUED = {
    backend.__bases__[1]: backend.__name__
    for backend in (
        ContinuedAimVisBackend,
        ContinuedClearMLVisBackend,
        ContinuedDVCLiveVisBackend,
        ContinuedMLflowVisBackend,
        ContinuedNeptuneVisBackend,
        ContinuedTensorboardVisBackend,
        ContinuedWandbVisBackend,
    )
}
"""MMEngine's backend -> name of the one that continues its run."""


def follow(cfg: Config) -> None:
    """Take the backends that continue a run for MMEngine's, if the config has a ``TrackersHook``.

    A backend of another class, such as a subclass of the user's, stays as it is. ``visualizer.get_backend`` finds each
    by the name that MMEngine gives it.

    Args:
        cfg: Changed in place.
    """
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    types = [hook.get('type') for hook in hooks if isinstance(hook, Mapping)]
    visualizer = cfg.get('visualizer')
    if not isinstance(visualizer, Mapping) or not any('TrackersHook' in str(one) for one in types):
        return
    listed = visualizer.get('vis_backends') or []
    for entry in [listed] if isinstance(listed, Mapping) else listed:
        if isinstance(entry, Mapping) and 'type' in entry:
            kind = entry['type']
            found = VISBACKENDS.get(kind) if isinstance(kind, str) else kind
            name = CONTINUED.get(found) or swanlab.continued(found, sys.modules)
            if name:
                entry['type'] = name
                entry.setdefault('name', found.__name__)
