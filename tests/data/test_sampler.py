from itertools import islice

import pytest
from mmengine.runner import Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import BatchSampler, DataLoader

from mmseg_semi.data import samplers
from mmseg_semi.data.samplers import MultiSourceSampler
from mmseg_semi.errors import SetupError


class Sources:
    """A data set of two sources that only knows their sizes."""

    def __init__(self, *sizes):
        self.source_sizes = list(sizes)


def make(batch_size=6, ratio=(1, 2), sizes=(5, 13), seed=0, **kwargs):
    return MultiSourceSampler(Sources(*sizes), batch_size, list(ratio), seed=seed, **kwargs)


def take(sampler, count):
    return list(islice(iter(sampler), count))


def at_rank(monkeypatch, rank, world_size):
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (rank, world_size))


def test_every_batch_has_the_same_share_of_each_source_labelled_first():
    keys = take(make(), 60 * 6)
    for start in range(0, len(keys), 6):
        batch = [key.index for key in keys[start : start + 6]]
        assert all(0 <= i < 5 for i in batch[:2])
        assert all(5 <= i < 18 for i in batch[2:])


def test_each_source_is_a_chain_of_different_permutations():
    keys = [key.index for key in take(make(), 65 * 6)]  # 26 labelled passes, 20 unlabelled ones
    for low, high in ((0, 5), (5, 18)):
        stream = [i for i in keys if low <= i < high]
        size = high - low
        passes = [tuple(stream[k : k + size]) for k in range(0, len(stream), size)]
        assert all(sorted(p) == list(range(low, high)) for p in passes)
        assert len(set(passes)) > len(passes) // 2


def test_labelled_order_does_not_depend_on_the_unlabelled_images():
    few, many = take(make(sizes=(5, 13)), 300), take(make(sizes=(5, 999)), 300)
    assert [k for k in few if k.index < 5] == [k for k in many if k.index < 5]


@pytest.mark.parametrize('world_size', [2, 3])
def test_ranks_together_read_what_one_process_reads(monkeypatch, world_size):
    steps, share = 20, (1, 2)
    alone = make(batch_size=3 * world_size, ratio=share)
    expected = take(alone, steps * 3 * world_size)
    ranks = []
    for rank in range(world_size):
        at_rank(monkeypatch, rank, world_size)
        ranks.append(take(make(batch_size=3, ratio=share), steps * 3))
    for step in range(steps):
        whole = expected[step * 3 * world_size : (step + 1) * 3 * world_size]
        batches = [keys[step * 3 : (step + 1) * 3] for keys in ranks]
        labeled = [key for batch in batches for key in batch[:1]]
        unlabeled = [key for batch in batches for key in batch[1:]]
        assert labeled + unlabeled == whole


@pytest.mark.parametrize('count', [0, 1, 6, 17, 600])
def test_skip_equals_iterating(monkeypatch, count):
    at_rank(monkeypatch, 1, 3)
    through = take(make(), count + 20)
    sampler = make()
    sampler.skip(999)
    sampler.skip(count)  # absolute, so the first call leaves no trace
    assert take(sampler, 20) == through[count:]


def test_skip_walks_nowhere():
    sampler = make()
    sampler.skip(6 * 10**15)
    assert len(take(sampler, 6)) == 6
    with pytest.raises(ValueError, match='-1'):
        sampler.skip(-1)


def test_every_sample_has_its_own_augmentation(monkeypatch):
    seeds = [key.seed for key in take(make(), 3000)]
    at_rank(monkeypatch, 1, 2)
    other_rank = [key.seed for key in take(make(batch_size=6), 300)]
    at_rank(monkeypatch, 0, 2)
    this_rank = [key.seed for key in take(make(batch_size=6), 300)]
    assert len(set(seeds)) == 3000
    assert not set(other_rank) & set(this_rank)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seed_decides_and_may_be_set_later():
    assert take(make(seed=1), 50) == take(make(seed=1), 50)
    assert take(make(seed=1), 50) != take(make(seed=2), 50)
    late = make(seed=2)
    late.seed = 1
    assert take(late, 50) == take(make(seed=1), 50)


def test_without_shuffling_images_come_in_order():
    keys = [key.index for key in take(make(shuffle=False), 18)]
    assert [i for i in keys if i < 5] == [0, 1, 2, 3, 4, 0]
    assert [i for i in keys if i >= 5] == list(range(5, 17))


def test_fewer_labelled_images_than_slots_repeat_within_the_batch():
    batch = take(make(batch_size=8, ratio=(1, 1), sizes=(2, 9)), 8)
    assert sorted(key.index for key in batch[:4]) == [0, 0, 1, 1]
    assert len({key.seed for key in batch}) == 8


def test_one_source_needs_one_share():
    assert all(key.index < 5 for key in take(make(batch_size=4, ratio=(1,), sizes=(5,)), 40))


@pytest.mark.parametrize(
    ('batch_size', 'ratio', 'sizes', 'message'),
    [
        (8, (1, 0), (5, 13), r'source_ratio=\[1, 0\] gives a source no image'),
        (8, (1, -1), (5, 13), r'source_ratio=\[1, -1\] gives a source no image'),
        (8, (1, float('nan')), (5, 13), 'gives a source no image'),
        (4, (4, 1), (5, 13), r'batch_size=4 cannot be shared out by source_ratio=\[4, 1\]'),
        (8, (1, 2), (5, 13), r'batch_size=8 cannot be shared out .*\(2.66667 : 5.33333 images\)'),
        (0, (1, 1), (5, 13), 'batch_size=0 is not an integer of 1 or more'),
        (2.5, (1, 1), (5, 13), 'batch_size=2.5 is not an integer'),
        (8, (1,), (5, 13), r'source_ratio=\[1\] has 1 entries, .* has 2 source'),
        (8, (1, 1), (5,), r'source_ratio=\[1, 1\] has 2 entries, .* has 1 source'),
        (8, (1, 1), (0, 13), 'source 0 .* has no image'),
    ],
)
def test_batches_that_cannot_be_are_refused(batch_size, ratio, sizes, message):
    with pytest.raises(SetupError, match=message):
        make(batch_size, ratio, sizes)


def test_other_refusals():
    with pytest.raises(SetupError, match='randomness.seed=-1 is negative'):
        make(seed=-1)
    with pytest.raises(SetupError, match='needs a data set made of sources.*a list'):
        MultiSourceSampler([1, 2, 3], 2, [1, 1])
    sampler = make()
    with pytest.raises(SetupError, match='batch_size=4 differs from .*sampler.batch_size=6'):
        sampler.check_loader(DataLoader(range(18), batch_size=4, sampler=sampler))
    sampler.check_loader(DataLoader(range(18), batch_size=6, sampler=sampler))


def test_runner_builds_it_and_resumes_without_loading(tree):
    def images(batch):
        samples = batch['data_samples']
        return [s.img_path for view in ('labeled', 'weak') for s in samples[view] if s]

    loader = Runner.build_dataloader(tree.loader(), seed=3)
    assert type(loader.batch_sampler) is BatchSampler
    assert isinstance(loader.sampler, MultiSourceSampler) and loader.sampler.seed == 3
    loader.sampler.check_loader(loader)
    through = [images(batch) for batch in islice(loader, 6)]

    resumed = Runner.build_dataloader(tree.loader(), seed=3)
    loads = []
    original = type(resumed.dataset).__getitem__
    resumed.dataset.__class__ = type(
        'Counting',
        (type(resumed.dataset),),
        {'__getitem__': lambda self, key: loads.append(key) or original(self, key)},
    )
    iterator = _InfiniteDataloaderIterator(resumed)
    skip = getattr(iterator, 'skip_iter', None)
    if skip is None:
        pytest.skip('this MMEngine has no fast resume of its own')
    skip(4)
    assert not loads
    assert [images(next(iterator)) for _ in range(2)] == through[4:]
