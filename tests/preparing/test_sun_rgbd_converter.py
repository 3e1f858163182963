import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from miniatures import ROOT
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import Image
from raw_data import (
    SCENES,
    SCENES_TRAIN,
    blocks,
    pack,
    snapshot,
    write_sun_numbered,
    write_sun_official,
)

from mmseg_semi.preparing.converters import sun_rgbd

NUMBERED = (
    'SUNRGBD-train_images.tgz',
    'SUNRGBD-test_images.tgz',
    'sunrgbd_train_test_labels.tar.gz',
)


@pytest.fixture(scope='module')
def numbered(tmp_path_factory) -> Path:
    root = write_sun_numbered(tmp_path_factory.mktemp('sun') / 'raw')
    for name in NUMBERED:
        pack(root.parent / name, root / name.split('.')[0])
    return root


@pytest.fixture(scope='module')
def official(tmp_path_factory) -> Path:
    root = write_sun_official(tmp_path_factory.mktemp('sun') / 'raw')
    for name in ('SUNRGBD', 'SUNRGBDtoolbox'):
        pack(root.parent / f'{name}.zip', root / name)
    return root


def convert(out: Path, *sources) -> None:
    sun_rgbd.main([*map(str, sources), '--out', str(out), '--partial', '--workers=1'])


def refused(capsys, *args) -> str:
    with pytest.raises(SystemExit) as info:
        sun_rgbd.main([*map(str, args), '--workers=1'])
    assert info.value.code == 2
    message = capsys.readouterr().err.split('error: ')[1]
    assert message.count('\n') == 1
    return message


def expected_mask(seed: int, size: tuple[int, int]) -> np.ndarray:
    """0 is no class, 1 to 37 are the classes."""
    labels = blocks(seed, size, np.arange(38)).astype(int)
    return np.where(labels == 0, 255, labels - 1)


@pytest.mark.parametrize('form', ['folder', 'archives'])
def test_numbered_images_and_masks(tmp_path, numbered, form, capsys):
    out = tmp_path / 'sunrgbd'
    sources = [numbered]
    if form == 'archives':
        sources = [numbered.parent / name for name in NUMBERED]
    convert(out, *sources)
    assert '6 train, 3 val (' in capsys.readouterr().out
    for split, numbers in dict(val=range(1, 4), train=range(5051, 5057)).items():
        for number in numbers:
            name = f'img-{number:06d}'
            size = (73, 53) if number % 2 else (56, 43)
            mask = Image.open(out / f'labels/{split}/{name}.png')
            assert mask.mode == 'L' and np.array_equal(mask, expected_mask(number, size))
            folder = 'SUNRGBD-test_images' if split == 'val' else 'SUNRGBD-train_images'
            raw = numbered / folder / f'{name}.jpg'
            assert (out / f'images/{split}/{name}.jpg').read_bytes() == raw.read_bytes()
    before = snapshot(out)
    convert(out, *sources)
    assert 'prepared already' in capsys.readouterr().out
    assert snapshot(out) == before


@pytest.mark.parametrize('form', ['folder', 'archives'])
def test_official_images_and_tables(tmp_path, official, form, capsys):
    out = tmp_path / 'sunrgbd'
    sources = [official]
    if form == 'archives':
        sources = [official.parent / 'SUNRGBD.zip', official.parent / 'SUNRGBDtoolbox.zip']
    convert(out, *sources)
    assert '3 train, 2 val (' in capsys.readouterr().out
    for i, scene in enumerate(SCENES):
        split = 'train' if scene in SCENES_TRAIN else 'val'
        name = scene.replace('/', '_')
        mask = np.array(Image.open(out / f'labels/{split}/{name}.png'))
        assert np.array_equal(mask, expected_mask(i, (60, 44)))
        raw = official / f'SUNRGBD/{scene}/image/{i:07d}.jpg'
        assert (out / f'images/{split}/{name}.jpg').read_bytes() == raw.read_bytes()
    dataset = DATASETS.build(
        dict(
            type='SUNRGBDDataset',
            data_root=str(out),
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
            pipeline=[dict(type='LoadSegLabels', num_classes=37)],
        )
    )
    assert len(dataset) == 3 and dataset[0]['gt_seg_map'].shape == (44, 60)


def test_classes_and_colours():
    classes = DATASETS.get('SUNRGBDDataset').METAINFO
    assert len(classes['classes']) == len(set(classes['classes'])) == 37
    assert len({tuple(colour) for colour in classes['palette']}) == 37
    assert classes['classes'][0] == 'wall' and classes['classes'][36] == 'bag'


def test_what_is_missing_and_where_to_get_it(tmp_path, numbered, official, capsys, monkeypatch):
    out = tmp_path / 'out'
    message = refused(capsys, '--out', out)
    assert 'sunrgbd-meta-data' in message and 'https://rgbd.cs.princeton.edu' in message
    message = refused(capsys, numbered.parent / NUMBERED[2], '--out', out)
    assert 'hold no images img-NUMBER.jpg' in message and 'SUNRGBD-train_images.tgz' in message
    message = refused(capsys, numbered, '--out', out)
    assert 'hold 6 images of train and 3 of test, expected 5285 and 5050' in message
    message = refused(capsys, official / 'SUNRGBD', '--out', out)
    assert 'hold no Metadata/SUNRGBDMeta.mat' in message and 'SUNRGBDtoolbox.zip' in message
    message = refused(capsys, official / 'SUNRGBDtoolbox', '--out', out)
    assert f'5 of 5 frames lack their image, e.g. {SCENES[0]}' in message
    assert 'SUNRGBD.zip from https://rgbd' in message

    source = shutil.copytree(numbered, tmp_path / 'source')
    (source / 'SUNRGBD-test_images/img-000002.jpg').unlink()
    message = refused(capsys, source, '--out', out)
    assert '1 of 9 frames lack their image or their mask, e.g. img-000002' in message
    source = shutil.copytree(numbered, tmp_path / 'other')
    path = source / 'sunrgbd_train_test_labels/img-005052.png'
    Image.fromarray(np.full((43, 56), 38, np.uint8)).save(path)
    message = refused(capsys, source, '--out', out, '--partial')
    assert 'img-005052.png holds the label 38, expected 0 to 37' in message

    source = shutil.copytree(official, tmp_path / 'official')
    table = source / 'SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat'
    content = table.read_bytes()
    table.write_bytes(content[: len(content) // 2])
    message = refused(capsys, source, '--out', out, '--partial')
    assert 'SUNRGBD2Dseg.mat: mask ' in message and 'cannot be read' in message
    (source / 'SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat').unlink()
    message = refused(capsys, source, '--out', out, '--partial')
    assert 'hold no traintestSUNRGBD/allsplit.mat' in message
    monkeypatch.setitem(sys.modules, 'h5py', None)
    message = refused(capsys, official, '--out', out, '--partial')
    assert 'pip install h5py' in message


def test_the_config_loads_what_the_converter_wrote(tmp_path, numbered, monkeypatch):
    convert(tmp_path / 'data/sunrgbd', numbered)
    monkeypatch.chdir(tmp_path)
    names = [f'img-{number:06d}' for number in range(5051, 5057)]
    lists = tmp_path / 'data/splits/sunrgbd/1500'
    lists.mkdir(parents=True)
    (lists / 'labeled.txt').write_text('\n'.join(names[:2]))
    (lists / 'unlabeled.txt').write_text('\n'.join(names[2:]))
    cfg = Config.fromfile(ROOT / 'configs/fixmatch/sunrgbd_1500_r50.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    assert batch['inputs']['labeled'][0].shape == (3, 480, 480)
    assert batch['inputs']['strong'][-1].shape == (3, 480, 480)
    data = next(iter(Runner.build_dataloader(cfg.val_dataloader)))['data_samples'][0]
    assert data.ori_shape == (53, 73) and data.gt_sem_seg.data.max() == 255
