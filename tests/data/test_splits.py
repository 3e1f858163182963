import functools
import hashlib
import http.server
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from miniatures import ROOT, load_tool, write_mask
from PIL import Image
from shipped import shipped

from mmseg_semi.data import splits
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import made_splits, published_splits, split_lists

REAL = ROOT / 'data/splits_src'
CAMVID = ROOT / 'data/camvid'
LISTS = ROOT / 'configs/splits/camvid'

VOC = [f'2007_{i:06d}' for i in range(12)]
CITIES = [f'ulm/ulm_{i:06d}_000019' for i in range(6)] + [
    f'bad-city/bad-city_{i:06d}_000019' for i in range(6)
]


# ------------------------------------------------------------------------------- reading and hashes


@pytest.mark.parametrize(
    ('line', 'dataset', 'name'),
    [
        ('2007_000032', 'voc', '2007_000032'),
        ('JPEGImages/2007_000032.jpg', 'voc', '2007_000032'),
        ('/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png', 'voc', '2007_000032'),
        ('2007_000032.jpg\t2007_000032.png', 'voc', '2007_000032'),
        ('ulm_000079_000019', 'cityscapes', 'ulm/ulm_000079_000019'),
        ('ulm/ulm_000079_000019', 'cityscapes', 'ulm/ulm_000079_000019'),
        (
            'leftImg8bit/train/ulm/ulm_000079_000019_leftImg8bit.png',
            'cityscapes',
            'ulm/ulm_000079_000019',
        ),
        (
            '/images/train/ulm_000079_000019.png\t/segmentation/train/ulm_000079_000019_gtFine.png',
            'cityscapes',
            'ulm/ulm_000079_000019',
        ),
        (
            'leftImg8bit/train/ulm/ulm_000079_000019_leftImg8bit.png '
            'gtFine/train/ulm/ulm_000079_000019_gtFine_labelTrainIds.png',
            'cityscapes',
            'ulm/ulm_000079_000019',
        ),
        (
            'images/training/ADE_train_00001609.jpg annotations/training/ADE_train_00001609.png',
            'ade20k',
            'ADE_train_00001609',
        ),
        ('train2017/000000177254.jpg masks/000000177254.png', 'coco', '000000177254'),
    ],
)
def test_every_line_format_in_use(tmp_path, line, dataset, name):
    (tmp_path / 'list.txt').write_text(line)
    assert split_lists.read_list(tmp_path / 'list.txt', dataset) == [name]


@pytest.mark.parametrize(
    'content',
    [
        b'2007_000001\n2007_000000\n',
        b'2007_000001\n2007_000000',
        b'2007_000001\r\n2007_000000\r\n',
        b'2007_000001\r\n2007_000000',
        b'\xef\xbb\xbf2007_000001\n\n2007_000000 \n\n',
    ],
)
def test_line_ends_blank_lines_and_byte_order_marks(tmp_path, content):
    (tmp_path / 'list.txt').write_bytes(content)
    assert split_lists.read_list(tmp_path / 'list.txt', 'voc') == ['2007_000001', '2007_000000']


def test_lines_that_name_nothing_are_refused(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('2007_000001\nulm_000079_000019\n')
    with pytest.raises(
        SetupError, match="list.txt, line 2: 'ulm_000079_000019' names no voc image"
    ):
        split_lists.read_list(path, 'voc')
    path.write_text('2007_000001.jpg 2007_000002.png\n')
    with pytest.raises(SetupError, match='line 1: image and mask differ'):
        split_lists.read_list(path, 'voc')


def test_hash_is_of_the_set_of_names():
    expected = hashlib.sha256(b'a\nb\nc').hexdigest()
    assert splits.hash_names(['c', 'a', 'b']) == expected
    assert splits.hash_names(['a', 'b']) != expected


def test_problems_are_named():
    assert split_lists.find_problems(['a', 'b'], ['c'], ['d']) == []
    found = split_lists.find_problems(['a', 'b', 'b'], ['c', 'a'], ['c', 'x'])
    assert found == [
        '1 labelled names are repeated, e.g. b',
        '1 unlabelled images are validation images, e.g. c',
        '1 images are labelled and unlabelled, e.g. a (training on it needs allow_overlap=True)',
    ]


# ---------------------------------------------------------------------------------------- importing


def write(path: Path, lines, end='\n') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(end.join(lines), newline='')


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A repository that ships two families and both data sets in their formats."""
    root = tmp_path / 'checkout'
    write(root / 'splits/pascal/4/labeled.txt', VOC[:4])
    write(root / 'splits/pascal/4/unlabeled.txt', VOC[4:10])
    write(root / 'splits/pascal/val.txt', VOC[10:])
    write(root / 'CPS/pascal_voc/4/labeled.txt', VOC[2:6], '\r\n')
    write(root / 'CPS/pascal_voc/4/unlabeled.txt', [*VOC[5:9], VOC[10]], '\r\n')
    cps = [f'/images/train/{n.split("/")[1]}.png' for n in CITIES]
    cps = [f'{i}\t{i.replace("images", "segmentation")[:-4]}_gtFine.png' for i in cps]
    write(root / 'CPS/cityscapes/3/labeled.txt', cps[:3])
    write(root / 'CPS/cityscapes/3/unlabeled.txt', cps[3:])
    pairs = [f'/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png' for n in VOC]
    write(root / 'voc_splits/2_train_supervised.txt', pairs[:2])
    write(root / 'voc_splits/2_train_unsupervised.txt', pairs[2:10])
    write(root / 'voc_splits/val.txt', pairs[10:])

    def protocol(name, labeled, unlabeled):
        pair = dict(labeled=splits.summarize(labeled), unlabeled=splits.summarize(unlabeled))
        return dict(protocol=name, **pair)

    val = splits.summarize(VOC[10:])
    source = dict(repository='https://example.org/lists', commit='abc', folder='.')
    u2pl = dict(val=val, splits={'4': protocol('voc classic', VOC[:4], VOC[4:10])})
    cps_voc = dict(val=val, splits={'4': protocol('voc cps', VOC[2:6], [*VOC[5:9], VOC[10]])})
    cps_city = dict(val=val, splits={'3': protocol('cityscapes cps', CITIES[:3], CITIES[3:])})
    cct = dict(val=val, splits={'2': protocol('voc cct', VOC[:2], VOC[2:10])})
    known = dict(
        families=dict(
            u2pl=dict(source=source, datasets=dict(voc=u2pl)),
            cps=dict(source=source, datasets=dict(voc=cps_voc, cityscapes=cps_city)),
            cct=dict(source=source, datasets=dict(voc=cct)),
        )
    )
    monkeypatch.setattr(splits, 'load_protocols', lambda: known)
    monkeypatch.setattr(published_splits, 'load_protocols', lambda: known)
    return root


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_family_is_found_by_its_hash(checkout, tmp_path):
    for family, labeled, unlabeled in (
        ('u2pl', VOC[:4], VOC[4:10]),
        ('cps', VOC[2:6], [*VOC[5:9], VOC[10]]),
    ):
        found = published_splits.import_splits(family, 'voc', checkout, tmp_path / 'out')
        assert list(found) == [4]
        folder = tmp_path / 'out' / family / 'voc'
        assert read(folder / '4/labeled.txt') == labeled
        assert read(folder / '4/unlabeled.txt') == unlabeled
        assert read(folder / 'val.txt') == VOC[10:]
        manifest = json.loads((folder / '4/manifest.json').read_text())
        assert manifest['labeled'] == splits.summarize(labeled)
        assert manifest['source']['commit'] == 'abc' and manifest['verified']
    assert manifest['protocol'] == 'voc cps 4'
    assert [problem[:24] for problem in manifest['problems']] == [
        '1 unlabelled images are ',
        '1 images are labelled an',
    ]


def test_cityscapes_names_are_written_as_mmseg_reads_them(checkout, tmp_path):
    published_splits.import_splits('cps', 'cityscapes', checkout, tmp_path / 'out')
    assert read(tmp_path / 'out/cps/cityscapes/3/labeled.txt') == CITIES[:3]
    assert not (tmp_path / 'out/cps/cityscapes/val.txt').exists()  # the checkout has none


@pytest.fixture
def shares(tmp_path, monkeypatch) -> Path:
    """A repository with lists of ADE20K and COCO in folders of shares; COCO's unlabelled one is known by its file."""
    root = tmp_path / 'shares'
    ade = [f'ADE_train_{i:08d}' for i in range(1, 9)]
    write(root / 'splits/ade20k/1_4/labeled.txt', _pairs(ade[:2], 'images', 'annotations'))
    write(root / 'splits/ade20k/1_4/unlabeled.txt', _pairs(ade[2:], 'images', 'annotations'))
    coco = [f'{i:012d}' for i in range(3)]
    write(root / 'splits/coco/1_3/labeled.txt', _pairs(coco[:1], 'train2017', 'masks'))
    content = '\n'.join(_pairs(coco[1:], 'train2017', 'masks')).encode()
    blob = hashlib.sha1(b'blob %d\0' % len(content) + content)  # as Git names this content
    write(root / 'splits/coco/1_3/unlabeled.txt', _pairs(coco[1:], 'train2017', 'masks'), '\r\n')

    def pair(name, folder, labeled, unlabeled):
        labeled = splits.summarize(labeled)
        return dict(protocol=name, folder=folder, labeled=labeled, unlabeled=unlabeled)

    rest = dict(count=2, git_blob=blob.hexdigest())
    source = dict(repository='https://example.org/shares', commit='abc', folder='splits')
    of_ade = {'2': pair('ade20k unimatch', '1_4', ade[:2], splits.summarize(ade[2:]))}
    of_coco = {'1': pair('coco unimatch', '1_3', coco[:1], rest)}
    val = splits.summarize([])
    datasets = dict(ade20k=dict(val=val, splits=of_ade), coco=dict(val=val, splits=of_coco))
    known = dict(families=dict(unimatch=dict(source=source, datasets=datasets)))
    monkeypatch.setattr(splits, 'load_protocols', lambda: known)
    monkeypatch.setattr(published_splits, 'load_protocols', lambda: known)
    return root


def _pairs(names, images: str, masks: str) -> list[str]:
    return [f'{images}/{name}.jpg {masks}/{name}.png' for name in names]


def test_lists_in_folders_of_shares(shares, tmp_path):
    out = tmp_path / 'out'
    assert list(published_splits.import_splits('unimatch', 'ade20k', shares, out)) == [2]
    folder = out / 'unimatch/ade20k/2'
    assert read(folder / 'labeled.txt') == ['ADE_train_00000001', 'ADE_train_00000002']
    assert splits.read_manifest(folder)['protocol'] == 'ade20k unimatch 2'


def test_a_list_that_is_known_by_its_file(shares, tmp_path):
    folder = tmp_path / 'unimatch/coco/1'
    published_splits.import_splits('unimatch', 'coco', shares, tmp_path)
    lists = folder / 'labeled.txt', [folder / 'unlabeled.txt']
    found = splits.identify('coco unimatch 1', *lists)
    assert found['protocol'] == 'coco unimatch 1'
    assert found['unlabeled'] == splits.summarize(['000000000001', '000000000002'])
    assert splits.identify('coco unimatch 1', lists[0], [])['unlabeled'] is None  # labels alone
    # the import's manifest guards what it wrote
    write(folder / 'unlabeled.txt', ['000000000001'])
    with pytest.raises(SetupError, match=r"'coco unimatch 1', whose unlabelled list has 2 names"):
        splits.identify('coco unimatch 1', *lists)
    assert run('check', folder) == 1
    (folder / 'manifest.json').unlink()
    with pytest.raises(SetupError, match='is checked by the manifest.json of its import.*import'):
        splits.identify('coco unimatch 1', *lists)
    write(shares / 'splits/coco/1_3/unlabeled.txt', ['000000000001'])
    with pytest.raises(SetupError, match="has 1 names and Git's hash [0-9a-f]{40}, expected 2"):
        published_splits.import_splits('unimatch', 'coco', shares, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    lists[0].write_text('hello\n')  # a hash that Git's manuals give
    assert published_splits._git_blob(lists[0]) == 'ce013625030ba8dba906f756967f9e9ca394464a'


@pytest.mark.parametrize('everything', [False, True])
def test_cct_unlabelled_is_the_rest(checkout, tmp_path, everything):
    if everything:  # goes before the lists of unlabelled images
        write(checkout / 'train_aug.txt', VOC[:10])
        (checkout / 'voc_splits/2_train_unsupervised.txt').unlink()
    published_splits.import_splits('cct', 'voc', checkout, tmp_path / 'out')
    assert read(tmp_path / 'out/cct/voc/2/labeled.txt') == VOC[:2]
    assert read(tmp_path / 'out/cct/voc/2/unlabeled.txt') == VOC[2:10]


def run(*argv) -> int:
    try:
        return load_tool('splits').main([str(a) for a in argv])
    except SystemExit as exit_info:
        return exit_info.code


def test_a_changed_list_fails_with_both_hashes_and_writes_nothing(checkout, tmp_path, capsys):
    changed = [*VOC[:3], VOC[11]]
    write(checkout / 'splits/pascal/4/labeled.txt', changed)
    argv = ['import', '--family', 'u2pl', '--dataset', 'voc', '--source', checkout]
    argv += ['--out', tmp_path / 'out']
    assert run(*argv) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith('error: ') and captured.err.count('\n') == 1
    assert splits.hash_names(changed) in captured.err
    assert splits.hash_names(VOC[:4]) in captured.err
    assert 'splits/pascal/4/labeled.txt has 4 names' in captured.err
    assert not (tmp_path / 'out').exists()


def test_own_lists_are_taken_without_verification(checkout, tmp_path, capsys):
    own = checkout / 'splits'
    write(own / 'pascal/4/labeled.txt', [*VOC[:4], VOC[3]])
    argv = ['import', '--family', 'u2pl', '--dataset', 'voc', '--out', tmp_path / 'out']
    assert run(*argv, '--no-verify', '--source', own) == 0
    printed = capsys.readouterr().out
    assert '5 labelled, 6 unlabelled, not verified' in printed
    assert 'warning: 1 labelled names are repeated, e.g. 2007_000003' in printed
    manifest = json.loads((tmp_path / 'out/u2pl/voc/4/manifest.json').read_text())
    assert manifest['verified'] is False and manifest['source'] == str(own)
    # two candidates and nothing to tell them apart
    assert run(*argv, '--no-verify', '--source', checkout) == 2
    assert 'lists for the same number' in capsys.readouterr().err


def test_sources_without_lists_are_refused(checkout, tmp_path):
    with pytest.raises(SetupError, match='nowhere is no folder'):
        published_splits.import_splits('u2pl', 'voc', tmp_path / 'nowhere', tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SetupError, match='no voc lists of family u2pl .*https://example.org/lists'):
        published_splits.import_splits('u2pl', 'voc', tmp_path / 'empty', tmp_path / 'out')
    with pytest.raises(SetupError, match='--family u2pl --dataset cityscapes is unknown'):
        published_splits.import_splits('u2pl', 'cityscapes', checkout, tmp_path / 'out')
    (checkout / 'splits/pascal/4/unlabeled.txt').unlink()
    (checkout / 'CPS/pascal_voc/4/unlabeled.txt').unlink()
    with pytest.raises(SetupError, match='has no unlabelled counterpart'):
        published_splits.import_splits('u2pl', 'voc', checkout, tmp_path / 'out')


@pytest.fixture
def server(tmp_path):
    """Serves the folder ``web``; yields its address."""
    (tmp_path / 'web').mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

        def copyfile(self, source, outputfile) -> None:
            whole = source.read()
            outputfile.write(whole[:10] if self.path.startswith('/cut') else whole)

    handler = functools.partial(Quiet, directory=tmp_path / 'web')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


@pytest.mark.parametrize('form', ['zip', 'gztar'])
def test_lists_are_imported_from_archives_and_from_the_web(checkout, tmp_path, server, form):
    (checkout / 'splits/pascal/weights.bin').write_bytes(b'0' * 1000)
    archive = Path(shutil.make_archive(str(tmp_path / 'web/lists'), form, checkout))
    for source in (archive, f'{server}/{archive.name}'):
        found = published_splits.import_splits('cps', 'cityscapes', source, tmp_path / 'out')
        assert found[3].labeled == CITIES[:3]
    with pytest.raises(SetupError, match='lists2.zip does not exist .HTTP 404.; fix the address'):
        published_splits.import_splits('u2pl', 'voc', f'{server}/lists2.zip', tmp_path / 'out')
    archive.write_bytes(archive.read_bytes()[:50])
    with pytest.raises(SetupError, match='cannot be unpacked .*; download it again'):
        published_splits.import_splits('u2pl', 'voc', archive, tmp_path / 'out')


def test_lists_are_imported_from_a_folder_on_the_web(checkout, tmp_path, server):
    shutil.copytree(checkout / 'splits/pascal', tmp_path / 'web/pascal')
    shutil.copytree(checkout / 'voc_splits', tmp_path / 'web/cct')
    found = published_splits.import_splits('u2pl', 'voc', f'{server}/pascal/', tmp_path / 'out')
    assert found[4].unlabeled == VOC[4:10]
    assert read(tmp_path / 'out/u2pl/voc/val.txt') == VOC[10:]
    found = published_splits.import_splits('cct', 'voc', f'{server}/cct', tmp_path / 'out')
    assert found[2].unlabeled == VOC[2:10]
    with pytest.raises(SetupError, match='holds no voc lists of family u2pl'):
        published_splits.import_splits('u2pl', 'voc', f'{server}/nowhere', tmp_path / 'out')


def test_broken_connections_are_told(checkout, tmp_path, server):
    shutil.make_archive(str(tmp_path / 'web/cut'), 'zip', checkout)
    with pytest.raises(SetupError, match=r'cut.zip cannot be downloaded \(.* bytes'):
        published_splits.import_splits('u2pl', 'voc', f'{server}/cut.zip', tmp_path / 'out')
    with pytest.raises(SetupError, match='cannot be downloaded .*; try again, or download by hand'):
        published_splits.import_splits(
            'u2pl', 'voc', 'http://127.0.0.1:1/lists.zip', tmp_path / 'out'
        )


@pytest.mark.parametrize(
    ('source', 'address'),
    [
        ('https://github.com/some/lists', 'https://github.com/some/lists/archive/HEAD.zip'),
        ('https://github.com/some/lists.git', 'https://github.com/some/lists/archive/HEAD.zip'),
        (
            'https://github.com/some/lists/tree/v1/a/b',
            'https://github.com/some/lists/archive/v1.zip',
        ),
        (None, 'https://example.org/lists/archive/abc.zip'),  # where they were published
    ],
)
def test_repositories_are_fetched_as_archives(checkout, tmp_path, monkeypatch, source, address):
    asked = []
    monkeypatch.setattr(published_splits, '_fetch', lambda a, path: asked.append(a))
    with pytest.raises(SetupError, match='HTTP 404'):
        published_splits.import_splits('u2pl', 'voc', source, tmp_path / 'out')
    assert asked == [address]


def test_shipped_protocols_are_the_published_counts():
    families = splits.load_protocols()['families']
    counts = {
        (family, dataset): [int(n) for n in lists['splits']]
        for family, info in families.items()
        for dataset, lists in info['datasets'].items()
    }
    assert counts == {
        ('u2pl', 'voc'): [92, 183, 366, 662, 732, 1323, 1464, 2646, 5291],
        ('u2pl', 'cityscapes'): [186, 372, 744, 1488],
        ('cps', 'voc'): [183, 366, 662, 732, 1323, 2646, 5291],
        ('cps', 'cityscapes'): [186, 372, 744, 1488],
        ('cct', 'voc'): [60, 100, 200, 300, 500, 800, 1000, 1464],
        ('unimatch', 'ade20k'): [316, 631, 1263, 2526, 5052, 10105],
        ('unimatch', 'coco'): [232, 463, 925, 1849, 3697],
    }
    images = dict(voc=10582, cityscapes=2975, ade20k=20210, coco=118287)
    for (family, dataset), numbers in counts.items():
        lists = families[family]['datasets'][dataset]
        for n in numbers:
            pair = lists['splits'][str(n)]
            assert pair['labeled']['count'] == n
            whole = images[dataset]
            if family == 'cps' and n in (183, 366, 732):  # of the 1,464, and one image in both
                whole = 1465
            assert pair['labeled']['count'] + pair['unlabeled']['count'] == whole


@pytest.mark.skipif(not REAL.is_dir(), reason='data/splits_src with published lists is absent')
@pytest.mark.parametrize(
    ('family', 'dataset', 'with_problems'),
    [
        ('u2pl', 'voc', []),
        ('u2pl', 'cityscapes', []),
        ('cps', 'voc', [183, 366, 732]),
        ('cps', 'cityscapes', []),
        ('cct', 'voc', []),
    ],
)
def test_published_lists_import(tmp_path, family, dataset, with_problems):
    found = published_splits.import_splits(family, dataset, REAL, tmp_path)
    expected = splits.load_protocols()['families'][family]['datasets'][dataset]['splits']
    assert sorted(found) == sorted(map(int, expected))
    assert [n for n, split in found.items() if split.problems] == with_problems
    for n in found:
        folder = tmp_path / family / dataset / str(n)
        for kind in ('labeled', 'unlabeled'):
            assert splits.summarize(read(folder / f'{kind}.txt')) == expected[str(n)][kind]


# ------------------------------------------------------------------------------------------- making


def touch(folder: Path, names, suffix='.jpg') -> Path:
    for name in names:
        path = folder / f'{name}{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_made_lists_are_disjoint_complete_seeded_and_nested(tmp_path):
    names = [f'{city}/frame{i}' for city in 'ab' for i in range(10)]
    images = touch(tmp_path / 'images', names)
    touch(images, ['notes'], '.txt')
    made = {
        (n, seed): made_splits.make_split(images, n, seed, tmp_path / f'{n}-{seed}')
        for n in (5, 10)
        for seed in (0, 1)
    }
    for (n, seed), split in made.items():
        folder = tmp_path / f'{n}-{seed}'
        assert read(folder / 'labeled.txt') == split.labeled == sorted(split.labeled)
        assert len(split.labeled) == n
        assert sorted(split.labeled + read(folder / 'unlabeled.txt')) == sorted(names)
        manifest = json.loads((folder / 'manifest.json').read_text())
        assert manifest['protocol'] == f'own {n} seed {seed}'
        assert manifest['labeled'] == splits.summarize(split.labeled)
    assert made[5, 0].labeled != made[5, 1].labeled
    assert set(made[5, 0].labeled) < set(made[10, 0].labeled)
    again = made_splits.make_split(images, 5, 0, tmp_path / 'again')
    assert again.labeled == made[5, 0].labeled


def test_labelling_everything_leaves_no_unlabelled_list(tmp_path):
    images = touch(tmp_path / 'images', 'abc')
    made_splits.make_split(images, 3, 0, tmp_path / 'out')
    assert {p.name for p in (tmp_path / 'out').iterdir()} == {'labeled.txt', 'manifest.json'}


def test_balanced_lists_show_every_class(tmp_path):
    names = [f'i{k:02d}' for k in range(40)]
    images, masks = touch(tmp_path / 'images', names), tmp_path / 'masks'
    masks.mkdir()
    for k, name in enumerate(names):
        mask = np.zeros((10, 10), np.uint8)
        mask[0, :5] = 1 + k % 3  # 5 pixels of one of the classes 1, 2, 3
        mask[1, :2] = 4  # never 5 pixels, but in i07
        mask[2] = 255
        if name == 'i07':
            mask[1] = 4
        Image.fromarray(mask).save(masks / f'{name}.png')

    def labeled(seed, n=3, **kwargs):
        out = tmp_path / 'out'
        split = made_splits.make_split(images, n, seed, out, masks, 'classes', **kwargs)
        return split.labeled

    for seed in range(20):
        chosen = labeled(seed, min_pixels=5)
        assert 'i07' in chosen
        assert {int(name[1:]) % 3 for name in chosen} == {0, 1, 2}
    assert labeled(3, 10) == labeled(3, 10) != labeled(4, 10)
    assert any('i07' not in labeled(seed) for seed in range(20))  # 2 pixels suffice by default
    with pytest.raises(SetupError, match=r'--n 2 images cannot show all 5 classes .*needs 3'):
        labeled(0, 2, min_pixels=5)
    (masks / 'i20.png').unlink()
    with pytest.raises(SetupError, match='holds no mask of i20'):
        labeled(0)


def test_balancing_fills_up_in_the_order_of_the_draw(tmp_path):
    names = [f'i{k}' for k in range(12)]
    images = touch(tmp_path / 'images', names)
    for k, name in enumerate(names):
        write_mask(tmp_path / f'masks/{name}.png', k)  # every image shows every class
    plain = made_splits.make_split(images, 5, 0, tmp_path / 'plain')
    balanced = made_splits.make_split(images, 5, 0, tmp_path / 'b', tmp_path / 'masks', 'classes')
    assert balanced.labeled == plain.labeled


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(n=0), '--n 0 is out of range: .* holds 3 images'),
        (dict(n=4), '--n 4 is out of range'),
        (dict(seed=-1), '--seed -1 is negative'),
        (dict(images='nowhere'), 'nowhere is no folder'),
        (dict(images='empty'), 'empty holds no image'),
        (dict(images='double'), 'double holds a with several suffixes'),
        (dict(balance='classes'), '--balance classes needs --masks'),
    ],
)
def test_lists_that_cannot_be_made(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / 'images', 'abc')
    (tmp_path / 'empty').mkdir()
    touch(touch(tmp_path / 'double', 'a'), 'a', '.png')
    arguments = dict(dict(images='images', n=1, seed=0, out='out'), **changes)
    with pytest.raises(SetupError, match=message):
        made_splits.make_split(**arguments)
    assert not (tmp_path / 'out').exists()


def test_make_from_the_command_line(tmp_path, capsys):
    images = touch(tmp_path / 'images', 'abcdef')
    assert run('make', '--images', images, '--n', 2, '--seed', 1, '--out', tmp_path / 'out') == 0
    assert '2 labelled, 4 unlabelled' in capsys.readouterr().out
    assert run('make', '--images', images, '--n', 9, '--out', tmp_path / 'out') == 2
    assert capsys.readouterr().err.startswith('error: --n 9 is out of range')


def test_whole_groups_are_labelled_or_not(tmp_path):
    sizes = dict(a=3, b=4, c=5, d=2)
    names = [f'{city}/f{i}' for city, size in sizes.items() for i in range(size)]
    images = touch(tmp_path / 'images', names)
    seen = set()
    for seed in range(12):
        split = made_splits.make_split(images, 6, seed, tmp_path / 'out', group='^([^/]+)/')
        groups = {name[0] for name in split.labeled}
        assert len(split.labeled) == sum(sizes[g] for g in groups) <= 6
        assert not groups & {name[0] for name in split.unlabeled}
        # no further group would fit
        assert all(len(split.labeled) + sizes[g] > 6 for g in set(sizes) - groups)
        seen.add(frozenset(groups))
    assert len(seen) > 2
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert manifest['group'] == 'whole groups ^([^/]+)/'
    assert manifest['protocol'] == f'own {len(split.labeled)} seed 11'


def test_spread_groups_have_their_shares(tmp_path):
    names = [
        f'{video}_{i:02d}' for video, size in dict(p=8, q=20, r=12).items() for i in range(size)
    ]
    images = touch(tmp_path / 'images', names)
    draws = set()
    for seed in range(5):
        split = made_splits.make_split(
            images, 10, seed, tmp_path / 'out', group='^[a-z]', grouping='spread'
        )
        counts = [sum(name[0] == video for name in split.labeled) for video in 'pqr']
        assert counts == [2, 5, 3]
        draws.add(tuple(split.labeled))
    assert len(draws) == 5


def test_stratified_lists_have_the_frequencies_of_all_images(tmp_path):
    rng = np.random.default_rng(0)
    names = [f'i{k:03d}' for k in range(100)]
    shares = {0: 1.0, 1: 0.5, 2: 0.2, 3: 0.1, 4: 0.01}
    shown = {name: set() for name in names}
    for c, share in shares.items():
        for k in rng.permutation(100)[: round(100 * share)]:
            shown[names[k]].add(c)
    plain_errors = errors = 0
    for seed in range(5):
        order = [names[k] for k in np.random.default_rng(seed).permutation(100)]
        chosen = made_splits.stratify(order, shown, 20)
        assert len(set(chosen)) == 20
        counts = {c: sum(c in shown[name] for name in chosen) for c in shares}
        assert counts[4] == 1  # the only image of this class
        for c in (0, 1, 2, 3):
            assert abs(counts[c] - 20 * shares[c]) <= 1
            errors += abs(counts[c] - 20 * shares[c])
            plain_errors += abs(sum(c in shown[name] for name in order[:20]) - 20 * shares[c])
    assert errors < plain_errors / 3
    # where the shares leave a class out, every class goes first
    order = ['a', 'b', 'c']
    assert set(made_splits.stratify(order, dict(a={0}, b={0}, c={1}), 2)) >= {'c'}


def test_stratified_from_the_command_line(tmp_path, capsys):
    names = [f'i{k}' for k in range(12)]
    images = touch(tmp_path / 'images', names)
    for k, name in enumerate(names):
        Image.fromarray(np.full((4, 4), k % 3, np.uint8)).save(images / f'{name}_gt.png')
    argv = ['make', '--images', images, '--img-suffix', '.jpg', '--masks', images, '--n', 6]
    argv += ['--seg-map-suffix', '_gt.png', '--balance', 'stratified', '--out', tmp_path / 'out']
    assert run(*argv) == 0
    numbers = [int(name[1:]) % 3 for name in read(tmp_path / 'out/labeled.txt')]
    assert sorted(numbers) == [0, 0, 1, 1, 2, 2]
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert manifest['balance'] == 'stratified (of at least 1 pixels)' and manifest['seed'] == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(group='('), r'--group \( is no regular expression'),
        (dict(group=r'\d'), r'--group \\d finds nothing in 1 of 4 names, the first is b/x'),
        (dict(group='.*/'), None),
        (dict(group='/'), r'--group / finds one group only \(/\)'),
        (dict(n=1, group='^[ab]'), '--n 1: the smallest of the 2 groups has 2 images'),
        (dict(balance='classes', group='^.'), '--balance and --group exclude each other'),
        (dict(balance='even'), '--balance even is unknown; expected classes or stratified'),
        (dict(img_suffix='_x.jpg'), r'holds no image \(_x.jpg\)'),
    ],
)
def test_groups_that_cannot_be(tmp_path, changes, message):
    images = touch(tmp_path / 'images', ['a/1', 'a/2', 'b/3', 'b/x'])
    arguments = dict(dict(images=images, n=2, seed=0, out=tmp_path / 'out'), **changes)
    if message is None:
        assert len(made_splits.make_split(**arguments).labeled) == 2
        return
    with pytest.raises(SetupError, match=message):
        made_splits.make_split(**arguments)


# ------------------------------------------------------------------------- which protocol lists are


def test_a_list_is_hashed_from_its_file_whatever_its_order(tmp_path):
    for lines in ('a\nb\nc\n', 'c\r\na\nb', 'b\nä\nb\n', '\nx\n\ny\n'):
        path = tmp_path / 'list.txt'
        path.write_bytes(lines.encode())
        assert splits.summarize_file(path) == splits.summarize(splits.read_names(path))


@pytest.fixture
def known(tmp_path, monkeypatch) -> dict:
    """A published protocol 'voc classic 2' of a, b and c, d, e."""
    pair = dict(labeled=splits.summarize('ab'), unlabeled=splits.summarize('cde'))
    source = dict(repository='https://example.org/lists', commit='abc', folder='.')
    pair |= dict(family='u2pl', dataset='voc', source=source)
    monkeypatch.setattr(splits, 'published_protocols', lambda: {'voc classic 2': pair})
    return pair


def lists(folder: Path, labeled='ab', unlabeled='cde', name=None) -> tuple[Path, Path]:
    split_lists.write_split(folder, list(labeled), list(unlabeled), dict(protocol=name or 'own'))
    if name is None:
        (folder / 'manifest.json').unlink()
    return folder / 'labeled.txt', folder / 'unlabeled.txt'


def test_the_published_protocol_that_a_config_names(tmp_path, known):
    labeled, unlabeled = lists(tmp_path / 'lists')
    found = splits.identify('voc classic 2', labeled, [unlabeled])
    expected = {kind: known[kind] for kind in ('labeled', 'unlabeled')}
    assert found == dict(protocol='voc classic 2', **expected)
    # supervised alone
    assert splits.identify('voc classic 2', labeled, [])['unlabeled'] is None


@pytest.mark.parametrize('kind', ['labeled', 'unlabeled'])
def test_lists_of_another_protocol_fail_with_both_hashes(tmp_path, known, kind):
    labeled, unlabeled = lists(tmp_path / 'lists', **{kind: 'xyz'})
    with pytest.raises(SetupError) as caught:
        splits.identify('voc classic 2', labeled, [unlabeled], 'train_dataloader.dataset')
    said = str(caught.value)
    assert known[kind]['sha256'] in said and splits.hash_names('xyz') in said
    assert f'{kind}.txt has 3 names' in said
    assert 'import --family u2pl --dataset voc' in said
    assert 'train_dataloader.dataset.protocol=None' in said


def test_the_manifest_beside_the_list_names_its_protocol(tmp_path, known):
    labeled, unlabeled = lists(tmp_path / 'lists', 'xy', 'z', name='mine 2 seed 0')
    found = splits.identify(None, labeled, [unlabeled])
    assert found['protocol'] == 'mine 2 seed 0'
    assert found['unlabeled'] == splits.summarize('z')
    assert splits.identify('mine 2 seed 0', labeled, [unlabeled]) == found
    labeled.write_text('x\nw\n')
    with pytest.raises(SetupError) as caught:
        splits.identify(None, labeled, [unlabeled])
    assert splits.hash_names('xy') in str(caught.value)
    assert splits.hash_names('xw') in str(caught.value)
    assert 'remove manifest.json' in str(caught.value)


def test_other_unlabelled_images_are_another_protocol(tmp_path):
    labeled, _ = lists(tmp_path / 'lists', 'xy', 'z', name='mine 2 seed 0')
    other, _ = lists(tmp_path / 'other', 'uv', '')
    for pools in ([other], [None], [None, other]):
        found = splits.identify(None, labeled, pools)
        assert found['protocol'] == 'mine 2 seed 0, other unlabelled images'


def test_protocols_that_are_none(tmp_path, known):
    labeled, unlabeled = lists(tmp_path / 'lists')
    assert splits.identify(None, labeled, [unlabeled])['protocol'] is None
    assert splits.identify(None, ['b', 'a'], [None])['labeled'] == splits.summarize('ab')
    with pytest.raises(SetupError, match="'voc clasic 2', which is neither .*'voc classic 2'"):
        splits.identify('voc clasic 2', labeled, [unlabeled])
    with pytest.raises(SetupError, match=r'the unlabelled images are not one list \(2 sources\)'):
        splits.identify('voc classic 2', labeled, [unlabeled, None])


# ---------------------------------------------------------------------------- splits by their names


@pytest.mark.parametrize(
    ('split', 'folder'),
    [
        ('voc classic 732', 'data/splits/u2pl/voc/732'),
        ('voc classic (cps) 732', 'data/splits/cps/voc/732'),
        ('voc blender (u2pl) 662', 'data/splits/u2pl/voc/662'),
        ('voc blender (cps) 662', 'data/splits/cps/voc/662'),
        ('voc cct 1000', 'data/splits/cct/voc/1000'),
        ('cityscapes cps 372', 'data/splits/cps/cityscapes/372'),
        ('cityscapes u2pl 372', 'data/splits/u2pl/cityscapes/372'),
        ('camvid 46 seed0', 'configs/splits/camvid/46/seed0'),
        ('camvid 46 seed 2', 'configs/splits/camvid/46/seed2'),  # as its manifest calls it
        ('camvid all', 'configs/splits/camvid/all'),
        ('sunrgbd 1500', 'data/splits/sunrgbd/1500'),
        ('configs/splits/camvid/12/seed1', 'configs/splits/camvid/12/seed1'),
    ],
)
def test_folders_of_named_splits(monkeypatch, split, folder):
    monkeypatch.chdir(ROOT)
    assert splits.split_folder(split) == Path(folder)
    if folder.startswith('configs'):
        unlabeled = not folder.endswith('all')
        labeled, rest = splits.find_split(split, unlabeled=unlabeled)
        assert labeled.is_file() and rest.is_file() == unlabeled


def test_lists_of_your_own_by_name_and_by_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = lists(Path('data/splits/mine/4'))
    assert splits.find_split('mine 4') == made
    assert splits.find_split('data/splits/mine/4') == made
    assert splits.find_split(Path('data/splits/mine/4')) == made
    # drawn lists go before committed ones of the same name
    lists(Path('configs/splits/mine/4'))
    assert splits.find_split('mine 4') == made
    assert splits.find_split(str(tmp_path / 'configs/splits/mine/4'))[0].parent.is_absolute()


@pytest.mark.parametrize(
    ('split', 'words'),
    [
        (
            'voc classic 732',
            "dataset.split is 'voc classic 732', but list data/splits/u2pl/voc/732/labeled.txt does not "
            'exist; mmseg-semi splits import --family u2pl --dataset voc',
        ),
        ('voc clasic 732', "labeled.txt does not exist; did you mean 'voc classic 732'?"),
        ('lists/of/mine', 'list lists/of/mine/labeled.txt does not exist; name a published'),
        ('sea 4', 'list data/splits/sea/4/labeled.txt does not exist; name a published protocol'),
        (
            'vocclassic732',
            '--cfg-options removes the blanks of a name: give it the folder, data/splits/u2pl/voc/732',
        ),
        ('camvid46seed1', 'give it the folder, COMMITTED/camvid/46/seed1'),
        ('', "dataset.split='', expected the name of a split"),
        (732, 'dataset.split=732, expected the name of a split'),
    ],
)
def test_splits_that_do_not_exist(tmp_path, monkeypatch, split, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError) as caught:
        splits.find_split(split)
    assert words.replace('COMMITTED', splits.COMMITTED[-1].as_posix()) in str(caught.value)


def test_a_split_without_unlabelled_images(tmp_path):
    labeled, _ = lists(tmp_path / 'all', 'ab', '')
    assert splits.find_split(str(tmp_path / 'all'), unlabeled=False)[0] == labeled
    with pytest.raises(SetupError, match='unlabeled.txt does not exist; .*set unlabeled=None'):
        splits.find_split(str(tmp_path / 'all'))


@pytest.mark.parametrize(
    ('images', 'batch', 'gpus', 'drop_last', 'expected'),
    [
        (9850, 4, 4, True, 615),  # DDFP's log of 732
        (10490, 4, 4, True, 655),  # of 92
        (2603, 2, 4, True, 325),
        (2603, 2, 8, True, 163),  # DGCL's Cityscapes
        (9118, 10, 1, False, 912),  # CCT
        (9118, 10, 1, True, 911),
    ],
)
def test_length_of_an_epoch(images, batch, gpus, drop_last, expected):
    assert splits.epoch_length(images, batch, gpus, drop_last) == expected


def test_a_row_trains_as_many_epochs_as_its_base():
    base = dict(
        model=dict(iters_per_epoch=615),
        batch_size_unlabeled=4,
        gpus=4,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=80 * 615, val_interval=4 * 615),
        param_scheduler=[dict(type='PolyLR', begin=615, end=80 * 615, by_epoch=False)],
    )
    assert splits.on_split(base, split='voc classic 92') == dict(
        model=dict(iters_per_epoch=655),
        train_dataloader=dict(dataset=dict(split='voc classic 92')),
        train_cfg=dict(max_iters=80 * 655, val_interval=4 * 655),
        param_scheduler=[dict(type='PolyLR', begin=655, end=80 * 655, by_epoch=False)],
    )
    with pytest.raises(SetupError, match="split='voc clasic 92'.*did you mean 'voc classic 92'"):
        splits.on_split(base, split='voc clasic 92')
    base['train_cfg']['val_interval'] = 1000
    with pytest.raises(
        SetupError, match='1000 iterations, which is no multiple of its epoch of 615'
    ):
        splits.on_split(base, split='voc classic 92')


# ----------------------------------------------------------------------------- the lists we ship


def test_shipped_configs_name_the_protocol_of_their_lists():
    published = splits.published_protocols()
    named = 0
    for path in sorted((ROOT / 'configs').glob('*/*.py')):
        published_on = tuple(f'{name}_' for name in splits.DATASETS)
        if path.parent.name.startswith('_') or not path.name.startswith(published_on):
            continue
        dataset = shipped(path).train_dataloader.dataset
        pair = published[dataset.split]
        n = dataset.split.rpartition(' ')[2]
        folder = f'data/splits/{pair["family"]}/{pair["dataset"]}/{n}'
        assert splits.split_folder(dataset.split) == Path(folder), path
        assert path.stem.split('_')[0] == pair['dataset'] and n in path.stem.split('_'), path
        assert 'ann_file' not in dataset.labeled, path
        overlaps = pair['labeled']['count'] + pair['unlabeled']['count'] == 1465
        if overlaps and dataset.get('unlabeled'):
            assert dataset.allow_overlap, path
        else:
            assert not dataset.get('allow_overlap'), path
        named += 1
    assert named > 100


@pytest.mark.parametrize('path', sorted(LISTS.rglob('manifest.json')), ids=lambda p: str(p.parent))
def test_committed_lists_match_their_manifests(path):
    manifest = json.loads(path.read_text())
    labeled = read(path.with_name('labeled.txt'))
    assert manifest['labeled'] == splits.summarize(labeled)
    names = set(labeled)
    if 'unlabeled' in manifest:
        unlabeled = read(path.with_name('unlabeled.txt'))
        assert manifest['unlabeled'] == splits.summarize(unlabeled)
        assert not names & set(unlabeled)
        names |= set(unlabeled)
        assert path.parts[-3:-1] == (str(len(labeled)), f'seed{manifest["seed"]}')
    assert manifest['images'] == splits.summarize(sorted(names)) and len(names) == 367


def test_committed_lists_are_reproduced(tmp_path):
    images = touch(tmp_path / 'images', read(LISTS / 'all/labeled.txt'))
    for n in (46, 92, 184):
        for seed in (0, 1, 2):
            made = made_splits.make_split(images, n, seed, tmp_path / 'out', name='camvid')
            folder = LISTS / f'{n}/seed{seed}'
            assert made.labeled == read(folder / 'labeled.txt')
            manifest = (tmp_path / 'out/manifest.json').read_text()
            assert manifest == (folder / 'manifest.json').read_text()


@pytest.mark.skipif(not CAMVID.is_dir(), reason='data/camvid is absent')
def test_committed_lists_of_twelve_show_every_class(tmp_path):
    images, masks = CAMVID / 'images/train', CAMVID / 'labels/train'
    for seed in (0, 1, 2):
        labeled = read(LISTS / f'12/seed{seed}/labeled.txt')
        shown = set()
        for name in labeled:
            counts = np.bincount(np.asarray(Image.open(masks / f'{name}.png')).ravel())
            shown |= set(np.flatnonzero(counts >= 500))
        assert shown >= set(range(11))
    made = made_splits.make_split(
        images, 12, 2, tmp_path, masks, 'classes', min_pixels=500, name='camvid'
    )
    assert made.labeled == labeled
