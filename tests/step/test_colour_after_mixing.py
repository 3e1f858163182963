"""Colour after mixing: HSV against the standard library, blur against a loop, labels untouched."""

import colorsys
import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from test_mixing import K, views

from mmseg_semi.data.colour.after_mixing import blur_kernel_size, colour_jitter, gaussian_blur
from mmseg_semi.data.colour.hsv import hsv_to_rgb, rgb_to_hsv
from mmseg_semi.errors import SetupError

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def test_hsv_is_that_of_the_standard_library():
    images = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images[0, :, 0, 0] = 0.5
    images[0, :, 0, 1] = 0.0
    hsv = rgb_to_hsv(images)
    for y in range(4):
        for x in range(4):
            expected = colorsys.rgb_to_hsv(*images[0, :, y, x].tolist())
            assert hsv[0, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)
    assert (hsv_to_rgb(hsv) - images).abs().max() < 1e-5


def test_jitter_adds_brightness_and_multiplies_contrast():
    images = torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    amounts = dict(
        brightness=torch.tensor([0.2, -0.1]),
        contrast=torch.tensor([1.2, 0.8]),
        saturation=torch.tensor([0.0, 0.5]),
        hue=torch.tensor([0.0, 0.25]),
    )
    bright = colour_jitter(images, amounts, ['brightness', 'contrast'])
    factors = torch.tensor([1.2, 0.8]).view(2, 1, 1, 1)
    shifts = torch.tensor([0.2, -0.1]).view(2, 1, 1, 1)
    assert (bright - ((images + shifts).clamp(0, 1) * factors).clamp(0, 1)).abs().max() < 1e-6
    grey = colour_jitter(images, amounts, ['saturation'])[0]
    assert (grey - images[0].amax(dim=0)).abs().max() < 1e-6  # no saturation: the value is left
    turned = colour_jitter(images, amounts, ['hue'])[1]
    h, s, v = colorsys.rgb_to_hsv(*images[1, :, 1, 1].tolist())
    expected = colorsys.hsv_to_rgb((h + 0.25) % 1, s, v)
    assert turned[:, 1, 1].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('side, size', [(256, 25), (512, 51), (321, 33), (10, 1)])
def test_kernel_sizes(side, size):
    assert blur_kernel_size(side) == size


def test_blur_equals_a_loop():
    image = torch.rand(1, 1, 8, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    blurred = gaussian_blur(image, 0.7, (3, 5))

    def weights(size):
        w = [math.exp(-((i - size // 2) ** 2) / (2 * 0.7**2)) for i in range(size)]
        return [value / sum(w) for value in w]

    def reflect(i, n):
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    for y in range(8):
        for x in range(9):
            expected = sum(
                wy * wx * float(image[0, 0, reflect(y + i - 1, 8), reflect(x + j - 2, 9)])
                for i, wy in enumerate(weights(3))
                for j, wx in enumerate(weights(5))
            )
            assert float(blurred[0, 0, y, x]) == pytest.approx(expected, abs=1e-9)


def build(**changes):
    init_default_scope('mmseg')
    config = dict(
        type='ColourAfterMixing',
        num_classes=K,
        mixing=dict(type='ClassMix', num_classes=K),
        mean=MEAN,
        std=STD,
        bgr_to_rgb=True,
    )
    return MODELS.build(config | changes)


def normalised(before):
    images = torch.rand(before.images.shape, generator=torch.Generator().manual_seed(3))
    return before._replace(images=images)


def test_labels_move_with_the_mixing_alone():
    plain, coloured = (normalised(views(3)) for _ in range(2))
    mixing = build(jitter=1.0, blur=1.0)
    expected = mixing.mixing(*plain)
    image, pseudo, valid = mixing(*coloured)
    assert torch.equal(pseudo.labels, expected[1].labels)
    assert torch.equal(pseudo.confidence, expected[1].confidence)
    assert torch.equal(valid, expected[2])
    assert not torch.allclose(image, expected[0], atol=1e-2)


def test_colour_comes_back_to_the_normalised_range():
    before = normalised(views(2))
    image, _, _ = build(mixing=None, jitter=1.0, strength=0.0, blur=0.0)(*before)
    assert (image - before.images).abs().max() < 1e-4
    swapped, _, _ = build(mixing=None, jitter=1.0, strength=0.0, blur=0.0, bgr_to_rgb=False)(
        *before
    )
    assert (swapped - before.images).abs().max() < 1e-4


def test_one_generator_one_outcome():
    images = [build(jitter=1.0, blur=1.0)(*normalised(views(2)))[0] for _ in range(2)]
    assert torch.equal(*images)


@pytest.mark.parametrize('wrong', [dict(jitter=2), dict(strength=0.6), dict(sigma=(0.0, 1.0))])
def test_values_out_of_range(wrong):
    with pytest.raises(SetupError, match='mixing'):
        build(**wrong)
