"""``docs/custom_data.md``: its commands as they stand on the page, on generated folders."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from whole_runs import ROOT, call_tool

from mmseg_semi import launch

PAGE = ROOT / 'docs/custom_data.md'
COLORS = np.array([[0, 0, 0], [0, 255, 0], [128, 128, 128], [0, 128, 0], [255, 255, 255]], np.uint8)


def draw(path: Path, seed: int, mask: Path | None = None, deep: bool = False) -> None:
    """A scene of 64 x 48 pixels, its colours as in the page's YAML file."""
    blocks = np.random.default_rng(seed).integers(0, 5, (3, 4)).astype(np.uint8)
    labels = np.array(Image.fromarray(blocks).resize((64, 48), Image.Resampling.NEAREST))
    noise = np.random.default_rng(seed).integers(0, 30, (48, 64))
    image = (labels * 50 + noise).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(np.uint16) * 256 if deep else image).save(path)
    if mask is not None:
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(COLORS[labels]).save(mask)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The repository's configs and the folders that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs', ignore=shutil.ignore_patterns('splits'))
    own = tmp_path / 'data/own'
    for i in range(8):
        draw(own / f'photos/{i}.jpg', i, own / f'annotations/{i}.png')
    for i in range(4):
        draw(own / f'more_photos/u{i}.png', 20 + i)
        draw(own / f'archive/2023/v{i}.tif', 30 + i, deep=True)
    return tmp_path


def test_the_page_as_written(project, capsys):
    blocks = re.findall(r'^```(\w+)\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ['yaml', 'bash', 'python', 'bash', 'bash', 'python']
    said = []
    for kind, text in blocks:
        file = re.match(r'# (\S+\.\w+)\n', text)
        if file:
            Path(file[1]).write_text(text)
        elif kind == 'python':
            exec(compile(text, PAGE.name, 'exec'), {})
        else:
            for line in text.splitlines():
                program, tool, *arguments = shlex.split(line)
                assert program == 'python'
                try:
                    call_tool(Path(tool).stem, *arguments)
                except SystemExit as exit_info:
                    assert not exit_info.code, line
                finally:
                    launch.end_workers()
                said.append(capsys.readouterr().out)
    described, checked = said[:2]
    assert 'labelled          6 images' in described and 'unlabelled        8 images' in described
    assert 'validation        2 images' in described
    assert [line.split()[0] for line in described.splitlines()[-4:]] == [
        'ground',
        'plant',
        'stone',
        'ignored:',
    ]
    assert 'problem' not in checked
    results = json.loads(Path('work_dirs/mine/results.json').read_text())
    assert 0 < results['summary']['teacher/mIoU']['last'] <= 100
    assert results['summary']['teacher/mIoU']['last_iter'] == 20
    with Image.open('work_dirs/mine/painted.png') as painted:
        assert painted.size == (64, 48)
