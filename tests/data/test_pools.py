import json
import os
import pickle
import tarfile
from itertools import islice

import fsspec
import numpy as np
import pytest
import torch
from miniatures import CLASSES, load_tool, write_image
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from mmseg_semi.data import pools
from mmseg_semi.data.names import ListedPaths, NameList, contains, hash_paths, repeated
from mmseg_semi.data.pools import ImageList, ShardedImages
from mmseg_semi.data.samplers import MultiSourceSampler
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import shards

# ------------------------------------------------------------------------------------ names in bulk


@pytest.fixture
def small_chunks(monkeypatch):
    from mmseg_semi.data import names

    monkeypatch.setattr(names, '_CHUNK', 50)


@pytest.mark.parametrize('newline', ['\n', '\r\n'])
@pytest.mark.parametrize('last', ['', '\n'])
@pytest.mark.parametrize('count', [0, 1, 63, 64, 65, 300])
def test_lines_by_number(tmp_path, small_chunks, newline, last, count):
    lines = [f'folder {i % 7}/näme_{i}' for i in range(count)]
    text = (newline.join(lines) + (last and newline)) if count else ''
    path = tmp_path / 'list.txt'
    path.write_bytes(text.encode())
    for names in (
        NameList(path),
        NameList(text.encode()),
        pickle.loads(pickle.dumps(NameList(path))),
    ):
        assert list(names) == lines and len(names) == count
        assert [line.decode() for chunk in names.chunks() for line in chunk] == lines
        with pytest.raises(IndexError):
            names[count]


def test_a_list_is_neither_copied_nor_made_of_python_strings(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text(''.join(f'folder/image_{i:07d}\n' for i in range(100_000)))
    names = NameList(path)
    paths = pickle.loads(pickle.dumps(ListedPaths(names, '/data', '.jpg')))
    assert paths[99_999] == '/data/folder/image_0099999.jpg'
    # what a worker that is not forked is sent: one place in 64 lines, not two million characters
    assert len(pickle.dumps(names)) < 100_000 / 64 * 8 + 1000
    assert paths.hashes().dtype == np.int64 and paths.hashes().shape == (100_000,)


def test_paths_are_hashed_as_they_are_normalised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = ['a', 'b/c', './a', 'b//c', 'b/../a', '.a', str(tmp_path / 'pool' / 'a')]
    paths = ListedPaths(NameList('\n'.join(odd).encode()), 'pool', '.png')
    expected = [os.path.abspath(os.path.join('pool', name + '.png')) for name in odd]
    assert [path.decode() for chunk in paths.chunks() for path in chunk] == expected
    assert np.array_equal(paths.hashes(), hash_paths(expected))
    assert np.array_equal(hash_paths(list(paths)), paths.hashes())


def test_sets_of_hashes():
    values = np.array([5, 3, 9, 3, 7, 5, 5])
    assert repeated(values).tolist() == [0, 1, 3, 5, 6]
    assert repeated(values[:3]).tolist() == []
    assert contains(np.array([3, 7]), values).tolist() == [False, True, False, True, True, 0, 0]
    assert not contains(np.array([], int), values).any()


def test_missing_files_are_found_by_listing_folders(tmp_path):
    (tmp_path / 'a').mkdir()
    for name in ('a/1', 'a/3', '2'):
        (tmp_path / f'{name}.jpg').touch()
    names = NameList(b'a/1\na/2\na/3\n2\nnowhere/1')
    paths = ListedPaths(names, str(tmp_path), '.jpg')
    assert paths.missing().tolist() == [1, 4]


def test_unlabelled_lists_are_held_in_bulk_and_read_as_mmseg_reads_them(tree):
    tree.write_list('unlabeled', ['b5', 'b0', 'b3'])
    for ann_file in ('unlabeled.txt', ''):
        cfg = tree.source('unlabeled', ann_file=ann_file)
        theirs = DATASETS.build(cfg)
        dataset = DATASETS.build(tree.dataset(unlabeled=cfg, allow_overlap=True))
        ours = dataset.datasets[1]
        assert type(ours) is ImageList and ours.data_list == []
        assert len(ours) == len(theirs)
        for i in range(len(ours)):
            assert ours.get_data_info(i) == theirs.get_data_info(i)
    # other ways of reading are left alone
    cfg = tree.source('unlabeled', indices=2)
    assert type(DATASETS.build(tree.dataset(unlabeled=cfg)).datasets[1]) is not ImageList


# ------------------------------------------------------------------------------------------- shards


@pytest.fixture
def pool(tree):
    """13 images in shards of 4."""
    for i in range(13):
        write_image(tree.root / 'more' / f'part{i % 2}' / f'c{i}.png', 60 + i)
    call('make', '--images', tree.root / 'more', '--out', tree.root / 'pool', '--per-shard', 4)
    return tree.root / 'pool'


def call(*arguments):
    load_tool('shards').main([str(argument) for argument in arguments])


def source(tree, pool, **changes) -> dict:
    cfg = tree.source('unlabeled')
    return dict(type='ShardedImages', shards=str(pool), pipeline=cfg['pipeline'], **changes)


def test_shards_hold_the_files_bit_for_bit(tree, pool):
    tars = sorted(pool.glob('*.tar'))
    assert [path.name for path in tars] == [f'shard-00000{i}.tar' for i in range(4)]
    contents = {}
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                contents[member.name] = tar.extractfile(member).read()
    assert len(contents) == 13
    for name, content in contents.items():
        assert (tree.root / 'more' / name).read_bytes() == content
    assert list(contents) != sorted(contents)  # shuffled
    dataset = ShardedImages(str(pool), [])
    assert dataset.shard_sizes.tolist() == [4, 4, 4, 1] and len(dataset) == 13
    for i, name in enumerate(contents):
        info = dataset.get_data_info(i)
        assert info['img_path'].endswith(f'.tar/{name}') and dataset.paths[i] == info['img_path']
        assert pools.read_bytes(*info['img_span']) == contents[name]


def test_packing_is_continued_and_repeats_itself(tree, pool, monkeypatch, capsys):
    first = {path.name: path.read_bytes() for path in pool.iterdir()}
    arguments = ['make', '--images', tree.root / 'more', '--out', pool, '--per-shard', 4]
    for name in ('shard-000001.txt', 'shard-000003.txt', 'shard-000003.tar'):
        (pool / name).unlink()  # interrupted while it wrote shard 1, and before shard 3
    (pool / '.shard-000003.tar.7.draft').write_bytes(b'half')
    kept = (pool / 'shard-000002.tar').stat().st_mtime_ns
    call(*arguments)
    assert {path.name: path.read_bytes() for path in pool.iterdir()} == first
    assert (pool / 'shard-000002.tar').stat().st_mtime_ns == kept
    write_image(tree.root / 'more' / 'd.png', 1)
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code == 2
    assert 'holds shards with images=13, not 14' in capsys.readouterr().err


def test_packing_by_a_list(tree, capsys):
    arguments = ['make', '--images', tree.root / 'images', '--list', tree.root / 'unlabeled.txt']
    call(*arguments, '--out', tree.root / 'pool', '--suffix', '.png', '--seed', -1)
    names = [path.rpartition('/')[2] for path in ShardedImages(str(tree.root / 'pool'), []).paths]
    assert names == [f'b{i}.png' for i in range(6)]
    with pytest.raises(SystemExit):
        call(*arguments, '--out', tree.root / 'other')
    assert 'images/b' in (err := capsys.readouterr().err) and '(--suffix .jpg)' in err


def test_training_mixes_shards_with_folders(tree, pool):
    cfg = tree.loader(
        dataset=tree.dataset(unlabeled=[tree.source('unlabeled'), source(tree, pool)])
    )
    loader = Runner.build_dataloader(cfg, seed=0)
    assert loader.dataset.source_sizes == [4, 19]
    paths = [
        sample.img_path
        for batch in islice(loader, 19)
        for sample in batch['data_samples']['weak']
        if sample is not None
    ]
    assert sorted(paths[:19]) == sorted(
        [str(tree.image(f'b{i}')) for i in range(6)] + list(loader.dataset.datasets[2].paths)
    )


@pytest.mark.parametrize('shuffle', [True, 'shards'])
def test_shards_are_resumed_exactly_for_any_number_of_workers(tree, pool, shuffle):
    cfg = tree.loader(dataset=tree.dataset(unlabeled=source(tree, pool)))
    cfg['sampler'] |= dict(shuffle=shuffle, shards_at_once=2)
    through = list(islice(Runner.build_dataloader(cfg, seed=4), 12))
    resumed = Runner.build_dataloader({**cfg, 'num_workers': 2, 'persistent_workers': True}, seed=4)
    resumed.sampler.skip(9 * 3)
    for a, b in zip(through[9:], islice(resumed, 3), strict=True):
        for view in ('weak', 'strong'):
            assert all(map(torch.equal, a['inputs'][view][1:], b['inputs'][view][1:]))


class Sources:
    def __init__(self, labeled, sizes):
        self.source_sizes = [labeled, sum(sizes)]
        self.source_shards = [None, np.array(sizes)]


def images(sampler, count):
    return [key.index for key in islice(sampler, 2 * count)][1::2]


def test_order_by_shards_stays_with_a_few_of_them():
    sizes = [5, 9, 1, 7, 6, 4, 8, 3]
    ends = np.cumsum(sizes)
    sampler = MultiSourceSampler(Sources(3, sizes), 2, [1, 1], 'shards', seed=0, shards_at_once=3)
    orders = set()
    stream = images(sampler, 4 * 43)
    for number in range(4):
        order = [i - 3 for i in stream[number * 43 : (number + 1) * 43]]
        assert sorted(order) == list(range(43))
        shard = np.searchsorted(ends, order, side='right')
        start, groups = 0, []
        while start < 43:
            group = list(dict.fromkeys(shard[start:].tolist()))[:3]
            inside = sum(sizes[s] for s in group)
            assert set(shard[start : start + inside]) == set(group)
            groups.append(tuple(sorted(group)))
            start += inside
        assert [len(group) for group in groups] == [3, 3, 2]
        # within a group images are mixed
        assert order != sorted(order, key=lambda i: int(np.searchsorted(ends, i, side='right')))
        orders.add(tuple(groups))
    assert len(orders) == 4
    sampler.skip(2 * 100)
    assert images(sampler, 30) == stream[100:130]


def test_ranks_share_the_order_by_shards(monkeypatch):
    from mmseg_semi.data import samplers

    def make(batch_size):
        data = Sources(3, [5, 9, 1, 7])
        return MultiSourceSampler(data, batch_size, [1, 1], 'shards', seed=0, shards_at_once=2)

    alone = [key.index for key in islice(make(4), 4 * 30)]
    unlabeled = [i for i in alone if i >= 3]
    parts = []
    for rank in range(2):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 2))
        parts.append(images(make(2), 30))
    assert [i for pair in zip(*parts, strict=True) for i in pair] == unlabeled


def test_shards_elsewhere_are_read_through_fsspec(pool):
    memory = fsspec.filesystem('memory')
    for path in pool.iterdir():
        memory.pipe(f'/pool/{path.name}', path.read_bytes())
    here = ShardedImages(str(pool), [])
    for place in ('memory://pool', [f'memory://pool/shard-00000{i}.tar' for i in range(4)]):
        there = ShardedImages(place, [])
        assert there.paths.shards[0].endswith('pool/shard-000000.tar')
        assert len(there) == 13
        for i in range(13):
            span = there.get_data_info(i)['img_span']
            assert pools.read_bytes(*span) == pools.read_bytes(*here.get_data_info(i)['img_span'])
        assert not len(there.paths.missing())


def test_few_indexes_are_open_at_a_time(pool, monkeypatch):
    monkeypatch.setattr(pools, '_OPEN_INDEXES', 2)
    dataset = ShardedImages(str(pool), [])
    assert len({dataset.paths[i] for i in range(13)}) == 13
    assert len(dataset.paths._indexes) == 2
    assert len(pickle.loads(pickle.dumps(dataset)).paths._indexes) == 0


# ------------------------------------------------------------------------------------ what is wrong


def refused(tree, message, **changes):
    with pytest.raises(SetupError, match=message) as caught:
        DATASETS.build(tree.dataset(**changes))
    assert '\n' not in str(caught.value)


def test_shards_that_are_not_there_or_not_whole(tree, pool):
    refused(tree, 'nowhere gives no tar file', unlabeled=source(tree, tree.root / 'nowhere'))
    twice = [str(pool), str(pool / 'shard-000001.tar')]
    refused(
        tree,
        'names the shard .*shard-000001.tar twice',
        unlabeled=source(tree, pool) | dict(shards=twice),
    )
    refused(
        tree,
        'holds images without masks',
        labeled=source(tree, pool, metainfo=dict(classes=CLASSES)),
    )
    content = (pool / 'shard-000002.tar').read_bytes()
    (pool / 'shard-000002.tar').write_bytes(content[:2000])
    refused(tree, r'shard-000002.tar is cut short, \S+ lies beyond', unlabeled=source(tree, pool))
    (pool / 'shard-000002.txt').unlink()
    refused(
        tree, 'has no index shard-000002.txt .* mmseg-semi shards index', unlabeled=source(tree, pool)
    )


def test_labelled_images_inside_a_pool_are_found_by_content(tree):
    """Even though the pool's files lie elsewhere; a mere namesake is none."""
    call('make', '--images', tree.root / 'images', '--out', tree.root / 'pool', '--per-shard', 4)
    refused(
        tree,
        r'names .*shard-00000\d.tar/a\d.png.*\(4 of 10',
        unlabeled=source(tree, tree.root / 'pool'),
    )
    build = DATASETS.build(
        tree.dataset(unlabeled=source(tree, tree.root / 'pool'), allow_overlap=True)
    )
    assert build.source_sizes == [4, 10]
    for i in range(4):
        write_image(tree.image(f'a{i}'), 90 + i)
    assert DATASETS.build(tree.dataset(unlabeled=source(tree, tree.root / 'pool')))


def test_damaged_image_in_a_shard_is_named(tree, pool):
    dataset = DATASETS.build(tree.dataset(unlabeled=source(tree, pool)))
    info = dataset.get_data_info(6)
    shard, start, stop = info['img_span']
    with open(shard, 'r+b') as file:
        file.seek(start)
        file.write(b'x' * (stop - start))
    with pytest.raises(SetupError, match=rf'image {info["img_path"]} .* cannot be decoded'):
        dataset[6]


# ----------------------------------------------------------------------------- shards from elsewhere


def write_tar(path, members: dict):
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, shards._Content(content))


def test_foreign_shards_are_indexed(tree, tmp_path, capsys):
    """With long names, other members, and masks that must not be opened."""
    folder = tmp_path / 'foreign'
    folder.mkdir()
    image = tree.image('b0').read_bytes()
    long = 'x' * 180
    write_tar(
        folder / '0.tar',
        {f'{long}.png': image, f'{long}.json': b'{}', 'y.cls': b'1', 'y.png': image + b'1'},
    )
    call('index', folder)
    assert (folder / '0.txt').read_text().split()[2::3] == [f'{long}.png', 'y.png']
    dataset = ShardedImages(str(folder), [])
    assert pools.read_bytes(*dataset.get_data_info(0)['img_span']) == image
    write_tar(folder / '1.tar', {'z.png': image, 'z.seg.png': image})
    for message, arguments in (
        ('z.png and z.seg.png, two images with one key', [folder]),
        ('holds no image', [folder / '1.tar', '--suffixes', '.webp']),
    ):
        with pytest.raises(SystemExit):
            call('index', *arguments)
        assert message in capsys.readouterr().err
    (folder / '1.tar').write_bytes((folder / '0.tar').read_bytes()[:1100])
    with pytest.raises(SystemExit):
        call('index', folder / '1.tar')
    assert 'is no complete tar file' in capsys.readouterr().err


def test_manifest_tells_what_was_packed(pool, tree):
    manifest = json.loads((pool / 'pool.json').read_text())
    assert manifest['images'] == 13 and manifest['per_shard'] == 4 and manifest['seed'] == 0
    assert manifest['source'] == str(tree.root / 'more')
