import pytest
from miniatures import Tree
from mmengine.registry import init_default_scope

import mmseg_semi.datasets  # noqa: F401  (registers)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Tree:
    monkeypatch.chdir(tmp_path)
    return Tree(tmp_path / 'data')
