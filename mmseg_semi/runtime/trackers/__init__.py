"""Experiment trackers: a resumed run continues the run that each of them has begun.

``TrackersHook`` in a config's ``default_hooks`` turns this on. ``follow`` then takes the backends of this package for those of
MMEngine (and SwanLab) that the visualizer lists; each is MMEngine's own with :class:`ContinuedRun` before it.
"""

from mmseg_semi.runtime.trackers.continued import ContinuedRun
from mmseg_semi.runtime.trackers.following import follow
from mmseg_semi.runtime.trackers.hook import TrackersHook

__all__ = ['ContinuedRun', 'TrackersHook', 'follow']
