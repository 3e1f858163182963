import colorsys

import numpy as np
import pytest
import scipy.ndimage
import torch
from miniatures import write_image, write_mask
from mmengine.dataset import pseudo_collate
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_semi.datasets import (
    InitValidMap,
    LoadImage,
    LoadSegLabels,
    MultiBranch,
    PackSemiInputs,
    PILColorJitter,
    PILGaussianBlur,
    PILGrayscale,
    RandomRelativeResize,
    transforms,
)
from mmseg_semi.errors import SetupError


def random_rgb(height=24, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sample(height=20, width=30, **maps):
    """Results of a loader; the red channel is never black, so black means padding."""
    img = random_rgb(height, width) | np.uint8(1)
    return dict(
        img=img, img_shape=(height, width), ori_shape=(height, width), seg_fields=[], **maps
    )


# ---------------------------------------------------------------------------------------- loading


def test_image_is_read_as_bgr(tmp_path):
    path = write_image(tmp_path / 'a.png', 0)
    results = LoadImage()(dict(img_path=str(path)))
    assert np.array_equal(results['img'][..., ::-1], np.asarray(Image.open(path)))
    assert results['img_shape'] == results['ori_shape'] == (30, 40)
    assert results['img'].flags.c_contiguous


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('kept', [0.0, 0.02, 0.6])
def test_truncated_image_is_named(tmp_path, suffix, kept):
    path = write_image(tmp_path / f'a{suffix}', 0, size=(400, 300))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(SetupError, match=rf'image .*a\{suffix} .* cannot be decoded'):
        LoadImage()(dict(img_path=str(path)))


def test_missing_file_and_text_file_are_named(tmp_path):
    with pytest.raises(SetupError, match='image .*nowhere.jpg does not exist'):
        LoadImage()(dict(img_path=str(tmp_path / 'nowhere.jpg')))
    (tmp_path / 'a.jpg').write_text('not an image')
    with pytest.raises(SetupError, match='a.jpg .* cannot be decoded'):
        LoadImage()(dict(img_path=str(tmp_path / 'a.jpg')))


def load_labels(path, num_classes=3, **info):
    results = dict(seg_map_path=str(path), reduce_zero_label=False, label_map=None, seg_fields=[])
    results.update(info)
    return LoadSegLabels(num_classes=num_classes)(results)['gt_seg_map']


def test_palette_mask_gives_indices(tmp_path):
    labels = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
    img = Image.fromarray(labels)
    img.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    img.save(tmp_path / 'a.png')
    assert Image.open(tmp_path / 'a.png').mode == 'P'
    assert np.array_equal(load_labels(tmp_path / 'a.png'), labels)


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 255, 1: 0, 2: 1, 3: 2}])
def test_labels_are_mapped_as_in_mmseg(tmp_path, reduce_zero_label, label_map):
    labels = np.random.default_rng(0).choice([0, 1, 2, 3, 255], (9, 9)).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / 'a.png')
    info = dict(reduce_zero_label=reduce_zero_label, label_map=label_map)
    theirs = dict(seg_map_path=str(tmp_path / 'a.png'), seg_fields=[], **info)
    expected = LoadAnnotations()(theirs)['gt_seg_map']
    ours = load_labels(tmp_path / 'a.png', num_classes=4, **info)
    assert ours.dtype == np.uint8 and np.array_equal(ours, expected)


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.array([[0, 3, 3]], np.uint8), r'holds the label 3 \(2 pixels\).* has 3 classes'),
        (np.array([[0, 254]], np.uint8), 'holds the label 254'),
        (np.array([[0, 257]], np.uint16), 'holds the label 257'),  # 1 after a cast to 8 bits
        (np.array([[0, 70000]], np.int32), 'holds the label 70000'),
        (np.array([[0, -1]], np.int32), 'holds the label -1'),
        (np.array([[0.5, 1.0]], np.float32), 'holds float32 values'),
        (np.zeros((2, 2, 3), np.uint8), '3 colour channels'),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, message):
    Image.fromarray(labels).save(tmp_path / 'a.tif')
    with pytest.raises(SetupError, match=rf'mask .*a.tif.* {message}'):
        load_labels(tmp_path / 'a.tif')


def test_wide_types_with_valid_labels_are_read(tmp_path):
    labels = np.array([[0, 2, 255]])
    for dtype in (np.uint16, np.int32):
        Image.fromarray(labels.astype(dtype)).save(tmp_path / 'a.tif')
        assert np.array_equal(load_labels(tmp_path / 'a.tif'), labels)


def test_mask_of_another_size_is_refused(tmp_path):
    image, mask = write_image(tmp_path / 'a.png', 0), write_mask(tmp_path / 'b.png', 0, (30, 40))
    results = LoadImage()(dict(img_path=str(image), seg_map_path=str(mask), seg_fields=[]))
    with pytest.raises(
        SetupError, match='b.png is 30 x 40 pixels, but its image .*a.png is 40 x 30'
    ):
        LoadSegLabels(num_classes=3)(results)


# --------------------------------------------------------------------------------- weak geometry


def triangle_resize(img, size):
    """Antialiased bilinear resampling from its definition, in float64."""

    def matrix(inputs, outputs):
        scale = inputs / outputs
        support = max(scale, 1.0)
        centers = (np.arange(outputs) + 0.5) * scale
        distance = np.abs(np.arange(inputs) + 0.5 - centers[:, None]) / support
        weights = np.clip(1 - distance, 0, None)
        return weights / weights.sum(1, keepdims=True)

    width, height = size
    rows = np.einsum('ij,jkc->ikc', matrix(img.shape[0], height), img.astype(np.float64))
    return np.einsum('ij,kjc->kic', matrix(img.shape[1], width), rows)


@pytest.mark.parametrize('factor', [0.5, 0.7, 1.0, 1.3, 2.0])
def test_resize_is_antialiased_bilinear_and_nearest(factor):
    # odd sizes: no output pixel's centre falls between two inputs, where nearest is ambiguous
    results = sample(41, 61, gt_seg_map=random_rgb(41, 61, 1)[..., 0])
    results['seg_fields'] = ['gt_seg_map']
    img, labels = results['img'], results['gt_seg_map']
    out = RandomRelativeResize((factor, factor))(dict(results))
    width = int(61 * factor)
    height = int(41 * width / 61 + 0.5)
    assert out['img'].shape == (height, width, 3) and out['img_shape'] == (height, width)
    assert out['scale_factor'] == (width / 61, height / 41)
    difference = np.abs(out['img'] - triangle_resize(img, (width, height)))
    assert difference.max() <= 1.0  # Pillow rounds after each of its two passes
    rows = ((np.arange(height) + 0.5) * 41 / height).astype(int)
    columns = ((np.arange(width) + 0.5) * 61 / width).astype(int)
    assert np.array_equal(out['gt_seg_map'], labels[np.ix_(rows, columns)])


@pytest.mark.parametrize(('height', 'width'), [(7, 5), (5, 7), (7, 7)])
def test_long_side_is_a_uniform_integer_of_the_range(height, width):
    np.random.seed(0)
    resize = RandomRelativeResize((0.5, 2.0))
    shapes = [resize(sample(height, width))['img'].shape[:2] for _ in range(2400)]
    counts = np.bincount([max(shape) for shape in shapes], minlength=15)
    assert counts[:3].sum() == 0 and counts[15:].sum() == 0  # int(3.5) to 14
    assert np.abs(counts[3:15] - 200).max() < 5 * np.sqrt(200)
    for h, w in shapes:
        long_side = max(h, w)
        assert (h >= w) == (height >= width)
        assert min(h, w) == int(long_side * min(height, width) / 7 + 0.5)


def test_labels_and_validity_follow_the_image_through_padding_crop_and_flip():
    np.random.seed(0)
    steps = [
        TRANSFORMS.build(step)
        for step in (
            dict(type='InitValidMap'),
            dict(type='PadAllMaps', size=(24, 24), pad_val=dict(img=0, seg=255)),
            dict(type='RandomCrop', crop_size=(24, 24)),
            dict(type='RandomFlip', prob=0.5),
        )
    ]
    flips = crops = 0
    for height, width in [(20, 30), (30, 20), (10, 11), (24, 24)] * 8:
        results = sample(height, width)
        results['gt_seg_map'] = results['img'][..., 0] % 200
        results['seg_fields'] = ['gt_seg_map']
        original = results['img']
        for step in steps:
            results = step(results)
        img, labels, valid = (results[k] for k in ('img', 'gt_seg_map', 'gt_valid_map'))
        assert img.shape == (24, 24, 3) and labels.shape == valid.shape == (24, 24)
        padded = (img == 0).all(-1)
        assert np.array_equal(valid, np.where(padded, 255, 0))
        assert np.array_equal(labels, np.where(padded, 255, img[..., 0] % 200))
        assert (~padded).sum() == min(height, 24) * min(width, 24)
        if results['flip']:
            flips += 1
            img, padded = img[:, ::-1], padded[:, ::-1]
        # padding lies on the right and at the bottom
        assert not padded[: min(height, 24), : min(width, 24)].any()
        crops += not np.array_equal(img[~padded], original[:24, :24].reshape(-1, 3))
    assert 4 < flips < 28 and crops > 8


# --------------------------------------------------------------------------------- strong colour


def luma(rgb):
    """ITU-R 601-2, rounded to 8 bits."""
    return np.floor(rgb @ np.array([0.299, 0.587, 0.114]) + 0.5)


def blend(base, rgb, factor):
    return np.clip(base + factor * (rgb - base), 0, 255)


@pytest.mark.parametrize('factor', [0.5, 0.83, 1.0, 1.5])
def test_brightness_contrast_saturation_by_definition(factor):
    rgb = random_rgb()
    img, values = Image.fromarray(rgb), rgb.astype(np.float64)
    expected = {
        transforms.adjust_brightness: blend(0.0, values, factor),
        transforms.adjust_contrast: blend(np.floor(luma(values).mean() + 0.5), values, factor),
        transforms.adjust_saturation: blend(luma(values)[..., None], values, factor),
    }
    for adjust, reference in expected.items():
        # one level: Pillow cuts fractions off, and its luma has 16 bits
        assert np.abs(np.asarray(adjust(img, factor)) - reference).max() <= 1.5, adjust.__name__


@pytest.mark.parametrize('turns', [-0.25, -0.1, 0.0, 0.13, 0.25])
def test_hue_by_definition(turns):
    rgb = random_rgb(12, 12)
    out = np.asarray(transforms.adjust_hue(Image.fromarray(rgb), turns)).astype(float)
    expected = np.empty_like(out)
    for index in np.ndindex(12, 12):
        h, s, v = colorsys.rgb_to_hsv(*(rgb[index] / 255.0))
        expected[index] = np.multiply(colorsys.hsv_to_rgb((h + turns) % 1.0, s, v), 255)
    # hue and saturation have 8 bits: one level of hue is 6/255 of the range of a channel
    assert np.abs(out - expected).max() <= 14
    assert np.abs(out - expected).mean() <= 3
    # the value of HSV is untouched
    assert np.abs(out.max(-1) - rgb.max(-1)).max() <= 1


def test_jitter_draws_its_factors_and_its_order(monkeypatch):
    calls = []
    for name in ('brightness', 'contrast', 'saturation', 'hue'):
        monkeypatch.setattr(
            transforms,
            f'adjust_{name}',
            lambda img, amount, name=name: calls.append((name, amount)) or img,
        )
    np.random.seed(0)
    jitter = PILColorJitter(0.8, brightness=0.5, contrast=0.4, saturation=0.3, hue=0.25)
    for _ in range(1000):
        jitter(sample())
    # p = 0.8: 5 standard deviations of the binomial
    applied = len(calls) / 4
    assert abs(applied - 800) < 5 * np.sqrt(1000 * 0.8 * 0.2)
    orders = {tuple(name for name, _ in calls[k : k + 4]) for k in range(0, len(calls), 4)}
    assert len(orders) == 24 and all(len(set(order)) == 4 for order in orders)
    for name, low, high in (
        ('brightness', 0.5, 1.5),
        ('contrast', 0.6, 1.4),
        ('saturation', 0.7, 1.3),
        ('hue', -0.25, 0.25),
    ):
        drawn = np.array([amount for n, amount in calls if n == name])
        assert low <= drawn.min() < low + 0.03 and high - 0.03 < drawn.max() <= high
        assert abs(drawn.mean() - (low + high) / 2) < 0.05


def test_jitter_composes_the_operators_in_bgr(monkeypatch):
    monkeypatch.setattr(np.random, 'rand', lambda: 0.0)
    monkeypatch.setattr(np.random, 'uniform', lambda low, high: high)
    monkeypatch.setattr(np.random, 'permutation', lambda n: [3, 1, 0, 2])
    results = sample()
    img = Image.fromarray(results['img'][..., ::-1].copy())
    img = transforms.adjust_contrast(transforms.adjust_hue(img, 0.25), 1.5)
    img = transforms.adjust_saturation(transforms.adjust_brightness(img, 1.5), 1.5)
    out = PILColorJitter(1.0)(results)['img']
    assert np.array_equal(out[..., ::-1], np.asarray(img))


def test_greyscale_is_luma_in_every_channel_at_its_rate():
    np.random.seed(0)
    results = sample()
    out = PILGrayscale(1.0)(dict(results))['img']
    expected = luma(results['img'][..., ::-1].astype(np.float64))
    assert all(np.abs(out[..., c] - expected).max() <= 1 for c in range(3))
    assert np.array_equal(out[..., 0], out[..., 2])
    changed = sum(
        not np.array_equal(PILGrayscale(0.2)(sample())['img'], results['img']) for _ in range(1000)
    )
    assert abs(changed - 200) < 5 * np.sqrt(1000 * 0.2 * 0.8)


@pytest.mark.parametrize('radius', [0.5, 1.0, 2.0])
def test_blur_is_gaussian(radius):
    img = random_rgb(64, 64)
    out = PILGaussianBlur(1.0, (radius, radius))(dict(img=img))['img']
    expected = np.stack(
        [
            scipy.ndimage.gaussian_filter(img[..., c].astype(float), radius, mode='nearest')
            for c in range(3)
        ],
        -1,
    )
    # three box filters stand for the Gaussian: a few levels on white noise
    assert np.abs(out - expected).mean() < 2.5
    flat = np.full((16, 16, 3), 77, np.uint8)
    assert np.array_equal(PILGaussianBlur(1.0, (radius, radius))(dict(img=flat))['img'], flat)


def test_blur_draws_its_radius_at_its_rate(monkeypatch):
    radii = []
    monkeypatch.setattr(
        transforms.ImageFilter,
        'GaussianBlur',
        lambda radius: radii.append(radius) or transforms.ImageFilter.BLUR,
    )
    np.random.seed(0)
    for _ in range(1000):
        PILGaussianBlur(0.5, (0.1, 2.0))(sample())
    assert abs(len(radii) - 500) < 5 * np.sqrt(250)
    assert 0.1 <= min(radii) < 0.15 and 1.95 < max(radii) <= 2.0


@pytest.mark.parametrize(
    ('cls', 'kwargs', 'message'),
    [
        (RandomRelativeResize, dict(ratio_range=(2.0, 0.5)), r'ratio_range=\(2.0, 0.5\)'),
        (RandomRelativeResize, dict(ratio_range=(0, 1)), 'expected 0 < low'),
        (PILColorJitter, dict(prob=1.1), 'prob=1.1, expected 0 to 1'),
        (PILColorJitter, dict(saturation=-0.1), 'saturation=-0.1'),
        (PILColorJitter, dict(hue=0.6), 'hue=0.6, expected 0 to 0.5'),
        (PILGrayscale, dict(prob=-1), 'prob=-1'),
        (PILGaussianBlur, dict(radius=(2, 1)), r'radius=\(2, 1\)'),
        (MultiBranch, dict(branch_field=['weak'], strong=[]), r"pipelines for \['strong'\]"),
        (MultiBranch, dict(branch_field=['weak']), 'expected one or more'),
    ],
)
def test_settings_that_cannot_be_are_refused(cls, kwargs, message):
    with pytest.raises(SetupError, match=message):
        cls(**kwargs)


# ------------------------------------------------------------------------------ views and packing

VIEWS = ['labeled', 'weak', 'strong']


def two_views(*colour):
    pack = dict(type='PackSemiInputs')
    return MultiBranch(branch_field=VIEWS, weak=[pack], strong=[*colour, pack])


def test_views_share_geometry_and_differ_in_colour_alone():
    np.random.seed(0)
    results = InitValidMap()(sample(20, 30))
    results['gt_valid_map'][:, 25:] = 255
    out = two_views(dict(type='PILGrayscale', prob=1.0))(results)
    weak, strong = out['inputs']['weak'], out['inputs']['strong']
    assert weak.dtype == torch.uint8 and weak.shape == (3, 20, 30)
    assert np.array_equal(weak.numpy().transpose(1, 2, 0), results['img'])
    expected = luma(results['img'][..., ::-1].astype(np.float64))
    assert np.abs(strong.numpy() - expected).max() <= 1
    for view in ('weak', 'strong'):
        valid = out['data_samples'][view].valid_map.data
        assert valid.dtype == torch.bool and valid.shape == (1, 20, 30)
        assert valid[..., :25].all() and not valid[..., 25:].any()
    assert out['inputs']['labeled'] is None and out['data_samples']['labeled'] is None


def test_without_colour_the_views_are_equal():
    out = two_views(dict(type='PILColorJitter', prob=0.0), dict(type='PILGaussianBlur', prob=0.0))(
        InitValidMap()(sample())
    )
    assert torch.equal(out['inputs']['weak'], out['inputs']['strong'])


def test_labelled_sample_needs_no_valid_map():
    results = sample(gt_seg_map=np.zeros((20, 30), np.uint8))
    packed = PackSemiInputs()(results)
    assert 'valid_map' not in packed['data_samples']
    assert packed['data_samples'].gt_sem_seg.data.shape == (1, 20, 30)


def test_batch_lists_every_view_of_every_sample():
    labeled = MultiBranch(branch_field=VIEWS, labeled=[dict(type='PackSemiInputs')])
    batch = pseudo_collate([labeled(sample()), two_views()(sample()), two_views()(sample())])
    assert list(batch) == ['inputs', 'data_samples']
    for part in batch.values():
        assert list(part) == VIEWS
        assert [x is None for x in part['labeled']] == [False, True, True]
        assert [x is None for x in part['weak']] == [True, False, False]
        assert [x is None for x in part['strong']] == [True, False, False]
