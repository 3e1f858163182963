import os
import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import CLASSES, write_image, write_mask
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_semi.data import semi_dataset, splits
from mmseg_semi.data.samplers import SampleKey
from mmseg_semi.data.semi_dataset import SemiDataset
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import split_lists


def build(tree, **changes) -> SemiDataset:
    return DATASETS.build(tree.dataset(**changes))


def tensors(sample) -> list[torch.Tensor]:
    """All images, labels and validity maps of a sample."""
    out = [img for img in sample['inputs'].values() if img is not None]
    for data in sample['data_samples'].values():
        if data is not None:
            out.append(data.gt_sem_seg.data if 'gt_sem_seg' in data else data.valid_map.data)
    return out


def equal(a, b) -> bool:
    pairs = zip(tensors(a), tensors(b), strict=True)
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in pairs)


def paths(dataset) -> list[str]:
    return [os.path.basename(dataset.get_data_info(i)['img_path']) for i in range(len(dataset))]


# ------------------------------------------------------------------------------------ composition


def test_labelled_images_come_first(tree):
    dataset = build(tree)
    assert dataset.source_sizes == [4, 6]
    assert paths(dataset) == [f'a{i}.png' for i in range(4)] + [f'b{i}.png' for i in range(6)]
    assert dataset.metainfo['classes'] == CLASSES
    labeled, unlabeled = dataset[0], dataset[4]
    assert labeled['inputs']['weak'] is None and labeled['inputs']['labeled'] is not None
    assert unlabeled['inputs']['labeled'] is None and unlabeled['inputs']['weak'] is not None


def test_labelled_images_alone(tree):
    dataset = build(tree, unlabeled=None)
    assert dataset.source_sizes == [4]
    loader = Runner.build_dataloader(
        tree.loader(
            batch_size=2,
            sampler=dict(type='MultiSourceSampler', batch_size=2, source_ratio=[1]),
            dataset=tree.dataset(unlabeled=None),
        ),
        seed=0,
    )
    batch = next(iter(loader))
    assert all(img.shape == (3, 32, 32) for img in batch['inputs']['labeled'])


def test_several_pools_are_one_source(tree):
    extra = tree.root / 'more'
    for i in range(3):
        write_image(extra / f'c{i}.png', 50 + i)
    pool = tree.source('unlabeled', data_prefix=dict(img_path='more'), ann_file='')
    dataset = build(tree, unlabeled=[tree.source('unlabeled'), pool])
    assert dataset.source_sizes == [4, 9]
    assert paths(dataset)[-3:] == ['c0.png', 'c1.png', 'c2.png']
    # a pool without classes of its own is fine
    assert build(tree, unlabeled=[dict(pool, metainfo=None)]).source_sizes == [4, 3]


def test_separate_pools_are_sources_of_their_own(tree):
    extra = tree.root / 'more'
    for i in range(3):
        write_image(extra / f'c{i}.png', 50 + i)
    pool = tree.source('unlabeled', data_prefix=dict(img_path='more'), ann_file='')
    dataset = build(tree, unlabeled=[tree.source('unlabeled'), pool], separate=True)
    assert dataset.source_sizes == [4, 6, 3] and dataset.source_shards == [None] * 3
    # what stands in for an unreadable image comes from the same source
    for index, source in ((0, range(4)), (3, range(4)), (4, range(4, 10)), (12, range(10, 13))):
        found = {dataset._replacement(index, 5, attempt) for attempt in range(60)}
        assert found == set(source)


def test_a_transform_may_check_the_paths_of_its_pool(tree, monkeypatch):
    seen = []
    monkeypatch.setattr(
        'mmseg_semi.data.transforms.InitValidMap.check_paths',
        lambda self, paths, key: seen.append((len(paths), key)),
        raising=False,
    )
    build(tree)
    assert seen == [(6, 'train_dataloader.dataset.unlabeled')]


def test_lists_are_found_from_the_working_directory_and_under_the_data_root(tree, monkeypatch):
    monkeypatch.chdir(tree.root.parent)
    (tree.root.parent / 'lists').mkdir()
    (tree.root.parent / 'lists' / 'labeled.txt').write_text('a1\n')
    cfg = tree.source('labeled', ann_file='lists/labeled.txt', data_root='data')
    before = dict(cfg)
    dataset = build(tree, labeled=cfg, unlabeled=tree.source('unlabeled', data_root='data/'))
    assert dataset.source_sizes == [1, 6]
    assert cfg == before
    (tree.root.parent / 'unlabeled.txt').write_text('b0\nb1\n')  # goes before data/unlabeled.txt
    assert build(tree, unlabeled=tree.source('unlabeled', data_root='data')).source_sizes == [4, 2]


def test_lazy_init_checks_later(tree):
    tree.image('b3').unlink()
    dataset = build(tree, lazy_init=True)
    with pytest.raises(SetupError, match='b3'):
        dataset.full_init()


def test_lists_are_named_and_hashed(tree, monkeypatch):
    said = []
    monkeypatch.setattr(semi_dataset, 'print_log', lambda text, **_: said.append(text))
    dataset = build(tree)
    assert dataset.protocol == dict(
        protocol=None, labeled=splits.summarize(tree.labeled), unlabeled=None
    )
    assert 'lists of no named protocol; labelled SHA-256' in said[-1]
    lists = tree.root / 'lists'
    split_lists.write_split(lists, tree.labeled, tree.unlabeled, dict(protocol='mine 4'))
    sources = {
        kind: tree.source(kind, ann_file=f'lists/{kind}.txt') for kind in ('labeled', 'unlabeled')
    }
    assert build(tree, **sources).protocol['protocol'] == 'mine 4'
    expected = splits.hash_names(tree.labeled), splits.hash_names(tree.unlabeled)
    assert said[-1] == (
        "SemiDataset: protocol 'mine 4'; labelled SHA-256 {}, unlabelled SHA-256 {}"
    ).format(*expected)
    (lists / 'unlabeled.txt').write_text('b0\n')
    refused(tree, f'whose unlabelled list .*{expected[1]}, but .*unlabeled.txt has 1', **sources)
    refused(tree, "protocol is 'voc classic 732'.* has 4 names", protocol='voc classic 732')


def by_split(tree, *kinds: str) -> dict:
    """Sources without lists, for a data set with a split."""
    sources = {kind: tree.source(kind) for kind in kinds or ('labeled', 'unlabeled')}
    for source in sources.values():
        del source['ann_file']
    return sources


def test_a_split_gives_both_lists(tree):
    split_lists.write_split(
        Path('data/splits/mine/4/seed0'), ['a0', 'a2'], ['b1'], dict(protocol='mine')
    )
    for split in ('mine 4 seed0', 'mine 4 seed 0', 'data/splits/mine/4/seed0'):
        dataset = build(tree, split=split, **by_split(tree))
        assert paths(dataset) == ['a0.png', 'a2.png', 'b1.png']
        assert dataset.protocol['protocol'] == 'mine'
    assert paths(
        build(tree, split='mine 4 seed0', **by_split(tree, 'labeled'), unlabeled=None)
    ) == [
        'a0.png',
        'a2.png',
    ]
    Path('data/splits/mine/4/seed0/labeled.txt').write_text('a1\n')
    refused(tree, "manifest.json is 'mine', whose labelled", split='mine 4 seed0', **by_split(tree))


def test_a_published_split_is_compared_with_its_hashes(tree, monkeypatch):
    pair = dict(labeled=splits.summarize(['a0']), unlabeled=splits.summarize(['b0', 'b1']))
    pair |= dict(family='u2pl', dataset='voc', source={})
    for module in (splits, semi_dataset):
        monkeypatch.setattr(module, 'published_protocols', lambda: {'voc classic 1': pair})
    options = dict(split='voc classic 1', **by_split(tree))
    refused(
        tree, 'dataset.split is .*u2pl/voc/1/labeled.txt does not exist.* --family u2pl', **options
    )
    folder = Path('data/splits/u2pl/voc/1')
    split_lists.write_lines(folder / 'labeled.txt', ['a0'])
    split_lists.write_lines(folder / 'unlabeled.txt', ['b1', 'b0'])
    assert build(tree, **options).protocol == dict(
        protocol='voc classic 1', **{kind: pair[kind] for kind in splits.KINDS}
    )
    split_lists.write_lines(folder / 'unlabeled.txt', ['b1', 'b2'])
    refused(tree, 'dataset.split is .*, whose unlabelled .*dataset.split=FOLDER', **options)
    # its folder is a list of one's own
    own = build(tree, **options | dict(split=str(folder)))
    assert own.protocol['protocol'] is None and own.source_sizes == [1, 2]


def test_a_split_beside_other_unlabelled_images(tree):
    write_image(tree.root / 'more/c0.png', 0)
    split_lists.write_split(Path('lists'), ['a0'], ['b1'], dict(protocol='mine'))
    labeled, unlabeled = by_split(tree).values()
    folder = tree.source('unlabeled', data_prefix=dict(img_path='more'), ann_file='')
    dataset = build(tree, split='lists', labeled=labeled, unlabeled=folder)
    assert paths(dataset) == ['a0.png', 'c0.png']
    assert dataset.protocol['protocol'] == 'mine, other unlabelled images'
    dataset = build(tree, split='lists', labeled=labeled, unlabeled=[unlabeled, folder])
    assert paths(dataset) == ['a0.png', 'b1.png', 'c0.png']
    both = [unlabeled, dict(unlabeled, data_prefix=dict(img_path='more'))]
    message = "split='lists' names one unlabelled list, but 2 unlabelled data sets have no images"
    refused(tree, message, split='lists', labeled=labeled, unlabeled=both)


def test_a_list_of_a_source_replaces_that_of_the_split(tree):
    """A config that inherits a split from its base may name lists by ``ann_file``."""
    split_lists.write_split(Path('lists'), ['a0'], ['b1'], dict(protocol='mine'))
    Path('other_labeled.txt').write_text('a2\na3\n')
    Path('other_unlabeled.txt').write_text('b4\n')
    labeled, unlabeled = by_split(tree).values()
    labeled = dict(labeled, ann_file='other_labeled.txt')
    dataset = build(tree, split='lists', labeled=labeled, unlabeled=unlabeled)
    assert paths(dataset) == ['a2.png', 'a3.png', 'b1.png']
    unlabeled = dict(unlabeled, ann_file='other_unlabeled.txt')
    dataset = build(tree, split='nowhere', labeled=labeled, unlabeled=unlabeled)
    assert paths(dataset) == ['a2.png', 'a3.png', 'b4.png']


def test_lists_beside_a_published_split_are_compared_with_it_unless_protocol_is_none(tree):
    Path('other_labeled.txt').write_text('a2\na3\n')
    Path('other_unlabeled.txt').write_text('b4\n')
    sources = {
        kind: dict(source, ann_file=f'other_{kind}.txt') for kind, source in by_split(tree).items()
    }
    message = "split is 'voc classic 732', whose labelled list has 732 names .*, or protocol=None"
    refused(tree, message, split='voc classic 732', **sources)
    dataset = build(tree, split='voc classic 732', protocol=None, **sources)
    assert paths(dataset) == ['a2.png', 'a3.png', 'b4.png']
    assert dataset.protocol['protocol'] is None


def test_a_protocol_beside_a_split_is_compared_with_its_lists(tree):
    split_lists.write_split(Path('lists'), ['a0'], ['b1'], dict(protocol='mine'))
    dataset = build(tree, split='lists', protocol='mine', **by_split(tree))
    assert dataset.protocol['protocol'] == 'mine'
    message = "protocol is 'voc classic 732', whose labelled list has 732 names"
    refused(tree, message, split='lists', protocol='voc classic 732', **by_split(tree))


def test_names_of_images_without_a_list(tree):
    sources = dict(
        labeled=tree.source('labeled', ann_file=''),
        unlabeled=None,
    )
    assert build(tree, **sources).protocol['labeled'] == splits.summarize(
        tree.labeled + tree.unlabeled
    )


def test_masks_of_unlabelled_images_are_never_opened(tree):
    for name in tree.unlabeled:
        tree.mask(name).unlink()
    prefix = dict(img_path='images', seg_map_path='labels')  # dropped
    dataset = build(tree, unlabeled=tree.source('unlabeled', data_prefix=prefix))
    for index in range(4, 10):
        assert 'seg_map_path' not in dataset.get_data_info(index)
        assert 'gt_sem_seg' not in dataset[index]['data_samples']['weak']


# ----------------------------------------------------------------------- derived augmentation


def test_same_key_same_sample_other_key_other_sample(tree):
    dataset = build(tree)
    for index in (1, 7):
        first = dataset[SampleKey(index, 11)]
        np.random.seed(5), random.seed(5), torch.manual_seed(5)
        assert equal(first, dataset[SampleKey(index, 11)])
        others = [dataset[SampleKey(index, seed)] for seed in range(20, 30)]
        assert not any(equal(first, other) for other in others)


def test_main_process_keeps_its_random_streams(tree):
    dataset = build(tree)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    dataset[SampleKey(5, 3)]
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_batches_do_not_depend_on_the_number_of_workers(tree):
    batches = [
        list(islice(iter(Runner.build_dataloader(tree.loader(workers), seed=4)), 4))
        for workers in (0, 2)
    ]
    for alone, shared in zip(*batches, strict=True):
        for view in ('labeled', 'weak', 'strong'):
            for a, b in zip(alone['inputs'][view], shared['inputs'][view], strict=True):
                assert (a is None) == (b is None)
                assert a is None or torch.equal(a, b)


def test_a_resumed_stream_repeats_the_augmentation(tree):
    through = list(islice(iter(Runner.build_dataloader(tree.loader(), seed=4)), 6))
    resumed = Runner.build_dataloader(tree.loader(2), seed=4)
    resumed.sampler.skip(4 * 3)
    for a, b in zip(through[4:], islice(iter(resumed), 2), strict=True):
        assert all(map(torch.equal, a['inputs']['weak'][1:], b['inputs']['weak'][1:]))
        assert all(map(torch.equal, a['inputs']['strong'][1:], b['inputs']['strong'][1:]))
        assert torch.equal(a['inputs']['labeled'][0], b['inputs']['labeled'][0])


# -------------------------------------------------------------------------------------- bad input


def refused(tree, message, **changes):
    with pytest.raises(SetupError, match=message) as caught:
        build(tree, **changes)
    assert '\n' not in str(caught.value)


def test_missing_folder(tree):
    key = r'train_dataloader.dataset.unlabeled: folder .*nowhere \(data_prefix.img_path\)'
    cfg = tree.source('unlabeled', data_prefix=dict(img_path='nowhere'))
    refused(tree, f'{key} does not exist', unlabeled=cfg)
    cfg = tree.source('labeled', data_prefix=dict(img_path='images', seg_map_path='masks'))
    refused(tree, r'labeled: folder .*masks \(data_prefix.seg_map_path\) does not', labeled=cfg)


def test_missing_folder_of_camvid_names_its_converter(tree):
    cfg = tree.source('labeled', type='CamVidDataset', data_root='nowhere', metainfo=None)
    refused(tree, 'mmseg-semi convert-camvid', labeled=cfg)


def test_missing_list_names_the_command_that_makes_it(tree):
    cfg = tree.source('labeled', ann_file='nowhere.txt')
    refused(
        tree, r'nowhere.txt \(nor .*data/nowhere.txt\) does not .*mmseg-semi splits make', labeled=cfg
    )
    cfg = tree.source('labeled', ann_file='data/splits/u2pl/voc/732/labeled.txt')
    command = 'mmseg-semi splits import --family u2pl --dataset voc'
    refused(tree, command, labeled=cfg)


@pytest.mark.parametrize('kind', ['labeled', 'unlabeled'])
def test_empty_list(tree, kind):
    tree.write_list(kind, [])
    refused(tree, rf'dataset.{kind}.ann_file: list {kind}.txt is empty')


def test_empty_line_and_repeated_name(tree):
    tree.write_list('unlabeled', ['b0', '', 'b1'])
    refused(tree, 'line 2 of unlabeled.txt is empty')
    tree.write_list('unlabeled', ['b0', 'b1', 'b0'])
    refused(tree, r'unlabeled.txt names b0 more than once \(1 of 3')


def test_empty_folder(tree):
    (tree.root / 'empty').mkdir()
    for serialize in (False, True):
        cfg = tree.source('unlabeled', data_prefix=dict(img_path='empty'), ann_file='')
        cfg['serialize_data'] = serialize
        refused(tree, r"folder .*empty holds no image whose name ends in '.png'", unlabeled=cfg)


def test_listed_image_that_is_not_there(tree):
    tree.image('b3').unlink()
    tree.image('b4').unlink()
    refused(tree, r'names b3, but its image .*b3.png does not exist \(2 of 6 images are missing\)')


def test_list_in_another_format_points_to_the_importer(tree):
    tree.write_list('labeled', ['/images/a0.png\t/labels/a0.png'])
    refused(tree, 'mmseg-semi splits import')


def test_image_without_its_mask(tree):
    tree.mask('a2').unlink()
    refused(tree, r'names a2, but its mask .*a2.png is missing, its image is there \(1 of 4 masks')
    cfg = tree.source('labeled', data_prefix=dict(img_path='images'))
    refused(tree, r'dataset.labeled.data_prefix has no seg_map_path', labeled=cfg)


def test_labels_beyond_the_classes(tree):
    write_mask(tree.mask('a2'), 0, num_classes=5)
    refused(tree, r'mask .*a2.png holds the label 3 \(\d+ pixels\), but the data set has 3 classes')
    # found again while loading, should the check at the start be off
    dataset = build(tree, check_masks=0)
    with pytest.raises(SetupError, match='a2.png holds the label 3'):
        dataset[2]


def test_check_of_masks_is_spread_over_the_list(tree):
    write_mask(tree.mask('a2'), 0, num_classes=5)
    build(tree, check_masks=1)  # looks at a0
    refused(tree, 'a2.png', check_masks=2)  # looks at a0 and a2


def test_unreadable_and_truncated_masks(tree):
    content = tree.mask('a1').read_bytes()
    tree.mask('a1').write_bytes(content[:-30])
    refused(tree, r'mask .*a1.png .* cannot be decoded')
    tree.mask('a1').write_bytes(b'')
    refused(tree, r'mask .*a1.png \(0 bytes\) cannot be decoded')


@pytest.mark.parametrize('num_workers', [0, 2])
def test_truncated_image_stops_training_with_its_name(tree, num_workers):
    path = tree.image('b2')
    path.write_bytes(path.read_bytes()[:200])
    loader = Runner.build_dataloader(tree.loader(num_workers), seed=0)
    with pytest.raises(SetupError, match=r'image .*b2.png \(200 bytes\) cannot be decoded'):
        list(islice(iter(loader), 6))


def test_overlapping_lists(tree, monkeypatch):
    tree.write_list('unlabeled', ['b0', 'a3', 'b1', 'a1'])
    message = r'unlabeled names .*a3.png, which .*labeled names too \(2 of 4 .*allow_overlap=True'
    refused(tree, message)
    said = []
    monkeypatch.setattr(semi_dataset, 'print_log', lambda text, **_: said.append(text))
    assert build(tree, allow_overlap=True).source_sizes == [4, 4]
    assert said[-1].endswith('; 2 images are labelled and unlabelled (allow_overlap=True)')


def test_labelled_image_inside_the_unlabelled_folder(tree):
    cfg = tree.source('unlabeled', ann_file='')
    refused(tree, r'a0.png, which .* names too \(4 of 10 unlabelled images\)', unlabeled=cfg)


def test_image_in_two_pools(tree):
    pools = [tree.source('unlabeled'), tree.source('unlabeled')]
    refused(tree, '6 images are in more than one of its data sets', unlabeled=pools)


def test_classes_that_disagree(tree):
    other = dict(classes=('grass', 'sky', 'path'))
    refused(
        tree,
        r"labelled images have the classes \('grass', 'path', 'sky'\), unlabelled ones",
        unlabeled=tree.source('unlabeled', metainfo=other),
    )
    refused(tree, 'has no classes', labeled=tree.source('labeled', metainfo=None))
    cfg = tree.source('labeled', metainfo=dict(classes=('grass', 'path')))
    cfg['pipeline'] = tree.source('labeled')['pipeline']
    refused(tree, 'LoadSegLabels.num_classes=3, but .* has 2 classes', labeled=cfg, unlabeled=None)


def test_configs_that_make_no_sense(tree):
    refused(tree, r'unlabeled is an empty list', unlabeled=[])
    refused(tree, r"labeled is 'a folder', expected the config", labeled='a folder')
    wrapped = dict(type='RepeatDataset', dataset=tree.source('unlabeled'), times=2)
    refused(tree, 'RepeatDataset is no BaseDataset', unlabeled=wrapped)
    cfg = tree.source('unlabeled')
    cfg['pipeline'] = [dict(type='LoadImage'), dict(type='LoadSegLabels', num_classes=3)]
    refused(tree, 'LoadSegLabels loads labels, which unlabelled images do not have', unlabeled=cfg)


def test_ratio_that_the_data_set_cannot_serve(tree):
    cfg = tree.loader(dataset=tree.dataset(unlabeled=None))
    with pytest.raises(SetupError, match=r'source_ratio=\[1, 2\] has 2 entries, .* 1 source'):
        Runner.build_dataloader(cfg, seed=0)


def test_a_transform_that_gives_up_is_not_answered_by_another_image(tree):
    dataset = build(tree)
    dataset.datasets[0].pipeline.transforms.append(lambda results: None)
    with pytest.raises(Exception, match='Cannot find valid image after 0'):
        dataset[0]


def test_ranks_share_the_check_of_masks(tree, monkeypatch):
    from mmseg_semi.data import checks

    dataset = build(tree).datasets[0]
    counts = []
    for rank in range(3):
        monkeypatch.setattr(checks, 'get_dist_info', lambda rank=rank: (rank, 3))
        counts.append(checks.check_label_values(dataset, 3))
    assert counts == [2, 1, 1]


def test_grey_and_palette_images_are_read_in_colour(tree):
    Image.open(tree.image('b0')).convert('L').save(tree.image('b0'))
    Image.open(tree.image('b1')).convert('P').save(tree.image('b1'))
    dataset = build(tree)
    assert all(dataset[i]['inputs']['weak'].shape == (3, 32, 32) for i in (4, 5))
