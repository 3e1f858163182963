"""mmseg-semi rank: the table, what is left out, and the numbers by other means."""

import csv
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import init_model
from PIL import Image
from tiny_predictor import tiny_run, write_photos

from mmseg_semi.cli import rank


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp('ranked'))


def call(*arguments) -> int:
    return rank.main([*map(str, arguments), '--device', 'cpu'])


def table(folder) -> list[dict]:
    return list(csv.DictReader((folder / 'ranking.csv').open()))


def test_uncertainty_is_that_of_the_network(run, tmp_path, capsys):
    paths = write_photos(tmp_path / 'pool', [(36, 48), (40, 30), (64, 64)], seed=5)
    assert call(run, tmp_path / 'pool', '--out', tmp_path / 'out', '--diversity', '0') == 0
    model = init_model(str(run / 'mine.py'), str(run / 'iter_2.pth'), device='cpu')
    expected = {}
    for path in paths:
        image = torch.from_numpy(cv2.imread(str(path)).transpose(2, 0, 1))
        inputs = model.data_preprocessor(dict(inputs=[image], data_samples=None), False)['inputs']
        with torch.no_grad():
            shares = model(inputs, mode='tensor').softmax(1).double().numpy()
        entropy = -(shares * np.log(shares)).sum(1) / np.log(3)
        expected[path.name] = entropy.mean()
    rows = table(tmp_path / 'out')
    assert [row['rank'] for row in rows] == ['1', '2', '3']
    for row in rows:
        assert float(row['uncertainty']) == pytest.approx(expected[row['image']], abs=1e-5)
    assert [row['image'] for row in rows] == sorted(expected, key=lambda name: -expected[name])
    assert max(expected.values()) - min(expected.values()) > 1e-3
    assert '3 unlabelled images, 4 labelled ones for comparison' in capsys.readouterr().out


def test_labelled_images_and_their_copies_are_left_out(run, tmp_path, capsys):
    pool = tmp_path / 'pool'
    write_photos(pool, [(36, 48)] * 4, seed=9)
    labelled = sorted((run.parent / 'own/photos').iterdir())
    shutil.copy(labelled[0], pool / 'again.png')
    Image.open(labelled[1]).save(pool / 'again.bmp')  # the same pixels in another format
    (pool / 'broken.jpg').write_bytes(b'nothing')
    options = ('--n', 2, '--copy', tmp_path / 'chosen', '--uncertainty', 'margin')
    assert call(run, pool, '--out', tmp_path / 'out', *options) == 1
    said = capsys.readouterr().out
    assert '2 images have the pixels of a labelled one' in said and 'broken.jpg' in said
    names = [row['image'] for row in table(tmp_path / 'out')]
    assert len(names) == 2 and not any(name.startswith('again') for name in names)
    assert sorted(path.name for path in (tmp_path / 'chosen').iterdir()) == sorted(names)
    sheet = Image.open(tmp_path / 'out/contact_sheet.jpg')
    assert sheet.format == 'JPEG' and sheet.width > 2 * 48
    # near to a labelled image scores lower than far away
    assert all(0 < float(row['distance']) <= 2 for row in table(tmp_path / 'out'))


def test_without_a_project_the_first_is_the_least_certain(tmp_path, capsys):
    run = tiny_run(tmp_path / 'model', own=False)
    shutil.rmtree(tmp_path / 'model/data')  # the training's images stayed elsewhere
    write_photos(tmp_path / 'pool/sub', [(36, 48)] * 3, seed=2)
    assert call(run, tmp_path / 'pool', '--out', tmp_path / 'out') == 0
    assert 'no labelled image was compared with' in capsys.readouterr().out
    rows = table(tmp_path / 'out')
    assert rows[0]['distance'] == '' and rows[0]['image'].startswith('sub/')
    assert float(rows[0]['uncertainty']) == max(float(row['uncertainty']) for row in rows)


def test_wrong_calls(run, tmp_path, capsys):
    write_photos(tmp_path / 'pool', [(36, 48)])
    for options, sentence in (
        (('--n', 0), '--n is 0'),
        (('--diversity', 2), '--diversity is 2'),
        (('--project', 'gone.yaml'), 'gone.yaml does not exist'),
        (('--copy', tmp_path / 'pool'), 'is the folder of the images'),
    ):
        with pytest.raises(SystemExit) as end:
            call(run, tmp_path / 'pool', '--out', tmp_path / 'out', *options)
        assert end.value.code == 2 and sentence in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call(run, run.parent / 'own/photos', '--out', tmp_path / 'out')
    assert '4 equal labelled ones' in capsys.readouterr().err
