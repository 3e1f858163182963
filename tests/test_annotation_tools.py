"""``docs/annotation_tools.md``: its commands as they stand on the page, on small exports of the tools."""

import json
import re
import shlex
import shutil
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from whole_runs import ROOT

from mmseg_semi import cli

PAGE = ROOT / 'docs/annotation_tools.md'
DATA = ROOT / 'tests/preparing/annotations/exports'


def commands() -> list[list[str]]:
    blocks = re.findall(r'^```bash\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith('mmseg-semi init')]


@pytest.fixture
def exports(tmp_path, monkeypatch):
    """A folder with an export of each name on the page."""
    shutil.copytree(DATA / 'datumaro_coco', tmp_path / 'coco_export')
    shutil.copytree(DATA / 'labelme', tmp_path / 'labelme_folder')
    shutil.copytree(DATA / 'datumaro_voc_whole', tmp_path / 'voc_folder')
    shutil.copytree(tmp_path / 'coco_export/images', tmp_path / 'photos')
    content = json.loads((DATA / 'datumaro_coco/annotations/instances_train.json').read_text())
    (tmp_path / 'instances_default.json').write_text(json.dumps(content))
    for folder, names in (('more_photos', 'ab'), ('drawn', ('train/overlap', 'train/painted'))):
        for i, name in enumerate(names):
            path = tmp_path / folder / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((12, 16), np.uint8)
            pixels[:, :6] = [0, 1, 2, 7, i, 0]
            Image.fromarray(pixels).save(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmseg-semi'])
    return tmp_path


def test_every_init_of_the_page(exports):
    found = commands()
    assert len(found) >= 5
    for _, *arguments in found:
        assert cli.main(arguments) == 0
        folder = exports / arguments[arguments.index('--out') + 1]
        content = yaml.safe_load((folder / 'data.yaml').read_text())
        assert len(content['classes']) > 1 and any((folder / 'masks/train').iterdir())
        assert (folder / 'config.py').is_file() and (folder / 'supervised.py').is_file()
