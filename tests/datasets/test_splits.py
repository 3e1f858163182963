import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from miniatures import ROOT, load_tool, write_mask
from PIL import Image

from mmseg_semi.datasets import splits
from mmseg_semi.errors import SetupError

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
    ],
)
def test_every_line_format_in_use(tmp_path, line, dataset, name):
    (tmp_path / 'list.txt').write_text(line)
    assert splits.read_list(tmp_path / 'list.txt', dataset) == [name]


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
    assert splits.read_list(tmp_path / 'list.txt', 'voc') == ['2007_000001', '2007_000000']


def test_lines_that_name_nothing_are_refused(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('2007_000001\nulm_000079_000019\n')
    with pytest.raises(
        SetupError, match="list.txt, line 2: 'ulm_000079_000019' names no voc image"
    ):
        splits.read_list(path, 'voc')
    path.write_text('2007_000001.jpg 2007_000002.png\n')
    with pytest.raises(SetupError, match='line 1: image and mask differ'):
        splits.read_list(path, 'voc')


def test_hash_is_of_the_set_of_names():
    expected = hashlib.sha256(b'a\nb\nc').hexdigest()
    assert splits.hash_names(['c', 'a', 'b']) == expected
    assert splits.hash_names(['a', 'b']) != expected


def test_problems_are_named():
    assert splits.find_problems(['a', 'b'], ['c'], ['d']) == []
    found = splits.find_problems(['a', 'b', 'b'], ['c', 'a'], ['c', 'x'])
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
    return root


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_family_is_found_by_its_hash(checkout, tmp_path):
    for family, labeled, unlabeled in (
        ('u2pl', VOC[:4], VOC[4:10]),
        ('cps', VOC[2:6], [*VOC[5:9], VOC[10]]),
    ):
        found = splits.import_splits(family, 'voc', checkout, tmp_path / 'out')
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
    splits.import_splits('cps', 'cityscapes', checkout, tmp_path / 'out')
    assert read(tmp_path / 'out/cps/cityscapes/3/labeled.txt') == CITIES[:3]
    assert not (tmp_path / 'out/cps/cityscapes/val.txt').exists()  # the checkout has none


@pytest.mark.parametrize('everything', [False, True])
def test_cct_unlabelled_is_the_rest(checkout, tmp_path, everything):
    if everything:  # goes before the lists of unlabelled images
        write(checkout / 'train_aug.txt', VOC[:10])
        (checkout / 'voc_splits/2_train_unsupervised.txt').unlink()
    splits.import_splits('cct', 'voc', checkout, tmp_path / 'out')
    assert read(tmp_path / 'out/cct/voc/2/labeled.txt') == VOC[:2]
    assert read(tmp_path / 'out/cct/voc/2/unlabeled.txt') == VOC[2:10]


def run(*argv) -> int:
    return load_tool('splits').main([str(a) for a in argv])


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
    assert manifest['verified'] is False and manifest['source'] is None
    # two candidates and nothing to tell them apart
    assert run(*argv, '--no-verify', '--source', checkout) == 2
    assert 'lists for the same number' in capsys.readouterr().err


def test_sources_without_lists_are_refused(checkout, tmp_path):
    with pytest.raises(SetupError, match='nowhere is no folder'):
        splits.import_splits('u2pl', 'voc', tmp_path / 'nowhere', tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SetupError, match='no voc lists of family u2pl .*https://example.org/lists'):
        splits.import_splits('u2pl', 'voc', tmp_path / 'empty', tmp_path / 'out')
    with pytest.raises(SetupError, match='--family u2pl --dataset cityscapes is unknown'):
        splits.import_splits('u2pl', 'cityscapes', checkout, tmp_path / 'out')
    (checkout / 'splits/pascal/4/unlabeled.txt').unlink()
    (checkout / 'CPS/pascal_voc/4/unlabeled.txt').unlink()
    with pytest.raises(SetupError, match='has no unlabelled counterpart'):
        splits.import_splits('u2pl', 'voc', checkout, tmp_path / 'out')


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
    }
    for (family, dataset), numbers in counts.items():
        lists = families[family]['datasets'][dataset]
        for n in numbers:
            pair = lists['splits'][str(n)]
            assert pair['labeled']['count'] == n
            whole = 10582 if dataset == 'voc' else 2975
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
    found = splits.import_splits(family, dataset, REAL, tmp_path)
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
        (n, seed): splits.make_split(images, n, seed, tmp_path / f'{n}-{seed}')
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
    again = splits.make_split(images, 5, 0, tmp_path / 'again')
    assert again.labeled == made[5, 0].labeled


def test_labelling_everything_leaves_no_unlabelled_list(tmp_path):
    images = touch(tmp_path / 'images', 'abc')
    splits.make_split(images, 3, 0, tmp_path / 'out')
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
        split = splits.make_split(images, n, seed, out, masks, 'classes', **kwargs)
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
    plain = splits.make_split(images, 5, 0, tmp_path / 'plain')
    balanced = splits.make_split(images, 5, 0, tmp_path / 'b', tmp_path / 'masks', 'classes')
    assert balanced.labeled == plain.labeled


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(n=0), '--n 0 is out of range: .* holds 3 images'),
        (dict(n=4), '--n 4 is out of range'),
        (dict(seed=-1), '--seed -1 is negative'),
        (dict(images='nowhere'), 'nowhere is no folder'),
        (dict(images='empty'), 'empty holds no image'),
        (dict(images='double'), 'double holds a with several endings'),
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
        splits.make_split(**arguments)
    assert not (tmp_path / 'out').exists()


def test_make_from_the_command_line(tmp_path, capsys):
    images = touch(tmp_path / 'images', 'abcdef')
    assert run('make', '--images', images, '--n', 2, '--seed', 1, '--out', tmp_path / 'out') == 0
    assert '2 labelled, 4 unlabelled' in capsys.readouterr().out
    assert run('make', '--images', images, '--n', 9, '--out', tmp_path / 'out') == 2
    assert capsys.readouterr().err.startswith('error: --n 9 is out of range')


# ----------------------------------------------------------------------------- the lists we ship


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
            made = splits.make_split(images, n, seed, tmp_path / 'out', name='camvid')
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
    made = splits.make_split(
        images, 12, 2, tmp_path, masks, 'classes', min_pixels=500, name='camvid'
    )
    assert made.labeled == labeled
