"""AugSeg's pool of operations: what each does, and how they are drawn."""

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageFilter

from mmseg_semi.data.colour.intensity import STRENGTHS, RandomIntensity, change_intensity
from mmseg_semi.errors import SetupError


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    levels = rng.normal(110, 40, (24, 30, 3)).clip(20, 230).astype(np.uint8)
    return levels


def equalized(channel: np.ndarray) -> np.ndarray:
    """Histogram equalisation from its definition: level -> share of the pixels below it, in 256 levels."""
    counts = np.bincount(channel.ravel(), minlength=256)
    last = counts[np.nonzero(counts)[0][-1]]
    step = (counts.sum() - last) // 255
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return ((below + step // 2) // step).clip(0, 255)[channel]


def stretched(channel: np.ndarray) -> np.ndarray:
    low, high = int(channel.min()), int(channel.max())
    return (channel.astype(float) - low) * 255 / (high - low)


def test_identity_changes_nothing(image):
    assert np.array_equal(change_intensity(image, 'identity', 0.0), image)


def test_autocontrast_stretches_each_channel(image):
    found = change_intensity(image, 'autocontrast', 0.0)
    for c in range(3):
        assert np.abs(found[..., c] - stretched(image[..., c])).max() <= 1
        assert found[..., c].min() == 0 and found[..., c].max() == 255


def test_equalize_flattens_the_histogram(image):
    found = change_intensity(image, 'equalize', 0.0)
    for c in range(3):
        assert np.abs(found[..., c].astype(int) - equalized(image[..., c])).max() <= 1


@pytest.mark.parametrize('bits', [4.0, 5.4, 8.0])
def test_posterize_keeps_the_high_bits(image, bits):
    kept = round(bits)
    found = change_intensity(image, 'posterize', bits)
    assert np.array_equal(found, (image >> (8 - kept)) << (8 - kept))


@pytest.mark.parametrize('level', [1.0, 100.7, 256.0])
def test_solarize_inverts_the_bright_levels(image, level):
    found = change_intensity(image, 'solarize', level)
    assert np.array_equal(found, np.where(image < int(level), image, 255 - image))


def test_sharpness_blends_with_a_smoothed_image(image):
    smooth = np.asarray(Image.fromarray(image).filter(ImageFilter.SMOOTH)).astype(float)
    found = change_intensity(image, 'sharpness', 0.25)
    # the border stays in both
    expected = smooth + 0.25 * (image - smooth)
    assert np.abs(found - expected)[1:-1, 1:-1].max() <= 1


@pytest.mark.parametrize(
    ('name', 'kind'),
    [('contrast', 'Contrast'), ('brightness', 'Brightness'), ('saturation', 'Color')],
)
def test_factors_are_pillows(image, name, kind):
    rgb = Image.fromarray(image[..., ::-1])
    expected = np.asarray(getattr(ImageEnhance, kind)(rgb).enhance(0.3))[..., ::-1]
    found = change_intensity(image, name, 0.3)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_number_and_operations_are_uniform_and_strengths_in_range():
    np.random.seed(0)
    step = TRANSFORMS.build(dict(type='RandomIntensity', most=3))
    drawn = [step.draw() for _ in range(3000)]
    lengths = np.bincount([len(steps) for steps in drawn], minlength=4)
    assert lengths[0] == 0 and np.abs(lengths[1:] - 1000).max() < 5 * 1000**0.5
    names = [name for steps in drawn for name, _ in steps]
    expected = len(names) / len(STRENGTHS)
    for name, (low, high) in STRENGTHS.items():
        assert abs(names.count(name) - expected) < 5 * expected**0.5, name
        strengths = [s for steps in drawn for n, s in steps if n == name]
        assert low <= min(strengths) and max(strengths) <= high
        assert high == low or max(strengths) - min(strengths) > 0.9 * (high - low)


def test_every_operation_gives_an_image_of_the_same_kind(image):
    before = image.copy()
    for name, (low, high) in STRENGTHS.items():
        for strength in (low, high):
            found = change_intensity(image, name, strength)
            assert found.shape == image.shape and found.dtype == np.uint8, name
            assert np.array_equal(image, before), name
            assert np.array_equal(found, image) == (
                name == 'identity'
                or (name, strength) in (('hue', 0.0), ('posterize', 8.0), ('solarize', 256.0))
            ), (name, strength)


def test_the_transform_applies_what_it_draws(image):
    step = RandomIntensity(most=2, operations=['solarize', 'posterize'])
    np.random.seed(3)
    found = step.transform(dict(img=image))['img']
    np.random.seed(3)
    expected = image
    for name, strength in step.draw():
        expected = change_intensity(expected, name, strength)
    assert np.array_equal(found, expected) and not np.array_equal(found, image)


@pytest.mark.parametrize('wrong', [dict(most=0), dict(operations=[]), dict(operations=['shear'])])
def test_mistakes(wrong):
    with pytest.raises(SetupError, match='RandomIntensity: most='):
        RandomIntensity(**wrong)
