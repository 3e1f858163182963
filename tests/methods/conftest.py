"""Both forms of what depends on whether the host can read a number."""

import pytest

from mmseg_semi.methods.dgcl import knn


@pytest.fixture(params=['host', 'device'])
def path(request, monkeypatch) -> str:
    """Whether the host reads the counts of classes, as on a CPU, or does not, as on a GPU."""
    if request.param == 'device':
        monkeypatch.setattr(knn, 'can_read', lambda tensor: False)
    return request.param
