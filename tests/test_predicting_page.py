"""``docs/predicting.md``: its commands as they stand on the page, with a small trained model in place of a project."""

import re
import shlex
import shutil
import sys

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_predictor import tiny_run, write_photos
from whole_runs import ROOT

from mmseg_semi import cli

PAGE = ROOT / 'docs/predicting.md'


def commands() -> list[list[str]]:
    blocks = re.findall(r'^```bash\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = '\n'.join(blocks).replace('\\\n', ' ').splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith('mmseg-semi')]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folders and the film that the page speaks of."""
    shutil.copytree(tiny_run(tmp_path / 'made'), tmp_path / 'project')
    write_photos(tmp_path / 'photos', [(36, 48)] * 3, seed=1)
    write_photos(tmp_path / 'more_photos', [(36, 48)] * 2, seed=2)
    write_photos(tmp_path / 'project/unlabeled', [(36, 48)] * 24, seed=3)
    film = cv2.VideoWriter(
        str(tmp_path / 'film.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, (48, 36)
    )
    for path in sorted((tmp_path / 'photos').iterdir()):
        film.write(np.asarray(Image.open(path))[..., ::-1].copy())
    film.release()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmseg-semi'])
    return tmp_path


def test_the_page(place):
    ran = []
    for name, *arguments in commands():
        if name == 'predict':  # each command of the page begins with an empty folder
            shutil.rmtree(place / arguments[arguments.index('--out') + 1], ignore_errors=True)
        assert not cli.main([name, *arguments]), (name, arguments)
        ran.append(name)
    assert ran.count('predict') >= 4 and {'init', 'rank'} <= set(ran)
    assert len([*(place / 'predictions/masks').iterdir()]) == 3
    assert set(np.unique(Image.open(place / 'labels/masks/p0.png'))) <= {7, 100, 3}
    assert len([*(place / 'to_annotate').rglob('*.png')]) == 20
    classes = yaml.safe_load((place / 'next/data.yaml').read_text())['classes']
    assert set(classes) == {'soil', 'crop', 'weed'}
