"""The configs that are shipped, read once for all tests of a process."""

import functools
import os
import pickle
from pathlib import Path

import pytest
from miniatures import ROOT
from mmengine.config import Config

FOLDERS = ('configs', 'projects/multi_domain/configs', 'projects/weak_labels/configs')
# shipped configs stand in a method's folder; a file of configs/ itself is a user's
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py'))
FILES = [path for path in FILES if path.parent != ROOT / 'configs']
# a study lists configs and trains nothing itself
STUDIES = [path for path in FILES if path.parent.name == 'studies']
PATHS = [path for path in FILES if '_base_' not in path.parts and path not in STUDIES]

_read = Config._file2dict
_known: dict[tuple[str, int], bytes] = {}


@functools.cache
def shipped(path: Path) -> Config:
    """A config, not to be changed; a base that many configs share is parsed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(read_once))
        return Config.fromfile(path)


def read_once(filename: str | Path, *args, **kwargs) -> tuple:
    """``Config._file2dict``, which parses a file once, whatever folder it is linked into, until it changes."""
    place = os.path.realpath(filename), os.stat(filename).st_mtime_ns
    if place not in _known:
        _known[place] = pickle.dumps(_read(filename, *args, **kwargs))
    return pickle.loads(_known[place])
