"""From a publisher's files to a trained model: converter, lists, checks, pictures and the shipped configs.

The data sets are miniatures in the true layout and formats; the configs are the shipped ones, made small.
"""

import itertools
import json
import runpy
import sys
from pathlib import Path

import pytest
from miniatures import ROOT, load_tool, write_image, write_mask
from mmengine.config import Config
from raw_data import (
    SBD_ONLY,
    VOC_TRAIN,
    pack,
    write_cityscapes,
    write_sbd,
    write_sun_numbered,
    write_voc,
)

from mmseg_semi import cli
from mmseg_semi.cli.analysis import runs
from mmseg_semi.data.splits import split_folder
from mmseg_semi.preparing.converters import camvid as camvid_converter
from mmseg_semi.preparing.converters import cityscapes as cityscapes_converter
from mmseg_semi.preparing.converters import sun_rgbd as sun_rgbd_converter
from mmseg_semi.preparing.converters import voc as voc_converter

_runs = itertools.count()
KINDS = ('labeled', 'unlabeled')
CROP = 32
HEAD = 'model.student.decode_head'
SMALL = {
    # a ResNet-18 of an eighth of the width, from scratch; the fixture shallow halves its depth
    'model.student.backbone.depth': 18,
    'model.student.backbone.base_channels': 8,
    'model.student.backbone.stem_channels': 8,
    'model.student.backbone.init_cfg': None,
    f'{HEAD}.in_channels': '(8,64)',
    f'{HEAD}.channels': 16,
    f'{HEAD}.low_channels': 4,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'train_dataloader.dataset.labeled.pipeline.2.crop_size': f'({CROP},{CROP})',
    'model.iters_per_epoch': 1,
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 4,
    'default_hooks.logger.interval': 1,
    'log_level': 'ERROR',
}
SEMI = {
    'train_dataloader.dataset.unlabeled.pipeline.2.crop_size': f'({CROP},{CROP})',
    'train_dataloader.batch_size': 4,
    'train_dataloader.sampler.batch_size': 4,
    'train_dataloader.sampler.source_ratio': '[2,2]',
    # an untrained network has no confident pixels
    'model.pseudo_label.threshold': 0.04,
}
SUPERVISED = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.sampler.batch_size': 2,
}
DDFP = {'model.objectives.2.samples': 64, 'default_hooks.flow.epochs': 4}
WINDOWS = {
    'model.student.test_cfg.crop_size': '(48,48)',
    'model.student.test_cfg.stride': '(32,32)',
}


def own_lists(config: str) -> dict:
    """Lets a config read the lists that stand where its split does: they are not the published ones."""
    split = Config.fromfile(ROOT / 'configs' / config).train_dataloader.dataset.split
    return {'train_dataloader.dataset.split': split_folder(split).as_posix()}


def call(tool: str, *args) -> None:
    """A tool in this process, as from the command line."""
    argv = [f'{ROOT}/tools/{tool}.py', *map(str, args)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', argv)
        try:
            runpy.run_path(argv[0], run_name='__main__')
        except SystemExit as end:
            assert not end.code


def changes(options: dict) -> list[str]:
    run = f'prepared{next(_runs)}'  # runs of one name share their log
    options = options | {'experiment_name': run, 'visualizer.name': run}
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


def look(config: str, options: dict) -> None:
    """Check the data of a config, which finds no error, and draw its first batch."""
    config = ROOT / 'configs' / config
    call('check_dataset', config, '--out', 'check', '--jobs', 1, *changes(options))
    call('browse_dataset', config, '--out', 'browse', '--count', 1, *changes(options))
    assert list(Path('browse').iterdir())


def train(config: str, options: dict) -> None:
    """Train, and see that the run came to its end."""
    config = ROOT / 'configs' / config
    work_dir = Path('work_dirs', *config.parts[-3:])
    call('train', config, '--work-dir', work_dir, *changes(options))
    results = json.loads((work_dir / 'results.json').read_text())
    assert f'{"teacher" if "supervised" not in str(config) else "student"}/mIoU' in str(results)
    assert (work_dir / 'iter_4.pth').is_file()
    lines = [json.loads(line) for line in next(work_dir.rglob('scalars.json')).open()]
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses) == 4 and all(0 < loss < 100 for loss in losses)


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> Path:
    """A folder in which VOC was prepared from its archives, with lists for two shipped splits."""
    root = tmp_path_factory.mktemp('voc')
    write_voc(root / 'raw')
    write_sbd(root / 'raw')
    archives = [
        pack(root / 'VOCtrainval_11-May-2012.tar', root / 'raw/VOCdevkit'),
        pack(root / 'benchmark.tgz', root / 'raw/benchmark_RELEASE'),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        voc_converter.main([*map(str, archives), '--partial', '--workers=1'])
        # JPEGImages holds val and more, so the list of the training images is needed
        call(
            *('splits', 'make', '--images', 'data/VOCdevkit/VOC2012/JPEGImages'),
            *('--list', 'data/VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt'),
            *('--n', 3, '--out', 'data/splits/u2pl/voc/732'),
        )
        call(
            *('splits', 'check', 'data/splits/u2pl/voc/732'),
            *('--images', 'data/VOCdevkit/VOC2012/JPEGImages'),
            *('--all', 'data/VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt'),
            *('--val', 'data/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt'),
        )
        others = [f'u2pl/voc/{number}' for number in (92, 1464, 662, 5291)]
        link_lists('u2pl/voc/732', *others, 'cps/voc/732')
    lists = root / 'data/splits/u2pl/voc/732'
    labeled, unlabeled = ((lists / f'{kind}.txt').read_text().split() for kind in KINDS)
    assert len(labeled) == 3 and sorted(labeled + unlabeled) == sorted({*VOC_TRAIN, *SBD_ONLY})
    return root


@pytest.fixture(scope='module')
def cityscapes(tmp_path_factory) -> Path:
    """The same of Cityscapes, prepared from a folder with polygons alone."""
    root = tmp_path_factory.mktemp('cityscapes')
    write_cityscapes(root / 'raw', cityscapes_converter.LABELS)
    for path in (root / 'raw').rglob('*_labelIds.png'):
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        cityscapes_converter.main(['raw', '--partial', '--workers=1'])
        call(
            *('splits', 'make', '--images', 'data/cityscapes/leftImg8bit/train'),
            *('--img-suffix', '_leftImg8bit.png', '--n', 3),
            *('--out', 'data/splits/cps/cityscapes/372'),
        )
        call(
            *('splits', 'check', 'data/splits/cps/cityscapes/372'),
            *('--images', 'data/cityscapes/leftImg8bit/train'),
            *('--val', 'data/cityscapes/leftImg8bit/val', '--img-suffix', '_leftImg8bit.png'),
        )
        link_lists('cps/cityscapes/372', 'u2pl/cityscapes/1488')
    return root


def link_lists(made: str, *others: str) -> None:
    """Let other splits have the lists that were made."""
    for other in others:
        path = Path('data/splits') / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(Path('data/splits', made).resolve())


VOC_CONFIGS = {
    'ddfp/voc_732.py': SEMI | DDFP,
    'ddfp/voc_1464_r50.py': SEMI | DDFP,
    'ddfp/voc_blender_662.py': SEMI | DDFP,
    'ddfp/voc_cps_732_r50.py': SEMI | DDFP,
    'ddfp/reference/voc_732.py': SEMI | DDFP,
    'fixmatch/voc_92.py': SEMI,
    'mean_teacher/voc_732.py': SEMI,
    'supervised/voc_732.py': SUPERVISED,
    'supervised/voc_blender_5291_r50.py': SUPERVISED,
}
CITYSCAPES_CONFIGS = {
    'ddfp/cityscapes_372.py': SEMI | DDFP | WINDOWS,
    'ddfp/cityscapes_u2pl_1488_r50.py': SEMI | DDFP | WINDOWS,
    'mean_teacher/cityscapes_372.py': SEMI | WINDOWS,
    'supervised/cityscapes_372_r50.py': SUPERVISED | WINDOWS,
}


def test_looking_at_prepared_data(voc, cityscapes, sun_rgbd, monkeypatch):
    for root, config, options in (
        (voc, 'ddfp/voc_732.py', SEMI),
        (cityscapes, 'ddfp/cityscapes_372.py', SEMI | WINDOWS),
        (sun_rgbd, 'ddfp/sunrgbd_1500_r50.py', SEMI),
    ):
        monkeypatch.chdir(root)
        look(config, SMALL | own_lists(config) | options)


@pytest.mark.usefixtures('shallow')
@pytest.mark.parametrize('config', VOC_CONFIGS)
def test_shipped_voc_configs(voc, monkeypatch, config):
    monkeypatch.chdir(voc)
    train(config, SMALL | own_lists(config) | VOC_CONFIGS[config])


@pytest.mark.usefixtures('shallow')
@pytest.mark.parametrize('config', CITYSCAPES_CONFIGS)
def test_shipped_cityscapes_configs(cityscapes, monkeypatch, config):
    monkeypatch.chdir(cityscapes)
    train(config, SMALL | own_lists(config) | CITYSCAPES_CONFIGS[config])


@pytest.mark.parametrize('layout', ['segnet', 'arranged'])
def test_camvid_from_both_layouts(tmp_path, monkeypatch, layout):
    monkeypatch.chdir(tmp_path)
    for split, numbers in (('train', range(6)), ('val', range(6, 8))):
        for i in numbers:
            name, size = f'0001TP_00{i}', (48, 36)
            if layout == 'segnet':
                write_image(tmp_path / f'CamVid/{split}/{name}.png', i, size)
                write_mask(tmp_path / f'CamVid/{split}annot/{name}.png', i, size, 11, void=11)
            else:
                write_image(tmp_path / f'CamVid/images/{split}/{name}.jpg', i, size)
                write_mask(tmp_path / f'CamVid/labels/{split}/{name}.png', i, size, 11)
    camvid_converter.main(['CamVid', '--workers=1'])
    lists = 'configs/splits/camvid/46/seed0'
    call('splits', 'make', '--images', 'data/camvid/images/train', '--n', 2, '--out', lists)
    call('splits', 'check', ROOT / 'configs/ddfp/camvid_46.py')
    look('ddfp/camvid_46.py', SMALL | SEMI | DDFP)
    train('ddfp/camvid_46.py', SMALL | SEMI | DDFP)


@pytest.fixture(scope='module')
def sun_rgbd(tmp_path_factory) -> Path:
    """The same of SUN RGB-D, with the split that docs/data.md makes."""
    root = tmp_path_factory.mktemp('sun_rgbd')
    write_sun_numbered(root / 'raw')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        sun_rgbd_converter.main(['raw', '--partial', '--workers=1'])
        lists = 'data/splits/sunrgbd/1500'
        call('splits', 'make', '--images', 'data/sunrgbd/images/train', '--n', 2, '--out', lists)
        call('splits', 'check', lists, '--images', 'data/sunrgbd/images/train')
    return root


SUN_CONFIGS = {
    'ddfp/sunrgbd_1500_r50.py': SEMI | DDFP,
    'fixmatch/sunrgbd_1500_r50.py': SEMI,
    'supervised/sunrgbd_1500_r50.py': SUPERVISED,
}


@pytest.mark.parametrize('config', SUN_CONFIGS)
def test_shipped_sun_rgbd_configs(sun_rgbd, monkeypatch, config):
    monkeypatch.chdir(sun_rgbd)
    train(config, SMALL | SUN_CONFIGS[config])
    call('splits', 'check', ROOT / 'configs' / config)


def test_compare_takes_any_lists(voc, monkeypatch, capsys):
    """Also in a config that names a published protocol."""
    monkeypatch.chdir(voc)
    compare = load_tool('analysis/compare')
    commands = []

    def train_here(command, log):
        commands.append(command)
        return cli.main(command) or 0

    monkeypatch.setattr(runs, 'start', train_here)
    config = str(ROOT / 'configs/supervised/voc_732.py')
    lists = 'data/splits/u2pl/voc/732'
    args = [config, '--lists', lists, '--jobs', '1', '--out', 'compared']
    monkeypatch.setattr(sys, 'argv', ['compare', *args, *changes(SMALL | SUPERVISED)])
    compare.main()
    (command,) = commands
    assert f'train_dataloader.dataset.split={lists}' in command
    text = Path('compared/table.md').read_text()
    digest = json.loads(Path(lists, 'manifest.json').read_text())['labeled']['sha256']
    assert '| supervised/voc_732 | student |' in text
    assert text.endswith(f'\n- `{lists}`: own 3 seed 0, 3 labelled, SHA-256 {digest[:12]}\n')


def test_lists_of_some_of_a_folders_images(tmp_path, capsys):
    for i in range(4):
        write_image(tmp_path / f'images/{i}.png', i)
    (tmp_path / 'some.txt').write_text('3\n1\n2\n')
    make = load_tool('splits').main
    args = ['make', f'--images={tmp_path}/images', f'--list={tmp_path}/some.txt', '--n=1']
    make([*args, f'--out={tmp_path}/lists'])
    names = [(tmp_path / f'lists/{kind}.txt').read_text().split() for kind in KINDS]
    assert len(names[0]) == 1 and sorted(names[0] + names[1]) == ['1', '2', '3']
    (tmp_path / 'some.txt').write_text('3\n7\n')
    with pytest.raises(SystemExit):
        make([*args, f'--out={tmp_path}/lists'])
    assert 'some.txt names 7, which is not in --images' in capsys.readouterr().err
