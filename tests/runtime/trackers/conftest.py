"""Trackers that are not installed."""

import sys

import pytest
from stand_in_trackers import PACKAGES, VARIABLES, Calls


@pytest.fixture
def calls(monkeypatch) -> Calls:
    """Of the stand-ins. No tracker is installed before a test puts one in."""
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return Calls()
