"""One run for all tests of the report."""

import json
from types import SimpleNamespace

import pytest
from report_runs import FOLDER, report_config
from whole_runs import train


@pytest.fixture(scope='package')
def finished(tmp_path_factory) -> SimpleNamespace:
    """``folder`` of the run, its ``page``, its ``data`` and its ``cfg``."""
    root = tmp_path_factory.mktemp('report')
    cfg = report_config(root)
    folder = root / FOLDER
    train(cfg, folder)
    return SimpleNamespace(
        cfg=cfg,
        folder=folder,
        page=(folder / 'report.html').read_text(),
        data=json.loads((folder / 'report_data.json').read_text()),
    )
