"""docs/model_zoo.md says what the configs say."""

import pytest
from miniatures import ROOT
from shipped import PATHS, shipped

from mmseg_semi.cli import model_zoo


@pytest.fixture(scope='module')
def text() -> str:
    return model_zoo.model_zoo(ROOT, load=shipped)


def test_the_page_is_what_the_command_writes(text):
    assert (ROOT / 'docs/model_zoo.md').read_text() == text, 'run: python tools/model_zoo.py'


def test_every_config_that_trains_a_segmentor_is_linked_once(text):
    assert sorted(PATHS) == sorted(model_zoo.config_paths(ROOT))
    for path in PATHS:
        trains = shipped(path).model.type != 'MultiLabelClassifier'
        assert text.count(f'](../{path.relative_to(ROOT).as_posix()})') == trains, path


def test_published_numbers_stand_with_their_configs(text):
    values, sources = model_zoo.read_published()
    assert sources == list(dict.fromkeys(sources))
    for path, value in values.items():
        assert (ROOT / path).is_file(), path
        (line,) = [line for line in text.splitlines() if f'](../{path})' in line]
        links = line.count('](../')
        (place,) = [i for i in range(links) if line.split('](../')[i + 1].startswith(f'{path})')]
        cell = line.rstrip(' |').rpartition('| ')[2]
        number, _, mark = cell.split(' · ')[place].partition(' [')
        # a source that all numbers of a row share stands once, behind them
        assert f'{number} [{mark or cell.rpartition(" [")[2]}' == value


def test_a_row_of_a_config():
    path = 'configs/dgcl/reference/cityscapes_372.py'
    row = model_zoo.describe(path, shipped(ROOT / path))
    assert (row.lists, row.label, row.variant) == (
        'cityscapes cps',
        '372',
        "what the authors' code computes",
    )
    assert (row.network, row.crop) == ('DeepLabV3+, ResNet-101, 128-channel stem', '769 × 769')
    assert (row.iterations, row.batch) == ('32,600', '8 × (2 + 2)')
    path = 'projects/weak_labels/configs/weak_classifier/quickstart.py'
    assert model_zoo.describe(path, shipped(ROOT / path)) is None


def test_the_command_writes_the_page(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(model_zoo, 'model_zoo', lambda: text)
    model_zoo.main(['--out', str(tmp_path / 'zoo.md')])
    assert (tmp_path / 'zoo.md').read_text() == text
    assert 'zoo.md' in capsys.readouterr().out
