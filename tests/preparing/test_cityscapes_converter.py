import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniatures import write_mask
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS
from PIL import Image
from raw_data import FRAMES, pack, snapshot, write_cityscapes

from mmseg_semi.preparing.converters import cityscapes

CLASSES = CityscapesDataset.METAINFO['classes']


@pytest.fixture(scope='module')
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('cityscapes')
    write_cityscapes(root / 'raw', cityscapes.LABELS)
    pack(root / 'leftImg8bit_trainvaltest.zip', root / 'raw/leftImg8bit')
    pack(root / 'gtFine_trainvaltest.zip', root / 'raw/gtFine')
    return root


def convert(out: Path, *sources, workers: int = 1) -> None:
    cityscapes.main([*map(str, sources), '--out', str(out), '--partial', f'--workers={workers}'])


def refused(capsys, *args) -> str:
    with pytest.raises(SystemExit) as info:
        cityscapes.main([*map(str, args), '--workers=1'])
    assert info.value.code == 2
    message = capsys.readouterr().err.split('error: ')[1]
    assert message.count('\n') == 1
    return message


def truth(ids: np.ndarray) -> np.ndarray:
    """Classes by the names of the ids, pixel by pixel."""
    by_id = [CLASSES.index(name) if name in CLASSES else 255 for name in cityscapes.LABELS]
    return np.array([[by_id[i] for i in row] for row in ids], np.uint8)


def read_ids(root: Path, split: str, name: str) -> np.ndarray:
    return np.array(Image.open(root / f'gtFine/{split}/{name}_gtFine_labelIds.png'))


def read_mask(root: Path, split: str, name: str) -> np.ndarray:
    return np.array(Image.open(root / f'gtFine/{split}/{name}_gtFine_labelTrainIds.png'))


def test_ids_are_those_of_the_publisher():
    known = {
        0: 'unlabeled',
        7: 'road',
        18: 'polegroup',
        19: 'traffic light',
        26: 'car',
        33: 'bicycle',
    }
    assert {i: cityscapes.LABELS[i] for i in known} == known and len(cityscapes.LABELS) == 34
    assert [cityscapes.LABELS[i] for i in cityscapes.TRAIN_IDS] == list(CLASSES)


@pytest.mark.parametrize(
    'form', ['folder', 'two folders', 'archives', 'in place', 'polygons', 'two workers']
)
def test_masks(tmp_path, raw, form):
    out, source = tmp_path / 'cityscapes', raw / 'raw'
    sources = [source]
    if form == 'archives':
        sources = [raw / 'leftImg8bit_trainvaltest.zip', raw / 'gtFine_trainvaltest.zip']
    elif form == 'two folders':
        sources = [source / 'gtFine', source / 'leftImg8bit']
    elif form == 'in place':
        shutil.copytree(source, out)
        sources = []
    elif form == 'polygons':
        sources = [shutil.copytree(source, tmp_path / 'source')]
        for path in sources[0].rglob('*_labelIds.png'):
            path.unlink()
    convert(out, *sources, workers=2 if form == 'two workers' else 1)
    for split, names in FRAMES.items():
        assert len(list((out / f'gtFine/{split}').rglob('*_labelTrainIds.png'))) == len(names)
        for name in names:
            mask = read_mask(out, split, name)
            assert np.array_equal(mask, truth(read_ids(source, split, name)))
            assert set(np.unique(mask)) == {*range(19), 255}
            path = f'leftImg8bit/{split}/{name}_leftImg8bit.png'
            assert (out / path).read_bytes() == (source / path).read_bytes()
    assert not list((out / 'gtFine').rglob('berlin*TrainIds*'))  # the test masks are dummies
    dataset = DATASETS.build(
        dict(
            type='CityscapesDataset',
            data_root=str(out),
            data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
            pipeline=[dict(type='LoadSegLabels', num_classes=19)],
        )
    )
    assert len(dataset) == 6 and dataset[5]['gt_seg_map'].shape == (48, 96)


def test_running_again_does_nothing_and_prints_it(tmp_path, raw, capsys):
    out = tmp_path / 'cityscapes'
    convert(out, raw)  # a folder with both archives, and both folders
    assert '6 of train, 3 of val (' in capsys.readouterr().out
    before = snapshot(out)
    convert(out)
    assert 'prepared already: 6 of train, 3 of val' in capsys.readouterr().out
    assert snapshot(out) == before
    lost = out / f'gtFine/val/{FRAMES["val"][1]}_gtFine_labelTrainIds.png'
    lost.unlink()
    convert(out, raw)
    said = capsys.readouterr().out
    assert '1 files are missing or changed' in said and '6 of train' in said
    assert {k: v[0] for k, v in snapshot(out).items() if k != 'prepared.json'} == {
        k: v[0] for k, v in before.items() if k != 'prepared.json'
    }


def test_existing_masks_are_kept(tmp_path, raw):
    source = shutil.copytree(raw / 'raw', tmp_path / 'source')
    name = FRAMES['train'][0]
    own = write_mask(source / f'gtFine/train/{name}_gtFine_labelTrainIds.png', 3, (96, 48), 19)
    convert(tmp_path / 'out', source)
    assert np.array_equal(read_mask(tmp_path / 'out', 'train', name), Image.open(own))


def test_polygons_lie_over_each_other():
    square = [[2, 2], [7, 2], [7, 7], [2, 7]]
    inner = [[4, 4], [5, 4], [5, 5], [4, 5]]
    whole = [[-3, -3], [20, -3], [20, 20], [-3, 20]]  # corners may lie outside of the image

    def draw(*objects):
        items = [dict(label=label, polygon=polygon, **more) for label, polygon, more in objects]
        annotation = dict(imgHeight=10, imgWidth=12, objects=items)
        return cityscapes.draw_polygons(annotation, 'x_polygons.json')

    expected = np.full((10, 12), 255)
    assert np.array_equal(draw(), expected)
    expected[:] = 0
    expected[2:8, 2:8] = 13
    assert np.array_equal(draw(('road', whole, {}), ('car', square, {})), expected)
    assert np.array_equal(draw(('road', whole, {}), ('cargroup', square, {})), expected)
    plate = ('license plate', inner, {})
    assert np.array_equal(draw(('road', whole, {}), ('car', square, {}), plate), expected)
    deleted = ('tree', inner, dict(deleted=1))
    assert np.array_equal(draw(('road', whole, {}), ('car', square, {}), deleted), expected)
    expected[4:6, 4:6] = 255
    void = ('out of roi', inner, {})
    assert np.array_equal(draw(('road', whole, {}), ('car', square, {}), void), expected)
    with pytest.raises(ValueError, match="x_polygons.json has the label 'tree'"):
        draw(('tree', inner, {}))


def test_what_is_missing_and_where_to_get_it(tmp_path, raw, capsys):
    out = tmp_path / 'out'
    message = refused(capsys, '--out', out)
    for name in ('leftImg8bit_trainvaltest.zip', 'gtFine_trainvaltest.zip', '(needs a login)'):
        assert name in message
    assert '--download' not in message
    message = refused(capsys, raw / 'leftImg8bit_trainvaltest.zip', '--out', out)
    assert 'the sources hold no gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png' in message
    assert 'gtFine_trainvaltest.zip from https://www.cityscapes-dataset.com' in message
    assert 'leftImg8bit_trainvaltest' not in message
    message = refused(capsys, raw / 'raw', '--out', out)
    assert 'hold 6 images of train and 3 of val, expected 2975 and 500' in message

    source = shutil.copytree(raw / 'raw', tmp_path / 'source')
    stem = source / f'gtFine/train/{FRAMES["train"][2]}_gtFine'
    Path(f'{stem}_labelIds.png').unlink()
    broken = Path(f'{stem}_polygons.json')
    broken.write_text(broken.read_text()[:50])
    message = refused(capsys, source, '--out', out, '--partial')
    assert f'{broken.name} is no complete JSON file' in message
    broken.write_text(json.dumps(dict(imgHeight=3)))
    message = refused(capsys, source, '--out', out, '--partial')
    assert f"{broken.name} is no annotation of Cityscapes (KeyError('imgWidth'))" in message
    broken.unlink()
    message = refused(capsys, source, '--out', out, '--partial')
    assert f'1 of 9 names lack their mask, e.g. train/{FRAMES["train"][2]}' in message
