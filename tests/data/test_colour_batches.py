"""The strong view made on the device equals the one that the workers make."""

import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image
from tiny_semi import tiny_preprocessor

from mmseg_semi.data.colour import batches
from mmseg_semi.data.colour import images as colour
from mmseg_semi.data.colour.batches import apply_operations
from mmseg_semi.data.colour.hsv import join_hue, split_hue
from mmseg_semi.data.colour.operations import JITTER
from mmseg_semi.errors import SetupError

COLOUR = [dict(type='PILColorJitter'), dict(type='PILGrayscale'), dict(type='PILGaussianBlur')]
VIEWS = ['labeled', 'weak', 'strong']


def photographs(count=4, size=(47, 38)):
    """(N, H, W, 3) uint8: smooth areas, an edge and a little noise."""
    images = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        img = np.array(coarse.resize(size, Image.Resampling.BICUBIC), int)
        img[10:20, 10:30] = rng.integers(0, 256, 3)
        images.append(np.clip(img + rng.integers(-4, 5, img.shape), 0, 255).astype(np.uint8))
    return np.stack(images)


def planes(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize(
    ('name', 'amounts', 'highest'),
    [
        ('brightness', (0.0, 0.7, 1.0, 1.5), 0),
        ('contrast', (0.0, 0.7, 1.0, 1.5), 1),
        ('saturation', (0.0, 0.7, 1.0, 1.5), 1),
        ('hue', (-0.25, -0.1, 0.0, 0.2), 1),
        ('grayscale', (1.0, 1.0, 1.0, 1.0), 1),
        ('blur', (0.1, 0.8, 1.6, 3.1), 4),
    ],
)
def test_each_operation_on_a_batch_with_an_amount_for_each_image(name, amounts, highest):
    images = photographs()
    out = apply_operations(planes(images), [[(name, amount)] for amount in amounts])
    expected = [colour.OPERATIONS[name](i, a) for i, a in zip(images, amounts, strict=True)]
    difference = (out.int() - planes(np.stack(expected)).int()).abs()
    assert difference.max() <= highest and difference.float().mean() < 0.8


def test_workers_and_device_have_the_same_operations():
    assert list(colour.OPERATIONS) == list(batches.OPERATIONS)
    assert set(JITTER) < set(batches.OPERATIONS)


@pytest.mark.parametrize('channels', ['rgb', 'bgr'])
def test_hue_value_and_span_give_the_colour_back(channels):
    images = planes(photographs()).double()
    images[0, :, :4] = images[0, :1, :4]  # grey
    images[1, 0, :4] = images[1, 1, :4]  # two channels are the largest, or the smallest
    sixths, value, span = split_hue(images, channels)
    assert (join_hue(sixths, value, span, channels) - images).abs().max() < 1e-9
    turns = (split_hue(images.flip(1), channels[::-1])[0] - sixths)[span > 0] / 6
    assert (turns - turns.round()).abs().max() < 1e-9  # the order of the channels does not matter


def test_images_keep_their_own_order_and_number_of_operations():
    images = photographs()
    draws = [
        [],
        [('hue', 0.1), ('contrast', 1.4), ('brightness', 0.8)],
        [('brightness', 0.8), ('contrast', 1.4)],
        [('grayscale', 1.0)],
    ]
    before = planes(images)
    out = apply_operations(before, draws)
    assert torch.equal(out[0], before[0]) and torch.equal(before, planes(images))
    for index, steps in enumerate(draws):
        expected = images[index]
        for name, amount in steps:
            expected = colour.OPERATIONS[name](expected, amount)
        assert (out[index].int() - planes(expected[None])[0].int()).abs().max() <= 4
    swapped = apply_operations(before[2:3], [draws[2][::-1]])
    assert not torch.equal(swapped[0], out[2])
    assert torch.equal(apply_operations(before, [[]] * 4), before)


def test_half_precision_of_the_step_does_not_reach_the_levels():
    images, steps = planes(photographs()), [[('blur', 1.3), ('hue', 0.1)]] * 4
    with torch.autocast('cpu', torch.bfloat16):
        inside = apply_operations(images, steps)
    assert torch.equal(inside, apply_operations(images, steps))


def batch(deferred: bool, seeds=range(4), strong_views: int = 1):
    pack = [dict(type='PackSemiInputs')]
    further = [f'strong_{number}' for number in range(2, strong_views + 1)]
    if deferred:
        defer = dict(type='DeferColour', transforms=COLOUR, views=strong_views)
        branches = dict(weak=[defer, *pack])
    else:
        branches = dict(weak=pack, **{view: [*COLOUR, *pack] for view in ('strong', *further)})
    views = [*VIEWS, *further]
    branch = TRANSFORMS.build(dict(type='MultiBranch', branch_field=views, **branches))
    labeled = TRANSFORMS.build(dict(type='MultiBranch', branch_field=views, labeled=pack))
    samples = [labeled(dict(img=photographs(1)[0], gt_seg_map=np.zeros((38, 47), np.uint8)))]
    for seed, img in zip(seeds, photographs(), strict=True):
        np.random.seed(seed)
        valid = np.zeros((38, 47), np.uint8)
        samples.append(branch(dict(img=img, gt_valid_map=valid, seg_fields=['gt_valid_map'])))
    return pseudo_collate(samples)


@pytest.fixture
def preprocessor():
    init_default_scope('mmseg')
    return MODELS.build(dict(type='SemiDataPreprocessor', data_preprocessor=tiny_preprocessor()))


def test_the_preprocessor_makes_the_strong_view(preprocessor):
    deferred, whole = batch(True), batch(False)
    assert all(img is None for img in deferred['inputs']['strong'])
    assert all(img.dtype == torch.uint8 for img in deferred['inputs']['weak'] if img is not None)
    theirs = preprocessor(copy.deepcopy(whole), training=True)
    ours = preprocessor(deferred, training=True)
    for branch in ('labeled', 'weak'):
        assert torch.equal(ours['inputs'][branch], theirs['inputs'][branch])
    # one level is 1 / 57.375 in normalised images
    difference = (ours['inputs']['strong'] - theirs['inputs']['strong']).abs() * 57.375
    assert difference.mean() < 1.0 and difference.max() < 12
    assert not torch.equal(ours['inputs']['strong'], ours['inputs']['weak'])
    assert len(ours['data_samples']['strong']) == 4
    assert torch.equal(
        preprocessor(batch(True), training=True)['inputs']['strong'], ours['inputs']['strong']
    )


def test_the_preprocessor_makes_further_strong_views(preprocessor):
    deferred, whole = batch(True, strong_views=3), batch(False, strong_views=3)
    theirs, ours = (preprocessor(data, training=True)['inputs'] for data in (whole, deferred))
    assert ours.keys() == theirs.keys()
    for view in ('strong', 'strong_2', 'strong_3'):
        difference = (ours[view] - theirs[view]).abs() * 57.375
        assert difference.mean() < 1.0 and difference.max() < 12
    assert not torch.equal(ours['strong'], ours['strong_2'])
    assert torch.equal(ours['strong'], preprocessor(batch(True), training=True)['inputs']['strong'])
    mixed = batch(True, strong_views=2)
    mixed['data_samples']['weak'][1].set_metainfo(dict(more_colours=[]))
    with pytest.raises(SetupError, match='different numbers of strong views'):
        preprocessor(mixed, training=True)


def test_pipelines_that_disagree_are_refused(preprocessor):
    deferred, whole = batch(True), batch(False)
    deferred['data_samples']['weak'][1] = whole['data_samples']['weak'][1]
    with pytest.raises(SetupError, match='begin the weak branch of every unlabelled pipeline'):
        preprocessor(deferred, training=True)
    deferred = batch(True)
    deferred['inputs']['strong'] = whole['inputs']['strong']
    with pytest.raises(SetupError, match='let none have a strong branch'):
        preprocessor(deferred, training=True)
