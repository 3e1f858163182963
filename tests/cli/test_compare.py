"""tools/analysis/compare.py, without training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from miniatures import load_tool
from mmengine.config import Config
from whole_runs import ROOT

KEY = 'train_dataloader.dataset'


@pytest.fixture
def tool():
    return load_tool('analysis/compare')


@pytest.fixture
def lists(tmp_path) -> Path:
    folder = tmp_path / 'mine'
    folder.mkdir()
    for kind in ('labeled', 'unlabeled'):
        (folder / f'{kind}.txt').write_text(f'{kind[0]}1\n{kind[0]}2\n')
    return folder


def run(tool, monkeypatch, *args) -> int:
    monkeypatch.setattr(sys, 'argv', ['compare', *map(str, args)])
    try:
        return tool.main() or 0
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(
    ('name', 'kinds'),
    [
        ('fixmatch/voc_732.py', ('labeled', 'unlabeled')),
        ('ddfp/cityscapes_372.py', ('labeled', 'unlabeled')),
        ('supervised/camvid_46.py', ('labeled',)),
    ],
)
def test_the_lists_replace_those_of_the_config(tool, lists, name, kinds):
    options = tool.options_of(str(ROOT / 'configs' / name), lists, 3)
    assert 'randomness.seed=3' in options and f'{KEY}.split={lists}' in options
    assert not [option for option in options if 'ann_file' in option or 'protocol' in option]
    # of a config that names lists one by one
    cfg = Config.fromfile(ROOT / 'configs' / name)
    dataset = cfg.train_dataloader.dataset
    del dataset['split']
    dataset.protocol = 'voc classic 732'
    for kind in kinds:
        dataset[kind].ann_file = f'{kind}.txt'
    cfg.dump(lists / 'old.py')
    options = tool.options_of(str(lists / 'old.py'), lists, 3)
    assert f'{KEY}.protocol=None' in options
    listed = [option for option in options if 'ann_file' in option]
    assert listed == [f'{KEY}.{kind}.ann_file={lists / f"{kind}.txt"}' for kind in kinds]


@pytest.mark.parametrize(
    ('config', 'lost', 'words'),
    [
        (
            'fixmatch/voc_732.py',
            'unlabeled.txt',
            'mine holds no unlabeled.txt; python tools/splits',
        ),
        ('own_data/ddfp_small.py', None, 'dataset.labeled reads no list'),
        ('fixmatch/no.py', None, 'does not exist'),
    ],
)
def test_mistakes_are_said_before_anything_runs(
    tool, lists, monkeypatch, capsys, config, lost, words
):
    monkeypatch.setattr(subprocess, 'run', lambda *_, **__: pytest.fail('something ran'))
    if lost:
        (lists / lost).unlink()
    config = ROOT / 'configs' / config
    assert run(tool, monkeypatch, config, '--lists', lists, '--out', lists / 'out') == 2
    err = capsys.readouterr().err
    assert words in err and err.startswith('error: ') and err.count('\n') == 1


def test_what_a_run_stopped_at_is_repeated(tool, lists, monkeypatch, capsys):
    def fail(command, stdout, **kwargs):
        stdout.write('a log\nerror: list a.txt is empty; fill it\n')
        stdout.flush()
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(subprocess, 'run', fail)
    config = ROOT / 'configs/fixmatch/voc_732.py'
    assert run(tool, monkeypatch, config, '--lists', lists, '--out', lists / 'out') == 2
    err = capsys.readouterr().err
    assert 'train.log, which says: list a.txt is empty; fill it' in err


def test_lists_are_named_below_the_table(tool, lists):
    assert tool.origin(lists).startswith(f'`{lists}`: of no named protocol, 2 labelled, SHA-256 ')
    half = dict(count=2, sha256='0' * 64)
    manifest = dict(protocol='mine 2 seed 0', labeled=half, unlabeled=half)
    (lists / 'manifest.json').write_text(json.dumps(manifest))
    assert f'`{lists}`: mine 2 seed 0, 2 labelled' in tool.origin(lists)
