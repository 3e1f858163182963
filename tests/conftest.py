"""Settings of the whole test suite."""

import gc
import logging
import sys
from types import SimpleNamespace

import pytest
import torch

import mmseg_semi  # noqa: F401  (first: it adapts the stack that tests import)

# isort: split
from miniatures import Tree
from mmengine.dataset import base_dataset
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from whole_runs import one_block_a_stage

from mmseg_semi.runtime import stack

# One thread a process: the order of float additions, hence every last bit, then does not depend
# on the machine, and processes that run side by side do not fight for cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope='session')
def _cheap_whole_runs():
    """Spares tiny runs what took most of their time.

    MMEngine lays a config out with yapf in every checkpoint, and collects garbage for every data set
    it builds, which walks through all that imports and earlier tests have left.
    """
    stack.import_yapf()
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(autouse=True)
def _loggers_write_to_this_test():
    """A logger of MMEngine outlives the test that made it; the stream that pytest gave that test does not."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.stderr  # not setStream, which flushes the closed one


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def shallow(monkeypatch):
    """ResNets have one block a stage; not seen by processes that a test starts."""
    one_block_a_stage(monkeypatch)


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Tree:
    monkeypatch.chdir(tmp_path)
    return Tree(tmp_path / 'data')
