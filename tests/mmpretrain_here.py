"""mmpretrain's backbones in an environment without torchvision.

``mmpretrain.models`` imports torchvision for boxes and for transforms of images, which no backbone uses. The torchvision on PyPI is
built for one build of torch and does not start beside another (the CPU one, for instance), so the pinned environment has none. Tests
of backbones let empty modules stand in for it, during that import only.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types


class _Empty(types.ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> type:
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (), {})


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'torchvision':
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return _Empty(spec.name)

    def exec_module(self, module):
        pass


def import_mmpretrain() -> bool:
    """Import ``mmpretrain.models``; returns whether it is there. Nothing named torchvision is left behind."""
    if 'mmpretrain.models' in sys.modules:
        return sys.modules['mmpretrain.models'] is not None
    if not importlib.util.find_spec('mmpretrain'):
        return False
    # importing the package adapts the stack that mmpretrain imports
    from mmseg_semi.runtime.stack import quiet_imports

    missing = importlib.util.find_spec('torchvision') is None
    if missing:
        sys.meta_path.insert(0, stand_in := _StandIn())
    try:
        with quiet_imports():
            importlib.import_module('mmpretrain.models')
    finally:
        if missing:
            sys.meta_path.remove(stand_in)
            for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
                del sys.modules[name]
    return True
