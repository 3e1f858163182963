"""Both forms of what depends on whether the host can read a number."""

import pytest

from mmseg_semi import host_reads


@pytest.fixture(params=['host', 'device'])
def path(request, monkeypatch) -> str:
    """Whether the host reads the counts of classes, as on a CPU, or does not, as on a GPU."""
    if request.param == 'device':
        monkeypatch.setattr(host_reads, 'READABLE', ())
    return request.param
