import math
from typing import NamedTuple

import pytest
import torch
from mmseg.registry import MODELS
from tiny_semi import CROP, TinyLoop, tiny_batch, tiny_losses, tiny_model
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.mixing import (
    AdaptiveCutMix,
    ClassMix,
    ColourAfterMixing,
    CutMix,
    CutOut,
    Mixing,
    MixingChoice,
)
from mmseg_semi.step.mixing_pixels import class_masks, draw_box, draw_free_box, mix
from mmseg_semi.step.pseudo_labels import image_certainty
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
        PseudoLabels(
            labels, pixels / pixels.numel() + labels, (pixels % 19).long(), (pixels % 23) / 23
        ),
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
        (pseudo.weight, before.pseudo.weight),
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


UNIMATCH = dict(area=(0.02, 0.4), aspect=(0.3, 1 / 0.3))


def test_free_boxes_have_the_area_and_shape_that_were_asked_for():
    generator = torch.Generator().manual_seed(0)
    shares, ratios = [], []
    for _ in range(4000):
        top, left, bottom, right = draw_free_box(321, 321, generator=generator, **UNIMATCH)
        assert 0 <= top < bottom <= 321 and 0 <= left < right <= 321
        height, width = bottom - top, right - left
        shares.append(height * width / 321**2)
        ratios.append(height / width)
    shares, ratios = torch.tensor(shares), torch.tensor(ratios)
    # sides are rounded down: by one pixel, 321 of them or fewer
    assert shares.min() >= 0.02 - 2 * 0.5 / 321 and shares.max() <= 0.4
    assert ratios.min() >= 0.3 - 0.02 and ratios.max() <= 1 / 0.3 + 0.2
    # the area is uniform, whatever shapes were refused: mean 0.21, five standard deviations
    assert abs(shares.mean() - 0.21) < 5 * 0.38 / 12**0.5 / 4000**0.5 + 0.003


def test_shape_and_place_of_a_free_box_are_uniform_among_those_that_fit():
    """Against all (ratio, place) pairs of one area, listed: a shape is as frequent as it has places."""
    generator = torch.Generator().manual_seed(0)
    side, area = 10, 0.3
    boxes = [
        draw_free_box(side, side, (area, area), UNIMATCH['aspect'], generator) for _ in range(6000)
    ]
    counts = {}
    for top, left, bottom, right in boxes:
        shape = bottom - top, right - left
        counts[shape] = counts.get(shape, 0) + 1
    places = {}
    steps = 200_000
    for index in range(steps):  # the ratio, on a fine grid
        ratio = 0.3 + (1 / 0.3 - 0.3) * (index + 0.5) / steps
        shape = int(math.sqrt(area * ratio) * side), int(math.sqrt(area / ratio) * side)
        if max(shape) <= side:
            room = (side - shape[0] + 1) * (side - shape[1] + 1)
            places[shape] = places.get(shape, 0.0) + min(room, side * side) / steps
    whole = sum(places.values())
    assert counts.keys() <= places.keys()
    for shape, weight in places.items():
        expected = 6000 * weight / whole
        assert abs(counts.get(shape, 0) - expected) < 5 * max(expected, 1) ** 0.5, shape
    lefts = [left for _, left, bottom, right in boxes if right - left == 5]
    found = torch.bincount(torch.tensor(lefts), minlength=6)
    assert len(found) == 6 and (found - len(lefts) / 6).abs().max() < 5 * (len(lefts) / 6) ** 0.5


def test_free_boxes_keep_the_image_in_proportion():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        top, left, bottom, right = draw_free_box(20, 80, (0.2, 0.4), (1.0, 1.0), generator)
        assert bottom <= 20 and right <= 80
        assert abs((right - left) / (bottom - top) - 4) < 0.6


def test_one_coin_an_image():
    mixing = CutMix(prob=0.3, coin='image', **UNIMATCH)
    counts = torch.zeros(4)
    together = 0
    for seed in range(500):
        before = views(4, 12, 12, seed)
        source = check_moved_together(before, mixing(*before))
        mixed = torch.stack([(source[i] != i).any() for i in range(4)])
        counts += mixed
        together += bool(mixed[0] & mixed[1])
    # a box of area 0.02 of 12 x 12 pixels may have no pixel
    assert (counts - 150).abs().max() < 5 * math.sqrt(500 * 0.3 * 0.7) + 10
    assert abs(together - 500 * 0.09) < 5 * math.sqrt(500 * 0.09 * 0.91)


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


# -- with labelled images ------------------------------------------------------------------------


def labelled(count: int, seed: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Labelled images whose pixels are numbers below 0, so that their pixels can be told from unlabelled ones."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, K, (count, 6, 6), generator=draw)
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels[:, :2] = IGNORE
    pixels = -1 - torch.arange(count * 24 * 24, dtype=torch.float32).view(count, 1, 24, 24)
    return pixels.expand(-1, 3, -1, -1), labels


@pytest.mark.parametrize(('count', 'count_l'), [(3, 2), (2, 3), (1, 1)])
def test_classmix_pastes_true_labels_over_unlabelled_images(count, count_l):
    before = views(count)._replace(images=views(count).images.abs())
    images_l, labels_l = labelled(count_l)
    image, pseudo, valid = ClassMix(K, source='labeled')(*before, labeled=(images_l, labels_l))
    for i in range(count):
        j = i % count_l
        present = set(labels_l[j].unique().tolist()) - {IGNORE}
        pasted = set()
        for y in range(24):
            for x in range(24):
                truth = int(labels_l[j, y, x])
                if image[i, 0, y, x] < 0:
                    pasted.add(truth)
                    expected = (images_l[j, :, y, x].tolist(), truth, 1.0, 1.0, IGNORE, True)
                else:
                    expected = (
                        before.images[i, :, y, x].tolist(),
                        int(before.pseudo.labels[i, y, x]),
                        float(before.pseudo.confidence[i, y, x]),
                        float(before.pseudo.weight[i, y, x]),
                        int(before.pseudo.noisy[i, y, x]),
                        bool(before.valid[i, y, x]),
                    )
                found = (image[i, :, y, x].tolist(), int(pseudo.labels[i, y, x]))
                found += (float(pseudo.confidence[i, y, x]), float(pseudo.weight[i, y, x]))
                found += (int(pseudo.noisy[i, y, x]),)
                assert (*found, bool(valid[i, y, x])) == expected
        assert IGNORE not in pasted and len(pasted) == len(present) // 2
        # whole classes, in padding of the unlabelled image too
        inside = torch.isin(labels_l[j], torch.tensor(sorted(pasted), dtype=torch.long))
        assert (
            torch.equal(image[i, 0] < 0, inside) and valid[i, :, -3:].any() == inside[:, -3:].any()
        )


def test_labelled_images_without_a_label_paste_nothing():
    before = views(2)
    images_l, labels_l = labelled(2)
    nothing = torch.full_like(labels_l, IGNORE)
    image, pseudo, valid = ClassMix(K, source='labeled')(*before, labeled=(images_l, nothing))
    assert torch.equal(image, before.images) and torch.equal(valid, before.valid)
    assert torch.equal(pseudo.labels, before.pseudo.labels)


def test_half_precision_images_stay_as_they_are():
    before = views(2)
    half = before._replace(images=before.images.half())
    image, _, _ = ClassMix(K, source='labeled')(*half, labeled=labelled(2))
    assert image.dtype == torch.float16


MIXINGS_WITH_LABELS = {
    'alone': dict(type='ClassMix', source='labeled'),
    'coloured': dict(
        type='ColourAfterMixing',
        mixing=dict(type='ClassMix', source='labeled'),
        mean=[0.0] * 3,
        std=[255.0] * 3,
        bgr_to_rgb=True,
    ),
    'chosen': dict(
        type='MixingChoice',
        mixings=[dict(type='ClassMix', source='labeled'), dict(type='CutMix')],
        probs=[1.0, 0.0],
    ),
}


@pytest.mark.parametrize('name', MIXINGS_WITH_LABELS)
def test_a_step_hands_labelled_images_to_the_mixing(name):
    model = tiny_model('fixmatch', mixing=MIXINGS_WITH_LABELS[name])
    loop = TinyLoop(model)
    loop.iter = 2
    losses = tiny_losses(model, 2)
    batch, mixed = model.last_views.batch, model.last_views.teacher.mixed
    pasted = (mixed.pseudo_m.confidence == 1) & (mixed.pseudo_m.labels == batch.label_l)
    assert 0.1 < pasted.float().mean() < 0.9
    if name != 'coloured':
        assert torch.equal(mixed.img_u_m.movedim(1, -1)[pasted], batch.img_l.movedim(1, -1)[pasted])
    kept = mixed.pseudo_m.labels == model.last_views.teacher.pseudo_u.labels
    assert (pasted | kept).all()
    assert losses['selftrain.loss'] > 0
    assert math.isfinite(loop.step()['loss'])


@pytest.mark.parametrize('forward', ['joint', 'stream'])
def test_labelled_crops_of_another_size_cannot_be_pasted(forward):
    settings = dict(forward=forward, teacher=dict(rows='weak'))
    batch, larger = tiny_batch(2, 2), tiny_batch(2, 2, size=2 * CROP)
    for part in ('inputs', 'data_samples'):
        batch[part]['labeled'] = larger[part]['labeled']
    model = tiny_model('fixmatch', mixing=MIXINGS_WITH_LABELS['alone'], **settings)
    with pytest.raises(SetupError, match=r'\(64, 64\) and .*\(32, 32\).*model.mixing pastes'):
        tiny_losses(model, 2, batch)
    if forward == 'stream':
        tiny_losses(tiny_model('fixmatch', **settings), 2, batch)


def test_a_wrapper_that_hides_the_need_for_labels_is_named():
    with pytest.raises(SetupError, match='ClassMix mixes with labelled images, .*needs_labeled'):
        ClassMix(K, source='labeled')(*views(2))


def test_a_mixing_of_four_arguments_is_called_with_four(monkeypatch):
    """Subclasses of before there were labelled images."""

    class Old(Mixing):
        def forward(self, images, pseudo, valid, generator):
            return images, pseudo, valid

    model = tiny_model('fixmatch')
    model.mixing = Old()
    assert tiny_losses(model, 2)['selftrain.loss'] >= 0


# -- a choice of mixings -------------------------------------------------------------------------


def test_one_draw_a_batch_chooses_the_mixing():
    mixing = MixingChoice(
        [dict(type='CutOut', prob=1.0), dict(type='CutMix', prob=1.0), dict(type='ClassMix')],
        probs=[0.2, 0.5, 0.3],
    )
    mixing.bind(K)
    counts = [0, 0, 0]
    for seed in range(1500):
        before = views(2, 8, 8, seed)
        calls = []
        for index, one in enumerate(mixing.mixings):
            one.forward = lambda *args, index=index, calls=calls: calls.append(index) or args[:3]
        mixing(*before)
        assert len(calls) == 1
        counts[calls[0]] += 1
    for count, prob in zip(counts, (0.2, 0.5, 0.3), strict=True):
        assert abs(count - 1500 * prob) < 5 * math.sqrt(1500 * prob * (1 - prob))


def test_the_chosen_mixing_is_the_mixing_itself():
    before = views(3)
    found = MixingChoice([dict(type='CutMix', prob=1.0)])(*before)
    again = views(3)
    torch.rand((), generator=again.generator, dtype=torch.float64)  # the choice
    expected = CutMix(prob=1.0)(*again)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[2], expected[2])


def test_a_choice_asks_for_labels_if_one_of_its_mixings_does():
    plain, pasting = dict(type='CutMix'), dict(type='ClassMix', source='labeled')
    assert not MixingChoice([plain, plain]).needs_labeled
    choice = MixingChoice([plain, pasting])
    assert choice.needs_labeled and choice.bounds == [0.5]
    choice.bind(K)
    assert [m.num_classes for m in (choice, choice.mixings[1])] == [K, K]
    outer = dict(mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True)
    wrapper = ColourAfterMixing(dict(type='MixingChoice', mixings=[plain, pasting]), **outer)
    assert wrapper.needs_labeled


# -- CutOut --------------------------------------------------------------------------------------


def labelled_views(count_l: int, before: Strong) -> tuple[torch.Tensor, torch.Tensor]:
    """Labelled images whose pixels are negative, with labels K and void columns at the right."""
    _, height, width = before.valid.shape
    images = -1 - torch.arange(count_l).float().view(-1, 1, 1, 1).expand(-1, 3, height, width)
    labels = torch.full((count_l, height, width), K)
    labels[:, :, -2:] = IGNORE
    return images.contiguous(), labels


@pytest.mark.parametrize('count_l', [2, 3])
def test_uncertain_images_get_a_box_of_a_labelled_one(count_l):
    before = views(3)
    images_l, labels_l = labelled_views(count_l, before)
    mixing = AdaptiveCutMix(prob=1.0)
    image, pseudo, valid = mixing(
        *before, labeled=(images_l, labels_l), certainty=torch.tensor([1.0, 0.0, 1.0])
    )
    # the first channel says from which image a pixel comes: negative for labelled ones
    pasted = image[:, 0] < 0
    assert pasted[1].any() and not pasted[2].any()
    # image 0 has them by its partner's box alone, all of labelled image 1 mod N_l
    assert (image[:, 0][pasted] == -1 - 1 % count_l).all()
    assert (pseudo.labels[pasted] == K).all() and not (pseudo.labels[~pasted] == K).any()
    assert (pseudo.confidence[pasted] == 1).all() and (pseudo.weight[pasted] == 1).all()
    assert (pseudo.noisy[pasted] == IGNORE).all() and valid[pasted].all()
    assert not pasted[:, :, -2:].any()  # void is not pasted
    # the rest are pixels of the image or of the next one, with all that belongs to them
    rest = sources(before, image.clamp(min=0))
    for i in range(3):
        own = rest[i][~pasted[i]]
        assert set(own.unique().tolist()) <= {i, (i + 1) % 3} and len(own.unique()) == 2
        moved = before.pseudo.labels.gather(0, rest)[i]
        assert torch.equal(pseudo.labels[i][~pasted[i]], moved[~pasted[i]])


def test_a_labelled_box_is_as_likely_as_the_teacher_is_uncertain():
    mixing, counts = AdaptiveCutMix(prob=1.0), torch.zeros(3)
    certainty = torch.tensor([0.2, 0.5, 0.9])
    for seed in range(600):
        before = views(3, 12, 12, seed)
        labeled = labelled_views(3, before)
        image, _, _ = mixing(*before, labeled=labeled, certainty=certainty)
        seen = image[:, 0]
        # a box of the next image may cover all of it, but not leave one of an image that has none
        counts += torch.stack([(seen == -1 - i).any() for i in range(3)])
    expected = 600 * (1 - certainty)
    assert ((counts - expected).abs() < 5 * (expected * certainty).sqrt() + 12).all()


def test_certainty_of_an_image():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, K, 6, 8, generator=generator, dtype=torch.float64)
    valid = torch.rand(3, 12, 16, generator=generator) < 0.7
    valid[2] = False
    found = image_certainty(logits, valid)
    for i in range(2):
        terms = []
        for row in range(6):
            for column in range(8):
                if not valid[i, 2 * row, 2 * column]:
                    continue
                p = [math.exp(v) for v in logits[i, :, row, column].tolist()]
                p = [v / sum(p) for v in p]
                spread = -sum(v * math.log(v) for v in p)
                terms.append(max(p) * (1 - spread / math.log(K)))
        assert found[i].item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    assert found[2] == 0


def test_a_step_hands_certainty_to_the_mixing():
    for mixing in (
        dict(type='AdaptiveCutMix', prob=1.0),
        dict(type='MixingChoice', mixings=[dict(type='AdaptiveCutMix', prob=1.0)]),
    ):
        model = tiny_model('fixmatch', mixing=mixing)
        tiny_losses(model, 2, tiny_batch(2, 3))
        seen = model.last_views
        pasted = (seen.teacher.mixed.pseudo_m.confidence == 1) & (
            seen.teacher.mixed.pseudo_m.labels != IGNORE
        )
        # an untrained teacher is certain of nothing
        assert pasted.any()
    with pytest.raises(SetupError, match='needs_certainty=True'):
        before = views(2)
        AdaptiveCutMix(prob=1.0)(*before, labeled=labelled_views(2, before))


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
            (pseudo.weight[index], before.pseudo.weight[index], 0),
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
        lambda: CutMix(coin='pixel'),
        lambda: CutMix(area=(0.1, 0.4)),
        lambda: CutMix(aspect=(0.5, 2.0)),
        lambda: CutMix(area=(0.4, 0.1), aspect=(0.5, 2.0)),
        lambda: CutMix(area=(0.1, 1.0), aspect=(0.5, 2.0)),
        lambda: CutMix(area=(0.1, 0.9), aspect=(0.5, 2.0)),
        lambda: CutMix(area=(0.1, 0.4), aspect=(1.5, 2.0)),
        lambda: CutOut(area=1.5),
        lambda: AdaptiveCutMix(prob=2.0),
        lambda: AdaptiveCutMix(area=0.0),
        lambda: ClassMix(0),
        lambda: ClassMix(source='both'),
        lambda: MixingChoice([]),
        lambda: MixingChoice([dict(type='CutMix')] * 2, probs=[1.0]),
        lambda: MixingChoice([dict(type='CutMix')] * 2, probs=[0.5, 0.6]),
        lambda: MixingChoice([dict(type='CutMix')] * 2, probs=[1.5, -0.5]),
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
