"""The inspection of a data set finds each planted defect, and nothing in a correct one."""

import io
import json
import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from miniatures import CLASSES, Tree, write_mask
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmseg_semi.data.semi_dataset import SemiDataset
from mmseg_semi.data.splits import summarize
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import split_reports
from mmseg_semi.preparing.inspection import KINDS, folder_source, inspect, sources_of
from mmseg_semi.preparing.inspection_page import write_page
from mmseg_semi.preparing.shards import write_shards


@pytest.fixture
def tree(tree) -> Tree:
    """With three validation images, and no mask at all of unlabelled ones."""
    for i, name in enumerate(('v0', 'v1', 'v2')):
        write_picture(tree.image(name), 20 + i)
        write_mask(tree.mask(name), 20 + i)
    for i, name in enumerate(tree.labeled + tree.unlabeled):
        write_picture(tree.image(name), i)
    for name in tree.unlabeled:
        tree.mask(name).unlink()
    tree.write_list('val', ['v0', 'v1', 'v2'])
    return tree


def write_picture(path: Path, seed: int, size=(40, 30)) -> None:
    """Colours without the noise that would make all pictures alike when shrunk."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)


def config(tree: Tree, **changes) -> Config:
    val = dict(tree.source('labeled', ann_file='val.txt'))
    val['pipeline'] = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    return Config(
        dict(
            train_dataloader=dict(dataset=tree.dataset(**changes)),
            val_dataloader=dict(dataset=val),
            test_dataloader=dict(dataset=dict(val)),
        )
    )


def scan(tree: Tree, jobs: int = 2, **changes):
    return inspect(sources_of(config(tree, **changes)), jobs, changes.get('allow_overlap', False))


def found(report) -> list[tuple[str, str, int]]:
    return [(f.kind, f.source, f.count) for f in report.findings]


def edit_mask(path: Path, value: int, rows: slice = slice(2)) -> None:
    mask = np.array(Image.open(path))
    mask[rows] = value
    Image.fromarray(mask).save(path)


def test_a_sound_tree_is_clean(tree):
    report = scan(tree)
    assert report.findings == []
    assert report.count('error') == report.count('warning') == 0
    labeled, unlabeled, val = report.surveys
    assert [s.source.size for s in report.surveys] == [4, 6, 3]
    assert (labeled.masks, unlabeled.masks, val.masks) == (4, 0, 3)
    assert labeled.sizes == {(40, 30): 4}
    masks = np.stack([np.array(Image.open(tree.mask(name))) for name in tree.labeled])
    for row in labeled.class_rows():
        assert row['name'] == CLASSES[row['label']]
        assert row['share'] == pytest.approx((masks == row['label']).sum() / (masks < 255).sum())
        assert row['masks'] == sum((mask == row['label']).any() for mask in masks)
    assert labeled.void == pytest.approx((masks == 255).mean())


def test_jobs_do_not_change_the_report(tree):
    tree.image('b1').write_bytes(tree.image('a0').read_bytes())
    tree.image('b3').write_bytes(b'')
    reports = [json.dumps(scan(tree, jobs).as_dict()) for jobs in (1, 3)]
    assert reports[0] == reports[1]


@pytest.mark.parametrize('name', ['a1', 'b1', 'v1'])
@pytest.mark.parametrize('damage', ['missing', 'empty', 'truncated', 'text'])
def test_unreadable_images(tree, name, damage):
    path = tree.image(name)
    content = path.read_bytes()
    if damage == 'missing':
        path.unlink()
    else:
        cut = dict(empty=b'', truncated=content[: len(content) // 2], text=b'<html>404</html>')
        path.write_bytes(cut[damage])
    source = {'a': 'labeled', 'b': 'unlabeled', 'v': 'val'}[name[0]]
    report = scan(tree)
    assert found(report) == [('unreadable', source, 1)]
    assert report.findings[0].level == 'error'
    assert report.findings[0].cases[0].files == (str(path),)


@pytest.mark.parametrize('name', ['a1', 'v1'])
def test_unreadable_masks(tree, name):
    source = 'labeled' if name == 'a1' else 'val'
    path = tree.mask(name)
    for content in (path.read_bytes()[:60], b'', None):
        path.unlink() if content is None else path.write_bytes(content)
        report = scan(tree)
        assert found(report) == [('unreadable', source, 1)]
        assert report.findings[0].cases[0].files == (str(path),)


@pytest.mark.parametrize('name', ['a1', 'v1'])
def test_masks_of_another_size(tree, name):
    write_mask(tree.mask(name), 1, (30, 40))
    report = scan(tree)
    assert found(report) == [('size', 'labeled' if name == 'a1' else 'val', 1)]
    case = report.findings[0].cases[0]
    assert case.files == (str(tree.image(name)), str(tree.mask(name)))
    assert 'mask 30 x 40, image 40 x 30' in case.text


@pytest.mark.parametrize('name', ['a1', 'v1'])
def test_labels_out_of_range(tree, name):
    edit_mask(tree.mask(name), 3)
    report = scan(tree)
    assert found(report) == [('labels', 'labeled' if name == 'a1' else 'val', 1)]
    assert report.findings[0].level == 'error'
    assert '3 (80 px)' in report.findings[0].cases[0].text
    Image.open(tree.mask(name)).convert('RGB').save(tree.mask(name))
    assert found(scan(tree)) == [('labels', 'labeled' if name == 'a1' else 'val', 1)]


class MapColours(LoadAnnotations):
    """A loader of other masks: white is class 0, black class 1."""

    def _load_seg_map(self, results: dict) -> None:
        picture = np.array(Image.open(results['seg_map_path']))
        white, black = (picture == 255).all(2), (picture == 0).all(2)
        if not (white | black).all():
            raise SetupError('a colour that nothing maps')
        results['gt_seg_map'] = black.astype(np.uint8)


def test_masks_of_another_kind_are_read_by_their_own_loader(tree, tmp_path):
    for name in tree.labeled:
        mask = np.array(Image.open(tree.mask(name)))
        Image.fromarray(np.where(mask == 0, 255, 0).astype(np.uint8)).convert('RGB').save(
            tree.mask(name)
        )
    labeled = tree.source('labeled', metainfo=dict(classes=('white', 'black')))
    labeled['pipeline'][1] = dict(type=MapColours)
    unlabeled = tree.source('unlabeled', metainfo=dict(classes=('white', 'black')))
    sources = dict(labeled=labeled, unlabeled=unlabeled)
    report = scan(tree, **sources)
    assert report.findings == []
    assert [row['masks'] for row in report.surveys[0].class_rows()] == [4, 4]
    Image.new('RGB', (40, 30), 'red').save(tree.mask('a0'))
    tree.mask('a1').write_bytes(b'nothing')
    report = scan(tree, **sources)
    assert found(report) == [('unreadable', 'labeled', 1), ('labels', 'labeled', 1)]
    assert report.findings[1].cases[0].text == 'a colour that nothing maps'
    write_page(report, tmp_path / 'index.html', 'colours')
    assert len(Page((tmp_path / 'index.html').read_text()).sources) > 10


def test_void_masks_and_absent_classes(tree):
    edit_mask(tree.mask('a2'), 255, slice(None))
    report = scan(tree)
    assert found(report) == [('void', 'labeled', 1)]
    assert report.findings[0].level == 'warning'
    for name in ('v0', 'v1', 'v2'):
        edit_mask(tree.mask(name), 1, slice(None))
    report = scan(tree)
    assert found(report) == [('void', 'labeled', 1), ('absent', 'val', 2)]
    assert [case.text for case in report.findings[1].cases] == ['grass (label 0)', 'sky (label 2)']


def test_turned_images(tree):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for name in tree.labeled[:2] + tree.unlabeled[:1]:
        img = Image.open(tree.image(name))
        img.save(tree.image(name), 'JPEG', exif=exif if name != 'a0' else Image.Exif())
    # unlabelled images have no mask that could disagree
    assert found(scan(tree)) == [('turned', 'labeled', 1)]


def test_a_mask_that_lies_as_a_turned_image_is_shown(tree):
    """It follows the tag, which its size proves; one that lies as the pixels are stored is of another size."""
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for name in tree.labeled[:2]:
        Image.open(tree.image(name)).save(tree.image(name), 'JPEG', exif=exif)
    upright = np.rot90(np.asarray(Image.open(tree.mask('a0'))), -1)
    Image.fromarray(upright).save(tree.mask('a0'))
    assert found(scan(tree)) == [('size', 'labeled', 1), ('turned', 'labeled', 1)]
    Image.fromarray(upright).save(tree.mask('a1'))
    assert not found(scan(tree))


@pytest.mark.parametrize(
    ('copy', 'of', 'expected'),
    [
        ('v1', 'a2', ('leak', 'val', 1)),
        ('v1', 'b2', ('leak', 'val', 1)),
        ('b1', 'a2', ('twin', 'unlabeled', 1)),
        ('a1', 'a2', ('copy', 'labeled', 1)),
        ('b1', 'b2', ('copy', 'unlabeled', 1)),
        ('v1', 'v2', ('copy', 'val', 1)),
    ],
)
def test_equal_files(tree, copy, of, expected):
    tree.image(copy).write_bytes(tree.image(of).read_bytes())
    report = scan(tree)
    assert found(report) == [expected]
    assert report.findings[0].level == ('warning' if expected[0] == 'copy' else 'error')
    assert set(report.findings[0].cases[0].files) == {str(tree.image(n)) for n in (copy, of)}


def test_a_labelled_image_in_the_unlabelled_list(tree):
    tree.write_list('unlabeled', [*tree.unlabeled, 'a0'])
    report = scan(tree)
    assert found(report) == [('overlap', 'unlabeled', 1)]
    assert report.count('error') == 1
    report = scan(tree, allow_overlap=True)
    assert found(report) == [('overlap_allowed', 'unlabeled', 1)]
    assert report.count('error') == 0
    # and a copy of it under another name
    tree.write_list('unlabeled', tree.unlabeled)
    tree.image('b1').write_bytes(tree.image('a0').read_bytes())
    report = scan(tree, allow_overlap=True)
    assert found(report) == [('twin_allowed', 'unlabeled', 1)]
    assert report.count('error') == 0


@pytest.mark.parametrize(
    ('copy', 'of', 'expected'),
    [
        ('v1', 'a2', ('near_val', 'val', 1)),
        ('v1', 'b2', ('near_val', 'val', 1)),
        ('b1', 'a2', ('near', 'unlabeled', 1)),
    ],
)
def test_nearly_equal_images(tree, copy, of, expected):
    img = Image.open(tree.image(of)).resize((64, 48), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    img.save(file, 'JPEG', quality=60)
    tree.image(copy).write_bytes(file.getvalue())
    if copy == 'v1':
        write_mask(tree.mask('v1'), 1, (64, 48))
    report = scan(tree)
    assert found(report) == [expected]
    assert report.findings[0].level == 'warning'
    assert report.findings[0].cases[0].files == (str(tree.image(copy)), str(tree.image(of)))


def test_masks_of_unlabelled_images_are_never_opened(tree):
    """They are no pictures and would be reported; in the config they even have a folder."""
    for name in tree.unlabeled:
        tree.mask(name).write_bytes(b'not to be opened')
    unlabeled = tree.source('unlabeled')
    unlabeled['data_prefix']['seg_map_path'] = 'labels'
    report = scan(tree, unlabeled=unlabeled)
    assert report.findings == []
    assert report.surveys[1].source.load_labels is None


def test_shards(tree):
    files = {f'{name}.png': tree.image(name) for name in [*tree.unlabeled, 'a1']}
    shards = tree.root / 'shards'
    write_shards(list(files), lambda name: files[name].read_bytes(), shards, per_shard=2)
    pool = dict(type='ShardedImages', shards=str(shards), pipeline=[dict(type='LoadImage')])
    report = scan(tree, jobs=3, unlabeled=pool)
    assert found(report) == [('twin', 'unlabeled', 1)]
    copy, original = report.findings[0].cases[0].files
    assert copy.endswith('.tar/a1.png') and original == str(tree.image('a1'))
    assert report.surveys[1].source.size == 7 and report.surveys[1].sizes == {(40, 30): 7}
    write_page(report, tree.root / 'index.html', 'shards')
    assert len(Page((tree.root / 'index.html').read_text()).sources) > 10


def test_several_pools_and_labelled_images_alone(tree):
    tree.write_list('more', tree.unlabeled[4:])
    tree.write_list('unlabeled', tree.unlabeled[:4])
    pools = [tree.source('unlabeled'), tree.source('unlabeled', ann_file='more.txt')]
    names = [s.source.name for s in scan(tree, unlabeled=pools).surveys]
    assert names == ['labeled', 'unlabeled[0]', 'unlabeled[1]', 'val']
    assert [s.source.name for s in scan(tree, unlabeled=None).surveys] == ['labeled', 'val']
    # the same files again, as a test set that training must not know
    cfg = config(tree, unlabeled=None)
    cfg.test_dataloader.dataset.ann_file = 'labeled.txt'
    report = inspect(sources_of(cfg), 1)
    assert found(report) == [('leak', 'test', 4)]


def test_lists_are_those_of_the_protocol(tree):
    halves = {
        kind: summarize(names)
        for kind, names in (('labeled', tree.labeled), ('unlabeled', tree.unlabeled))
    }
    manifest = json.dumps(dict(protocol='mine 4 seed 0', **halves))
    (tree.root / 'manifest.json').write_text(manifest)
    assert scan(tree).surveys[0].source.note == 'mine 4 seed 0'
    tree.write_list('labeled', tree.labeled[:3])
    with pytest.raises(SetupError, match='mine 4 seed 0'):
        scan(tree)


def test_a_plain_mmsegmentation_config(tree):
    cfg = config(tree)
    cfg.train_dataloader.dataset = tree.source('labeled')
    assert [s.name for s in sources_of(cfg)] == ['labeled', 'val']
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', dataset=tree.source('labeled'), times=2
    )
    with pytest.raises(SetupError, match='RepeatDataset is no BaseDataset'):
        sources_of(cfg)


def test_folders(tree, tmp_path):
    images, masks = tmp_path / 'mine/images', tmp_path / 'mine/masks'
    for i, name in enumerate(['one', 'sub/two', 'sub/three']):
        for path in (images / f'{name}.jpg', masks / f'{name}.png'):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(images / f'{name}.jpg', i)
        write_mask(masks / f'{name}.png', i, num_classes=4)
    sources = [
        folder_source('labeled', 'labeled', images, masks),
        folder_source('pool', 'unlabeled', tree.root / 'images'),
    ]
    report = inspect(sources, 2)
    assert found(report) == [('near', 'pool', 3)]  # the pictures of a0, a1 and a2, compressed
    assert [row['name'] for row in report.surveys[0].class_rows()] == ['0', '1', '2', '3']

    (masks / 'one.png').unlink()
    report = inspect([folder_source('labeled', 'labeled', images, masks, num_classes=3)], 2)
    assert found(report) == [('unreadable', 'labeled', 1), ('labels', 'labeled', 2)]
    with pytest.raises(SetupError, match='is no folder'):
        folder_source('pool', 'unlabeled', tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SetupError, match='holds no image'):
        folder_source('pool', 'unlabeled', tmp_path / 'empty')


class Page(HTMLParser):
    """Text and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.sources = '', []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.sources += [value for name, value in attrs if name in ('src', 'href')]


def test_the_page_stands_alone_and_shows_each_finding(tree, tmp_path):
    edit_mask(tree.mask('a1'), 9)
    write_mask(tree.mask('a2'), 1, (30, 40))
    tree.image('b1').unlink()
    tree.image('v1').write_bytes(tree.image('b2').read_bytes())
    report = scan(tree)
    write_page(report, tmp_path / 'index.html', 'a <b> & c')
    page = Page((tmp_path / 'index.html').read_text())
    assert 'Data of a <b> & c' in page.text
    assert all(source.startswith('data:image/jpeg;base64,') for source in page.sources)
    assert len(report.findings) == 4
    for finding in report.findings:
        assert KINDS[finding.kind][1] in page.text
        assert all(file in page.text for case in finding.cases for file in case.files)
    assert 'not opened' in page.text
    assert (
        len(re.findall('base64', (tmp_path / 'index.html').read_text())) == len(page.sources) > 10
    )


# ------------------------------------------------------------------------------------------ own data


def test_own_data_are_remarked_alike_by_all_tools(tmp_path):
    """Masks of 0 and 255 under a plain list, predictions in the pool, a turned photograph: said by each of the three."""
    rng = np.random.default_rng(0)
    tag = Image.Exif()
    tag[0x0112] = 3
    for folder in ('photos', 'masks', 'more'):
        (tmp_path / folder).mkdir()
    for i in range(6):
        pixels = rng.integers(0, 256, (2, 24, 32, 3)).astype(np.uint8)
        mask = rng.integers(0, 2, (24, 32)).astype(np.uint8)
        Image.fromarray(pixels[0]).save(tmp_path / f'photos/{i}.png', exif=tag if i == 0 else None)
        Image.fromarray(mask * 255).save(tmp_path / f'masks/{i}.png')
        Image.fromarray(pixels[1]).save(tmp_path / f'more/{i}.png')
        Image.fromarray(mask * 255).save(tmp_path / f'more/{i}_predict.png')
    own = dict(
        labeled=dict(images=str(tmp_path / 'photos'), masks=str(tmp_path / 'masks')),
        unlabeled=[str(tmp_path / 'more')],
        classes=['background', 'thing'],
    )
    load, labels = dict(type='LoadAnyImage'), dict(type='LoadAnyLabels')
    parts = {
        'labeled': dict(type='FolderDataset', data_file=own, pipeline=[load, labels]),
        'unlabeled': dict(type='FolderDataset', data_file=own, part='unlabeled', pipeline=[load]),
    }
    cfg = Config(
        dict(train_dataloader=dict(dataset=dict(type='SemiDataset', **parts))), filename=None
    )
    absent = "class 'thing' (index 1), and 255, which is ignored, covers 5"
    report = inspect(sources_of(cfg))
    found = {finding.kind: finding for finding in report.findings}
    assert absent in found['meaning'].cases[0].text and found['turned'].count == 1
    assert any("'*_predict.*'" in case.text for case in found['remark'].cases)
    findings = split_reports.check(split_reports.of_config(cfg))
    assert any(absent in text for text in findings.problems)
    assert any("'*_predict.*'" in text for text in findings.warnings)
    assert any('1 of 6 labelled images are turned' in text for text in findings.warnings)
    with pytest.raises(SetupError, match=r'thing: 255'):
        SemiDataset(**parts)
    own['classes'] = dict(background=0, thing=255)
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel('INFO')
    try:
        SemiDataset(**parts)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert any("'*_predict.*'" in text for text in records) and any('turned' in t for t in records)
