"""``splits.py export``: the images of a config as folders that ``OwnDataset`` reads."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from tiny_semi import tiny_data

from mmseg_semi.cli import init, splits
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.semi_dataset import image_names
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.plain_folders import export_folders


@pytest.fixture
def cfg(tmp_path) -> Config:
    return tiny_data(tmp_path, 'fixmatch')


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_folders_hold_the_images_of_the_config(cfg, tmp_path, capsys):
    out = tmp_path / 'own'
    assert splits.main(['export', cfg.filename, '--out', str(out)]) == 0
    own = OwnData(out / 'data.yaml')
    init_default_scope('mmseg')
    train = DATASETS.build(cfg.train_dataloader.dataset)
    sources = dict(zip(('labeled', 'unlabeled'), train.datasets, strict=True))
    sources['val'] = DATASETS.build(cfg.val_dataloader.dataset)
    said = capsys.readouterr().out
    for part, source in sources.items():
        files = {Path(entry['img_path']).stem: entry for entry in own.files(part)}
        names = image_names(source)
        assert sorted(files) == sorted(names) and f': {len(names)} files' in said
        for i, name in enumerate(names):
            info = source.get_data_info(i)
            keys = ['img_path'] + ['seg_map_path'] * (part != 'unlabeled')
            assert set(files[name]) == set(keys)
            for key in keys:
                assert np.array_equal(pixels(files[name][key]), pixels(info[key]))
    assert own.mask_map.names == train.metainfo['classes']


def test_a_coco_export_is_read_back(cfg, tmp_path, capsys):
    source = cfg.train_dataloader.dataset
    names = Path(source.unlabeled.ann_file).read_text().split()
    for name in names:  # what is gone cannot be opened
        Path(source.labeled.data_root, 'labels/train', name).with_suffix('.png').unlink()
    out = tmp_path / 'export'
    assert splits.main(['export', cfg.filename, '--out', str(out), '--coco']) == 0
    assert f'{len(names)} unlabelled images' in capsys.readouterr().out
    init.main([str(out), '--out', str(tmp_path / 'project'), '--unlabelled-pixels', 'ignore'])
    own = OwnData(tmp_path / 'project/data.yaml')
    assert len(own.files('unlabeled')) == len(names)
    init_default_scope('mmseg')
    sources = {
        'labeled': DATASETS.build(source).datasets[0],
        'val': DATASETS.build(cfg.val_dataloader.dataset),
    }
    for part, expected in sources.items():
        files = {Path(entry['img_path']).stem: entry for entry in own.files(part)}
        assert sorted(files) == sorted(map(lambda n: Path(n).stem, image_names(expected)))
        for i, name in enumerate(image_names(expected)):
            truth = pixels(expected.get_data_info(i)['seg_map_path'])
            found = own.mask_map.read(files[Path(name).stem]['seg_map_path'])
            # classes without a pixel are no categories, so compare by name
            classes = np.array(
                [*map(expected.metainfo['classes'].index, own.mask_map.names), *[255] * 255]
            )
            assert np.array_equal(np.where(found == 255, 255, classes[found]), truth)


def test_no_mask_of_an_unlabelled_image_is_copied(cfg, tmp_path):
    source = cfg.train_dataloader.dataset
    names = Path(source.unlabeled.ann_file).read_text().split()
    for name in names:
        path = Path(source.labeled.data_root, 'labels/train', name).with_suffix('.png')
        path.unlink()  # what is gone cannot be opened
    counts = export_folders(cfg, tmp_path / 'own')
    assert counts['more_photos'] == len(names)
    copied = {path.stem for path in (tmp_path / 'own/annotations').iterdir()}
    assert copied and not copied & {Path(name).stem for name in names}


def test_what_cannot_be_exported(cfg, tmp_path):
    out = tmp_path / 'own'
    out.mkdir()
    (out / 'mine.txt').touch()
    with pytest.raises(SetupError, match='holds files; give the name of a new folder'):
        export_folders(cfg, out)
    cfg.val_dataloader.dataset.reduce_zero_label = True
    with pytest.raises(SetupError, match='changes the values of its masks'):
        export_folders(cfg, tmp_path / 'other')
    cfg.train_dataloader.dataset.type = 'CamVidDataset'
    with pytest.raises(SetupError, match="'CamVidDataset', expected 'SemiDataset'"):
        export_folders(cfg, tmp_path / 'third')
