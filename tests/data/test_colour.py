import colorsys
import itertools

import numpy as np
import pytest
import scipy.ndimage
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageFilter

from mmseg_semi.data.colour import images as colour
from mmseg_semi.data.colour.transforms import (
    DeferColour,
    PILColorJitter,
    PILGaussianBlur,
    PILGrayscale,
)
from mmseg_semi.errors import SetupError


def noise(height=24, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photograph(height=70, width=90, seed=0):
    """Smooth areas, edges, and a little sensor noise; BGR."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    img = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC), int)
    img[20:40, 30:60] = rng.integers(0, 256, 3)
    return np.clip(img + rng.integers(-4, 5, img.shape), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------ Pillow, as torchvision calls it


def pillow_hue(img, turns):
    hue, saturation, value = img.convert('HSV').split()
    levels = np.asarray(hue).astype(int) + int(turns * 255)
    hue = Image.fromarray((levels % 256).astype(np.uint8))
    return Image.merge('HSV', (hue, saturation, value)).convert('RGB')


PILLOW = dict(
    brightness=lambda img, factor: ImageEnhance.Brightness(img).enhance(factor),
    contrast=lambda img, factor: ImageEnhance.Contrast(img).enhance(factor),
    saturation=lambda img, factor: ImageEnhance.Color(img).enhance(factor),
    hue=pillow_hue,
    grayscale=lambda img, _: img.convert('L').convert('RGB'),
    blur=lambda img, radius: img.filter(ImageFilter.GaussianBlur(radius)),
)


def by_pillow(bgr, operations):
    img = Image.fromarray(np.ascontiguousarray(bgr[..., ::-1]))
    for name, amount in operations:
        img = PILLOW[name](img, amount)
    return np.asarray(img)[..., ::-1].astype(int)


@pytest.mark.parametrize(
    ('name', 'amounts', 'highest', 'mean'),
    [
        ('brightness', (0.0, 0.5, 0.83, 1.0, 1.37, 1.5), 0, 0),
        ('contrast', (0.0, 0.5, 0.83, 1.0, 1.37, 1.5), 1, 0.01),
        ('saturation', (0.0, 0.5, 0.83, 1.0, 1.37, 1.5), 1, 0.6),
        ('hue', (-0.25, -0.1, 0.0, 0.13, 0.25, 0.5), 12, 0.8),
        ('grayscale', (1.0,), 1, 0.1),
        ('blur', (0.1, 0.5, 1.0, 1.3, 1.9, 2.0), 3, 0.6),
    ],
)
def test_operations_equal_pillows(name, amounts, highest, mean):
    for amount, seed in itertools.product(amounts, range(3)):
        img = photograph(seed=seed)
        before = img.copy()
        difference = np.abs(colour.OPERATIONS[name](img, amount) - by_pillow(img, [(name, amount)]))
        assert difference.max() <= highest and difference.mean() <= mean, (amount, seed)
        assert np.array_equal(img, before)


def test_whole_strong_view_equals_pillows():
    """Levels off add up over up to six operations, each of which rounds."""
    steps = [PILColorJitter(1.0), PILGrayscale(0.2), PILGaussianBlur(0.5)]
    for seed in range(40):
        np.random.seed(seed)
        operations = [operation for step in steps for operation in step.draw()]
        results = dict(img=photograph(seed=seed))
        expected = by_pillow(results['img'], operations)
        np.random.seed(seed)
        for step in steps:
            results = step(results)
        difference = np.abs(results['img'] - expected)
        assert difference.mean() <= 1.3 and np.percentile(difference, 90) <= 4, seed
        assert difference.max() <= 24, seed


# ----------------------------------------------------------------------------------- by definition


def luma(bgr):
    """ITU-R 601-2, rounded to 8 bits."""
    return np.floor(bgr.astype(float) @ np.array([0.114, 0.587, 0.299]) + 0.5)


def blend(base, bgr, factor):
    return np.clip(base + factor * (bgr.astype(float) - base), 0, 255)


@pytest.mark.parametrize('factor', [0.5, 0.83, 1.0, 1.5])
def test_brightness_contrast_saturation_by_definition(factor):
    img = noise()
    expected = {
        'brightness': blend(0.0, img, factor),
        'contrast': blend(np.floor(luma(img).mean() + 0.5), img, factor),
        'saturation': blend(luma(img)[..., None], img, factor),
    }
    for name, reference in expected.items():
        # fractions are cut off, and luma is rounded once more
        difference = np.abs(colour.OPERATIONS[name](img, factor) - reference)
        assert difference.max() <= 1.5, name


@pytest.mark.parametrize('turns', [-0.25, -0.1, 0.0, 0.13, 0.25])
def test_hue_by_definition(turns):
    img = noise(12, 12)
    out = colour.adjust_hue(img, turns).astype(float)
    exact = int(turns * 255) / 256
    expected = np.empty_like(out)
    for index in np.ndindex(12, 12):
        h, s, v = colorsys.rgb_to_hsv(*(img[index][::-1] / 255.0))
        expected[index] = np.multiply(colorsys.hsv_to_rgb((h + exact) % 1.0, s, v), 255)[::-1]
    assert np.abs(out - expected).max() <= 0.51


@pytest.mark.parametrize('radius', [0.5, 1.0, 2.0])
def test_blur_is_gaussian(radius):
    img = noise(64, 64)
    out = colour.gaussian_blur(img, radius)
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
    assert np.array_equal(colour.gaussian_blur(flat, radius), flat)


@pytest.mark.parametrize('radius', [0.1, 0.7, 1.0, 2.0, 5.0])
def test_three_boxes_have_the_variance_of_the_gaussian(radius):
    kernel = colour.box_kernel(radius)
    places = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1) and (kernel > 0).all()
    assert 3 * (kernel * places**2).sum() == pytest.approx(radius**2)


# ------------------------------------------------------------------------------------------ draws


def test_jitter_draws_its_factors_and_its_order():
    np.random.seed(0)
    jitter = PILColorJitter(0.8, brightness=0.5, contrast=0.4, saturation=0.3, hue=0.25)
    calls = [operation for _ in range(1000) for operation in jitter.draw()]
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


def test_greyscale_and_blur_come_at_their_rates():
    np.random.seed(0)
    grey = sum(len(PILGrayscale(0.2).draw()) for _ in range(1000))
    assert abs(grey - 200) < 5 * np.sqrt(1000 * 0.2 * 0.8)
    radii = [amount for _ in range(1000) for _, amount in PILGaussianBlur(0.5, (0.1, 2.0)).draw()]
    assert abs(len(radii) - 500) < 5 * np.sqrt(250)
    assert 0.1 <= min(radii) < 0.15 and 1.95 < max(radii) <= 2.0


def test_deferring_draws_the_same_operations():
    steps = [dict(type='PILColorJitter'), dict(type='PILGrayscale'), dict(type='PILGaussianBlur')]
    deferred = DeferColour(steps)
    img = photograph()
    for seed in range(20):
        np.random.seed(seed)
        now = dict(img=img)
        for step in steps:
            now = TRANSFORMS.build(step)(now)
        np.random.seed(seed)
        later = deferred(dict(img=img))
        assert later['img'] is img
        for name, amount in later['colour']:
            img_later = colour.OPERATIONS[name](later['img'], amount)
            later['img'] = img_later
        assert np.array_equal(later['img'], now['img'])


@pytest.mark.parametrize(
    ('cls', 'kwargs', 'message'),
    [
        (PILColorJitter, dict(prob=1.1), 'prob=1.1, expected 0 to 1'),
        (PILColorJitter, dict(saturation=-0.1), 'saturation=-0.1'),
        (PILColorJitter, dict(hue=0.6), 'hue=0.6, expected 0 to 0.5'),
        (PILGrayscale, dict(prob=-1), 'prob=-1'),
        (PILGaussianBlur, dict(radius=(2, 1)), r'radius=\(2, 1\)'),
        (DeferColour, dict(transforms=[dict(type='RandomFlip', prob=0.5)]), 'RandomFlip cannot'),
        (DeferColour, dict(transforms=[], views=0), 'views=0'),
    ],
)
def test_settings_that_cannot_be_are_refused(cls, kwargs, message):
    with pytest.raises(SetupError, match=message):
        cls(**kwargs)
