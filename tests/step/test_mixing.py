import math
from typing import NamedTuple

import pytest
import torch
from mmseg.registry import MODELS
from tiny_semi import tiny_model
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.mixing import ClassMix, CutMix, CutOut, class_masks, draw_box, mix
from mmseg_semi.step.views import PseudoLabels

K = 5


class Strong(NamedTuple):
    """What a mixing is called with."""

    images: torch.Tensor
    pseudo: PseudoLabels
    valid: torch.Tensor
    generator: torch.Generator


def views(count: int, height: int = 24, width: int = 24, seed: int = 0) -> Strong:
    """Every pixel of every map is a number of its own, so that it can be traced."""
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.arange(count * height * width, dtype=torch.float32).view(count, height, width)
    labels = torch.randint(0, K, (count, height // 4, width // 4), generator=draw)
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels[:, :, -3:] = IGNORE
    valid = torch.ones(count, height, width, dtype=torch.bool)
    valid[:, :, -3:] = False
    return Strong(
        torch.stack([pixels, -pixels, 2 * pixels], dim=1),
        PseudoLabels(labels, pixels / pixels.numel() + labels, (pixels % 19).long()),
        valid,
        torch.Generator().manual_seed(seed),
    )


def sources(before: Strong, image: torch.Tensor) -> torch.Tensor:
    """(N, H, W): the number of the image that each mixed pixel comes from."""
    _, height, width = before.valid.shape
    return image[:, 0].long() // (height * width)


def check_moved_together(before: Strong, mixed) -> torch.Tensor:
    """Image, labels, confidence and validity of every pixel come from one image at the same place."""
    image, pseudo, valid = mixed
    source = sources(before, image)
    for moved, original in (
        (image[:, 0], before.images[:, 0]),
        (image[:, 1], before.images[:, 1]),
        (image[:, 2], before.images[:, 2]),
        (pseudo.labels, before.pseudo.labels),
        (pseudo.confidence, before.pseudo.confidence),
        (pseudo.noisy, before.pseudo.noisy),
        (valid, before.valid),
    ):
        assert torch.equal(moved, original.gather(0, source))
    return source


# -- CutMix --------------------------------------------------------------------------------------


@pytest.mark.parametrize('side', [160, 321, 513, 801])
def test_box_of_the_released_code(side):
    generator = torch.Generator().manual_seed(side)
    widths, tops = set(), set()
    for _ in range(2000):
        top, left, bottom, right = draw_box(side, side, 0.5, generator)
        width, height = right - left, bottom - top
        assert 0 <= top < bottom <= side and 0 <= left < right <= side
        assert math.floor(side / 2 + 1) <= width <= side - 1
        assert abs(width * height - side**2 / 2) <= width / 2
        widths.add(width)
        tops.add(top)
    # both ends of the range occur, and boxes lie anywhere
    assert min(widths) <= side // 2 + 3 and max(widths) >= side - 3
    assert min(tops) == 0 and max(tops) > side / 4


def test_box_width_and_place_are_uniform():
    generator = torch.Generator().manual_seed(0)
    boxes = [draw_box(9, 9, 0.5, generator) for _ in range(8000)]
    widths = torch.bincount(
        torch.tensor([right - left for _, left, _, right in boxes]), minlength=9
    )
    assert widths[:5].sum() == 0
    # 4 equally likely widths, 5 standard deviations
    assert (widths[5:9] - 2000).abs().max() < 5 * math.sqrt(8000 * 0.25 * 0.75)
    lefts = torch.bincount(torch.tensor([left for _, left, _, right in boxes if right - left == 5]))
    expected = widths[5] / 5
    assert len(lefts) == 5 and (lefts - expected).abs().max() < 5 * expected**0.5


def test_box_fits_images_that_are_not_square():
    generator = torch.Generator().manual_seed(0)
    for height, width, area in ((7, 40, 0.5), (40, 7, 0.5), (11, 13, 0.25), (2, 2, 0.5)):
        for _ in range(200):
            top, left, bottom, right = draw_box(height, width, area, generator)
            assert 0 <= top < bottom <= height and 0 <= left < right <= width
            size = (bottom - top) * (right - left)
            assert abs(size - area * height * width) <= max(height, width)


@pytest.mark.parametrize('count', [1, 2, 5])
def test_cutmix_takes_one_box_from_the_next_image(count):
    before = views(count)
    source = check_moved_together(before, CutMix(prob=1.0)(*before))
    for index in range(count):
        partner = (index + 1) % count
        inside = source[index] != index
        if count == 1:
            assert not inside.any()
            continue
        assert set(source[index].unique().tolist()) == {index, partner}
        rows, columns = inside.nonzero(as_tuple=True)
        box = inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.all()  # a full rectangle
        width = columns.max() - columns.min() + 1
        assert 13 <= width <= 23 and abs(int(inside.sum()) - 288) <= width / 2
    if count > 2:  # one box an image, not one a batch
        boxes = {tuple((source[i] != i).flatten().tolist()) for i in range(count)}
        assert len(boxes) > 1


def test_one_coin_a_batch():
    mixing = CutMix(prob=0.3)
    mixed = 0
    for seed in range(1000):
        before = views(2, 4, 4, seed)
        image, pseudo, valid = mixing(*before)
        if image is before.images:
            assert pseudo is before.pseudo and valid is before.valid
        else:
            source = sources(before, image)
            assert (source[0] != 0).any() and (source[1] != 1).any()
            mixed += 1
    assert abs(mixed - 300) < 5 * math.sqrt(1000 * 0.3 * 0.7)


def test_probabilities_zero_and_one():
    for seed in range(200):
        before = views(2, 4, 4, seed)
        assert CutMix(prob=0.0)(*before)[0] is before.images
        assert CutMix(prob=1.0)(*before)[0] is not before.images


@pytest.mark.parametrize(
    'mixing', [CutMix(prob=0.5), ClassMix(K, prob=0.5), CutOut(prob=0.5)], ids=str
)
def test_draws_come_from_the_views_generator_alone(mixing):
    for seed in range(8):
        torch.manual_seed(1)
        first = mixing(*views(3, seed=seed))
        state = torch.get_rng_state()
        torch.manual_seed(2)
        second = mixing(*views(3, seed=seed))
        assert torch.equal(first[0], second[0]) and torch.equal(first[2], second[2])
        assert torch.equal(first[1].labels, second[1].labels)
        torch.manual_seed(1)
        assert torch.equal(torch.get_rng_state(), state)
    drawn = {tuple(mixing(*views(3, seed=seed))[0].flatten().tolist()) for seed in range(8)}
    assert len(drawn) > 2


# -- ClassMix ------------------------------------------------------------------------------------


def test_classmix_keeps_half_of_the_classes():
    draw = torch.Generator().manual_seed(0)
    for _ in range(50):
        # between one and six classes of seven, and pixels without a label
        present = torch.randperm(7, generator=draw)[: int(torch.randint(1, 7, (), generator=draw))]
        labels = present[torch.randint(len(present), (3, 12, 12), generator=draw)]
        labels[torch.rand(3, 12, 12, generator=draw) < 0.2] = IGNORE
        keep = class_masks(labels, 7, draw)
        for mask, label in zip(keep, labels, strict=True):
            there = set(label.unique().tolist()) - {IGNORE}
            chosen = set(label[mask].unique().tolist())
            assert IGNORE not in chosen
            assert len(chosen) == len(there) // 2
            # whole classes: a pixel is kept exactly if its class is
            assert mask.tolist() == [[p in chosen for p in row] for row in label.tolist()]


def test_classmix_chooses_every_class_equally_often():
    labels = torch.arange(4).repeat(3000, 2, 1)
    keep = class_masks(labels, 4, torch.Generator().manual_seed(0))
    share = keep[:, 0].float().mean(dim=0)
    assert (share - 0.5).abs().max() < 5 * math.sqrt(0.25 / 3000)


def test_classmix_of_unlabelled_pixels_keeps_none():
    keep = class_masks(torch.full((2, 3, 3), IGNORE), K, torch.Generator().manual_seed(0))
    assert not keep.any()


@pytest.mark.parametrize('count', [1, 2, 4])
def test_classmix_pastes_over_the_next_image(count):
    before = views(count)
    source = check_moved_together(before, ClassMix(K)(*before))
    for index in range(count):
        found = set(source[index].unique().tolist())
        assert found <= {index, (index + 1) % count} and len(found) == min(count, 2)
        assert (source[index][before.pseudo.labels[index] == IGNORE] == (index + 1) % count).all()


# -- CutOut --------------------------------------------------------------------------------------


def test_cutout_erases_a_box_of_every_image():
    before = views(3)
    image, pseudo, valid = CutOut(prob=1.0, area=0.25)(*before)
    for index in range(3):
        # pixel 0 of image 0 is 0 already
        erased = (image[index] != before.images[index]).any(dim=0)
        rows, columns = erased.nonzero(as_tuple=True)
        box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        assert erased[box].all() and abs(int(erased.sum()) - 144) <= 12
        for moved, original, filler in (
            (image[index].sum(0), before.images[index].sum(0), 0),
            (pseudo.labels[index], before.pseudo.labels[index], IGNORE),
            (pseudo.confidence[index], before.pseudo.confidence[index], 0),
            (valid[index], before.valid[index], False),
        ):
            assert (moved[erased] == filler).all()
            assert torch.equal(moved[~erased], original[~erased])


def test_mix_with_oneself_changes_nothing():
    before = views(1)
    keep = torch.rand(1, 24, 24) < 0.5
    image, pseudo, valid = mix(keep, before.images, before.pseudo, before.valid)
    assert torch.equal(image, before.images) and torch.equal(valid, before.valid)
    assert torch.equal(pseudo.labels, before.pseudo.labels)


@pytest.mark.parametrize(
    'build',
    [
        lambda: CutMix(prob=1.1),
        lambda: CutMix(prob=-0.1),
        lambda: CutMix(area=0),
        lambda: CutMix(area=1.0),
        lambda: CutOut(area=1.5),
        lambda: ClassMix(0),
    ],
)
def test_impossible_settings_are_refused(build):
    with pytest.raises(SetupError, match='mixing'):
        build()


def test_one_image_mixed_with_itself_stays_as_it_is():
    before = views(1)
    image, pseudo, valid = ClassMix(K)(*before)
    assert torch.equal(image, before.images) and torch.equal(valid, before.valid)
    assert torch.equal(pseudo.labels, before.pseudo.labels)
    assert torch.equal(pseudo.confidence, before.pseudo.confidence)


@MODELS.register_module()
class _ViewsMixing(nn.Module):
    """What a mixing was before there was a base class."""

    def forward(self, views):
        raise AssertionError('not reached')


def test_a_module_that_is_no_mixing_is_refused():
    with pytest.raises(SetupError, match='model.mixing is _ViewsMixing.*step.mixing.Mixing'):
        tiny_model('fixmatch', mixing=dict(type='_ViewsMixing'))
