import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from miniatures import ROOT
from mmseg.registry import DATASETS
from PIL import Image
from raw_data import (
    DETECTION_ONLY,
    SBD_ONLY,
    VOC_TRAIN,
    VOC_VAL,
    pack,
    sbd_labels,
    snapshot,
    voc_colours,
    voc_labels,
    voc_size,
    write_sbd,
    write_voc,
)
from scipy.io import savemat

from mmseg_semi.preparing.converters import voc


@pytest.fixture(scope='module')
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('voc')
    write_voc(root)
    write_sbd(root)
    pack(root / 'VOCtrainval_11-May-2012.tar', root / 'VOCdevkit')
    pack(root / 'benchmark.tgz', root / 'benchmark_RELEASE')
    return root


VOC_FOLDERS = ('JPEGImages', 'SegmentationClass', 'ImageSets')


def convert(out: Path, *sources, workers: int = 1) -> None:
    voc.main([*map(str, sources), '--out', str(out), '--partial', f'--workers={workers}'])


def refused(capsys, *args) -> str:
    with pytest.raises(SystemExit) as info:
        voc.main([*map(str, args), '--workers=1'])
    assert info.value.code == 2
    message = capsys.readouterr().err.split('error: ')[1]
    assert message.count('\n') == 1
    return message


@pytest.mark.parametrize(
    'form', ['folders', 'deep folders', 'archives', 'downloads', 'zip', 'in place']
)
def test_masks_and_lists(tmp_path, raw, form):
    out = tmp_path / 'VOC2012'
    if form == 'folders':
        sources = [raw / 'VOCdevkit', raw / 'benchmark_RELEASE']
    elif form == 'deep folders':  # each part by itself
        sources = [raw / 'VOCdevkit/VOC2012' / name for name in VOC_FOLDERS]
        sources.append(raw / 'benchmark_RELEASE/dataset/cls')
    elif form == 'archives':
        sources = [raw / 'VOCtrainval_11-May-2012.tar', raw / 'benchmark.tgz']
    elif form == 'downloads':  # one folder that holds both archives
        sources = [tmp_path / 'downloads']
        sources[0].mkdir()
        for name in ('VOCtrainval_11-May-2012.tar', 'benchmark.tgz'):
            shutil.copy(raw / name, sources[0] / name)
    elif form == 'zip':
        sources = [pack(tmp_path / 'all.zip', raw / 'VOCdevkit', raw / 'benchmark_RELEASE')]
    else:
        out = shutil.copytree(raw / 'VOCdevkit', tmp_path / 'VOCdevkit') / 'VOC2012'
        sources = [tmp_path / 'VOCdevkit', raw / 'benchmark.tgz']
    convert(out, *sources)

    aug = (out / 'ImageSets/Segmentation/train_aug.txt').read_text().split()
    assert aug == sorted({*VOC_TRAIN, *SBD_ONLY})
    for name in (*aug, *VOC_VAL):
        mask = Image.open(out / f'SegmentationClassAug/{name}.png')
        labels = sbd_labels if name in SBD_ONLY else voc_labels
        assert mask.mode == 'L'
        assert np.array_equal(mask, labels(name, voc_size(name)))
    assert len(list((out / 'SegmentationClassAug').iterdir())) == len(aug) + len(VOC_VAL)
    for folder, names in (
        ('JPEGImages', (*aug, *VOC_VAL, *DETECTION_ONLY)),
        ('SegmentationClass', VOC_TRAIN + VOC_VAL),
    ):
        for path in (raw / 'VOCdevkit/VOC2012' / folder).iterdir():
            assert path.stem in names
            assert (out / folder / path.name).read_bytes() == path.read_bytes()
    assert (out / 'ImageSets/Segmentation/val.txt').read_text().split() == list(VOC_VAL)
    assert not list(tmp_path.rglob('.unpacked')) and not list(tmp_path.rglob('*.draft'))

    for ann_file, masks, count in (
        ('train_aug.txt', 'SegmentationClassAug', 8),
        ('val.txt', 'SegmentationClass', 2),
    ):
        dataset = DATASETS.build(
            dict(
                type='PascalVOCDataset',
                data_root=str(out),
                ann_file=f'ImageSets/Segmentation/{ann_file}',
                data_prefix=dict(img_path='JPEGImages', seg_map_path=masks),
                pipeline=[dict(type='LoadSegLabels', num_classes=21)],
            )
        )
        assert len(dataset) == count
        for i in range(count):
            name = Path(dataset[i]['img_path']).stem
            labels = sbd_labels if name in SBD_ONLY else voc_labels
            assert np.array_equal(dataset[i]['gt_seg_map'], labels(name, voc_size(name)))


def test_running_again_does_nothing_and_prints_it(tmp_path, raw, capsys):
    out = tmp_path / 'VOC2012'
    args = [raw / 'VOCtrainval_11-May-2012.tar', raw / 'benchmark.tgz']
    convert(out, *args)
    assert '8 training images (3 of them with masks of VOC), 2 of val (' in capsys.readouterr().out
    before = snapshot(out)
    for sources in (args, []):  # the archives may be gone by now
        convert(out, *sources)
        assert 'prepared already: 8 training images' in capsys.readouterr().out
    assert snapshot(out) == before


def test_interrupted_runs_end_as_one(tmp_path, raw, monkeypatch):
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    sources = [raw / 'VOCdevkit', raw / 'benchmark.tgz']
    convert(whole, *sources)
    real, count = os.replace, 0

    def replace(*args):
        nonlocal count
        count += 1
        if count % 9 == 0:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(os, 'replace', replace)
    for _ in range(20):
        try:
            convert(out, *sources)
            break
        except SystemExit as ended:
            assert ended.code == 130 and not (out / 'prepared.json').exists()
            for mask in out.glob('SegmentationClassAug/*.png'):
                assert mask.read_bytes() == (whole / mask.relative_to(out)).read_bytes()
    contents = [{name: value[0] for name, value in snapshot(f).items()} for f in (whole, out)]
    assert contents[0] == contents[1] and count > 30


def test_the_command_works_in_parallel(tmp_path, raw):
    """As users call it, in processes."""
    out = tmp_path / 'VOC2012'
    command = [sys.executable, 'tools/dataset_converters/voc.py', raw / 'VOCdevkit', raw]
    command += ['--out', out, '--partial', '--workers=2']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '8 training images' in done.stdout and 'making' in done.stderr
    assert len(list((out / 'SegmentationClassAug').glob('*.png'))) == 10


@pytest.mark.parametrize('have', ['nothing', 'VOCdevkit', 'benchmark_RELEASE'])
def test_the_download_of_what_is_missing(tmp_path, raw, monkeypatch, capsys, have):
    from test_downloads import Server

    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)
    archives, files = [], {}
    for archive in voc.ARCHIVES:
        content = (raw / archive.name).read_bytes()
        files[f'/mirror/{archive.name}'] = content
        archives.append(dataclasses.replace(archive, md5=hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(voc, 'ARCHIVES', tuple(archives))
    sources = [] if have == 'nothing' else [str(raw / have)]
    with Server(files, drop_after=2000, drops=1) as server:
        voc.main(
            [*sources, '--download', '--mirror', f'{server.url}/mirror', '--partial', '--workers=1']
            + ['--out', str(tmp_path / 'out'), '--download-dir', str(tmp_path / 'down')]
        )
    assert '8 training images' in capsys.readouterr().out
    names = dict(VOCdevkit=['benchmark.tgz'], benchmark_RELEASE=['VOCtrainval_11-May-2012.tar'])
    expected = names.get(have, ['VOCtrainval_11-May-2012.tar', 'benchmark.tgz'])
    assert sorted(path.name for path in (tmp_path / 'down').iterdir()) == expected
    assert len(server.requests) == len(expected) + 1


def test_published_sizes():
    """1,464 of train, 1,449 of val and 11,355 of SBD with 2,237 in common make 10,582."""
    train, val = range(1464), range(1464, 2913)
    sbd = range(2913 - 2237, 2913 - 2237 + 11355)
    aug = voc.train_aug(train, val, sbd)
    assert len(aug) == voc.COUNTS['train_aug'] == 10582
    assert not set(aug) & set(val) and set(aug) >= set(train)


def test_an_incomplete_copy_is_refused(tmp_path, raw, capsys):
    out = tmp_path / 'out'
    message = refused(capsys, raw / 'VOCdevkit', raw / 'benchmark_RELEASE', '--out', out)
    assert 'train has 3 images, expected 1464' in message and '--partial' in message
    assert not (out / 'SegmentationClassAug').exists()

    message = refused(capsys, raw / 'VOCdevkit', '--out', out, '--partial')
    assert 'the sources hold no cls/NAME.mat' in message
    assert 'benchmark.tgz from https://www2.eecs.berkeley.edu' in message
    assert 'VOCtrainval' not in message
    message = refused(capsys, raw / 'benchmark.tgz', '--out', out, '--partial')
    assert 'JPEGImages/NAME.jpg' in message and 'VOCtrainval_11-May-2012.tar from http' in message

    message = refused(capsys, '--out', out / 'none')
    assert 'no source is named' in message and '--download' in message
    message = refused(capsys, tmp_path / 'nowhere', '--out', out)
    assert 'nowhere does not exist; get VOCtrainval_11-May-2012.tar from http' in message

    copy = shutil.copytree(raw / 'VOCdevkit', tmp_path / 'copy')
    (copy / f'VOC2012/JPEGImages/{SBD_ONLY[1]}.jpg').unlink()
    message = refused(capsys, copy, raw / 'benchmark.tgz', '--out', out, '--partial')
    assert f'1 of 10 images lack their image, e.g. {SBD_ONLY[1]}' in message
    (copy / f'VOC2012/SegmentationClass/{VOC_VAL[1]}.png').unlink()
    (copy / f'VOC2012/JPEGImages/{SBD_ONLY[1]}.jpg').write_bytes(b'')
    message = refused(capsys, copy, raw / 'benchmark.tgz', '--out', out, '--partial')
    assert f'1 of 10 images lack their mask, e.g. {VOC_VAL[1]}' in message


def test_damaged_masks_are_named(tmp_path, raw, capsys):
    out = tmp_path / 'out'
    sbd = shutil.copytree(raw / 'benchmark_RELEASE', tmp_path / 'sbd')
    path = sbd / f'dataset/cls/{SBD_ONLY[0]}.mat'
    path.write_bytes(path.read_bytes()[:150])
    message = refused(capsys, raw / 'VOCdevkit', sbd, '--out', out, '--partial')
    assert f'{SBD_ONLY[0]}.mat holds no GTcls.Segmentation that can be read' in message
    savemat(path, dict(GTcls=dict(Segmentation=np.full((3, 4), 21, np.uint8))))
    message = refused(capsys, raw / 'VOCdevkit', sbd, '--out', out, '--partial')
    assert f'{SBD_ONLY[0]}.mat holds the value 21, expected 0 to 20, or 255' in message


def test_other_years_and_other_folders_are_skipped():
    assert voc.kind_of('VOCdevkit/VOC2007/JPEGImages/000005.jpg') is None
    assert voc.kind_of('VOCdevkit/VOC2010/JPEGImages/2007_000032.jpg') is None
    assert voc.kind_of('VOCdevkit/VOC2012/SegmentationObject/2007_000032.png') is None
    assert voc.kind_of('VOCdevkit/VOC2012/ImageSets/Main/train.txt') is None
    assert voc.kind_of('benchmark_RELEASE/dataset/inst/2008_000002.mat') is None
    assert voc.kind_of('benchmark_RELEASE/dataset/train.txt') is None
    assert voc.kind_of('JPEGImages/2007_000032.jpg') == ('image', '2007_000032')


LABELS = voc_labels('2007_000032', (34, 50))


def as_rgb(labels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(voc_colours(), np.uint8).reshape(256, 3)[labels])


def with_palette(labels: np.ndarray, colours) -> Image.Image:
    image = Image.fromarray(labels, 'P')
    image.putpalette(np.asarray(colours, np.uint8).ravel().tolist())
    return image


def renumbered() -> Image.Image:
    """VOC's colours under other indices, as optimisers of PNG files write them."""
    values = np.unique(LABELS.astype(int))[::-1]
    colours = np.array(voc_colours()).reshape(256, 3)[values]
    return with_palette(np.searchsorted(-values, -LABELS.astype(int)).astype(np.uint8), colours)


@pytest.mark.parametrize(
    'image',
    [
        with_palette(LABELS, voc_colours()),
        Image.fromarray(LABELS),
        as_rgb(LABELS),
        as_rgb(LABELS).convert('RGBA'),
        renumbered(),
        with_palette(LABELS, np.repeat(np.arange(256), 3)),  # grey
        with_palette(LABELS, np.random.default_rng(0).integers(1, 255, (256, 3))),  # of another set
    ],
    ids=['palette', 'index', 'rgb', 'rgba', 'renumbered', 'grey palette', 'foreign palette'],
)
def test_every_form_of_a_mask_gives_the_same_indices(tmp_path, image):
    image.save(tmp_path / 'mask.png')
    voc.write_voc_mask(tmp_path / 'mask.png', tmp_path / 'out.png')
    written = Image.open(tmp_path / 'out.png')
    assert written.mode == 'L' and np.array_equal(written, LABELS)


def test_masks_with_other_values_are_refused(tmp_path):
    Image.new('RGB', (4, 4), (1, 2, 3)).save(tmp_path / 'colour.png')
    with pytest.raises(ValueError, match='holds the colour #010203, which is no class of VOC'):
        voc.class_indices(tmp_path / 'colour.png')
    # a palette mask turned to grey by a viewer: the luma of a colour is no index
    as_rgb(LABELS).convert('L').save(tmp_path / 'grey.png')
    with pytest.raises(ValueError, match='grey.png holds the value [0-9]+, expected 0 to 20'):
        voc.class_indices(tmp_path / 'grey.png')
    (tmp_path / 'broken.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match='broken.png cannot be decoded .no image format'):
        voc.class_indices(tmp_path / 'broken.png')


def test_a_ready_made_segmentation_class_aug_replaces_sbd(tmp_path, raw):
    """The archive that many repositories pass around: index masks of all images."""
    aug = tmp_path / 'SegmentationClassAug'
    aug.mkdir()
    for name in SBD_ONLY:
        Image.fromarray(sbd_labels(name, voc_size(name))).save(aug / f'{name}.png')
    convert(tmp_path / 'out', raw / 'VOCdevkit', pack(tmp_path / 'aug.zip', aug))
    for name in SBD_ONLY:
        written = Image.open(tmp_path / f'out/SegmentationClassAug/{name}.png')
        assert np.array_equal(written, sbd_labels(name, voc_size(name)))


def test_the_palette_is_vocs():
    assert voc.voc_palette().ravel().tolist() == voc_colours()
