"""Perturbations guided by objects: masks, outlines, cutouts."""

import math

import cv2
import pytest
import torch

from mmseg_semi.methods.cct.perturbations.guided import (
    Boxes,
    Guidance,
    cut_boxes,
    object_boxes,
    winner_has,
)
from mmseg_semi.methods.cct.perturbations.modules import ContextMask, GuidedCutout, ObjectMask

SIZE = 320


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(radius: int, centre=(160, 160), size: int = SIZE) -> torch.Tensor:
    """Pixels nearer than ``radius`` to the centre (x, y)."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2


def guidance(foreground: torch.Tensor, classes: int = 3, **kwargs) -> Guidance:
    """A prediction whose pixels are class 2 in the foreground and class 0 elsewhere."""
    logits = torch.zeros(len(foreground), classes, *foreground.shape[1:])
    logits[:, 2] = foreground.float() - 0.5
    return Guidance(logits, generator(), **kwargs)


def test_masks_of_context_and_objects_share_the_features():
    foreground = torch.rand(2, 48, 64, generator=generator()) < 0.4
    z = torch.rand(2, 5, 6, 8, requires_grad=True)
    own = guidance(foreground)
    context, objects = ContextMask()(z, own), ObjectMask()(z, own)
    assert torch.equal(context + objects, z)
    for n in range(2):
        for i in range(6):
            for j in range(8):
                # nearest interpolation by 8 takes the pixel at the cell's corner
                kept = bool(foreground[n, 8 * i, 8 * j])
                assert torch.equal(context[n, :, i, j], z[n, :, i, j] * kept)
    assert 0 < int((context == 0).sum()) < context.numel()


@pytest.mark.parametrize('height', [6, 7])
def test_cells_take_the_nearest_pixel(height):
    logits = torch.randn(2, 4, 48, 64, generator=generator())
    own = Guidance(logits, generator(), background_classes=(1, 3))
    found = own.foreground_cells(height, 9)
    labels = logits.argmax(dim=1)
    is_object = ((labels == 0) | (labels == 2)).float()[:, None]
    expected = torch.nn.functional.interpolate(is_object, (height, 9), mode='nearest')[:, 0] > 0
    assert torch.equal(found, expected)
    assert torch.equal(own.foreground, is_object[:, 0] > 0)


def test_without_objects():
    z = torch.rand(2, 5, 6, 8)
    own = guidance(torch.zeros(2, 48, 64, dtype=torch.bool))
    assert torch.equal(ContextMask()(z, own), torch.zeros_like(z))
    assert torch.equal(ObjectMask()(z, own), z)
    assert torch.equal(GuidedCutout()(z, own), z)


def test_outlines_are_counted_by_their_vertices():
    rectangle = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    rectangle[20:300, 10:310] = True
    masks = torch.stack([rectangle, disc(15), disc(20), disc(120)])
    boxes = object_boxes(masks)
    assert boxes.image.tolist() == [2, 3]  # a rectangle has 4 vertices, a small disc 40
    assert boxes.corner.tolist() == [[141, 141], [41, 41]]
    assert boxes.extent.tolist() == [[38, 38], [238, 238]]
    assert object_boxes(masks, min_vertices=3).image.tolist() == [0, 1, 2, 3]
    assert len(object_boxes(masks, min_vertices=10_000).image) == 0


def test_touching_objects_are_one_and_holes_are_none():
    mask = disc(60, (100, 160)) | disc(60, (200, 160))
    mask &= ~disc(30, (100, 160))
    boxes = object_boxes(mask[None])
    assert boxes.corner.tolist() == [[101, 41]] and boxes.extent.tolist() == [[118, 218]]


def expected_mask(boxes: Boxes, count: int, shape, image_size, side: float, seed: int):
    """Erase pixels at full size, then take every cell's corner."""
    number, height, width = shape
    uniform = torch.rand(count, len(boxes.image), 2, generator=generator(seed)).double()
    keep = torch.ones(count, number, *image_size, dtype=torch.bool)
    for k in range(count):
        for b, image in enumerate(boxes.image.tolist()):
            (top, left), extent = boxes.corner[b].tolist(), boxes.extent[b].tolist()
            offset = [
                min(math.floor(u * (math.floor(e * (1 - side)) + 1)), math.floor(e * (1 - side)))
                for u, e in zip(uniform[k, b].tolist(), extent, strict=True)
            ]
            size = [math.floor(e * side) for e in extent]
            y, x = top + offset[0], left + offset[1]
            keep[k, image, y : y + size[0], x : x + size[1]] = False
    rows = torch.arange(height) * image_size[0] // height
    columns = torch.arange(width) * image_size[1] // width
    return keep[:, :, rows][:, :, :, columns].transpose(0, 1)


@pytest.mark.parametrize('side', [0.4, 0.7, 1.0])
def test_a_cutout_is_a_rectangle_in_each_box(side):
    boxes = Boxes(
        torch.tensor([[5, 3], [40, 10], [12, 30]]),
        torch.tensor([[30, 50], [23, 41], [51, 66]]),
        torch.tensor([0, 0, 2]),
    )
    shape, image_size = (3, 9, 13), (72, 104)
    found = cut_boxes(boxes, 4, image_size, shape, generator(1), side).keep
    assert torch.equal(found, expected_mask(boxes, 4, shape, image_size, side, 1))
    assert found[1].all() and not found[0].all() and not found[2].all()
    # a rectangle of the box's size fits in one place only
    assert torch.equal(found[:, 0], found[:, 1]) == (side == 1)


def test_cutout_of_a_disc():
    """A rectangle of 0.4 times the sides of the box, 16 % of its area, inside the box."""
    masks = disc(120)[None]
    boxes = object_boxes(masks)
    keep = cut_boxes(boxes, 400, (SIZE, SIZE), (1, 40, 40), generator()).keep[0]
    cells = (~keep).sum(dim=(1, 2))
    assert cells.max() == 144  # 12 x 12
    inside = torch.zeros(40, 40, dtype=torch.bool)
    inside[6:35, 6:35] = True
    assert not (~keep & ~inside).any()
    assert (cells / 900).mean().item() == pytest.approx(0.157, abs=0.006)
    assert len({*(~keep).float().flatten(1).argmax(dim=1).tolist()}) > 50  # many places
    kept = cut_boxes(boxes, 3, (SIZE, SIZE), (1, 40, 40), generator(), erase_side=0.0).keep
    assert kept.all()


def test_a_rectangle_and_a_small_disc_are_never_cut():
    rectangle = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    rectangle[20:300, 10:310] = True
    z = torch.rand(2, 3, 40, 40)
    own = guidance(torch.stack([rectangle, disc(15)]))
    assert torch.equal(GuidedCutout()(z, own), z)
    large = guidance(torch.stack([disc(100), disc(15)]))
    cut = GuidedCutout()(z, large)
    assert not torch.equal(cut[0], z[0]) and torch.equal(cut[1], z[1])


def test_outlines_are_found_once(monkeypatch):
    calls = []
    own = guidance(torch.stack([disc(100)] * 2))
    original = cv2.findContours
    monkeypatch.setattr(cv2, 'findContours', lambda *args: calls.append(1) or original(*args))
    z = torch.rand(2, 3, 40, 40)
    module = GuidedCutout()
    draws = [module.draw(z, own, 6), module.draw(z, own, 6)]
    assert len(calls) == 2  # one per image
    assert not torch.equal(draws[0].keep, draws[1].keep)  # each draw has new places


def test_objects_are_outlined_at_the_size_of_the_image():
    """Logits at a quarter of the side would have too few vertices."""
    small = torch.nn.functional.max_pool2d(disc(100)[None, None].float(), 4)[:, 0] > 0
    logits = torch.zeros(1, 2, 80, 80)
    logits[:, 1] = small.float() - 0.5
    at_scores = Guidance(logits, generator())
    at_image = Guidance(logits, generator(), image_size=(SIZE, SIZE))
    assert at_image.foreground.shape == (1, SIZE, SIZE)
    assert at_scores.foreground.shape == (1, 80, 80)
    (extent,) = at_image.boxes().extent.tolist()
    assert all(abs(side - 200) < 12 for side in extent)


@pytest.mark.parametrize('flags', [(0, 1, 1, 1), (0, 0, 1, 1), (1, 0, 1, 0), (1, 1, 1, 1)])
def test_the_winner_is_the_first_of_equal_classes(flags):
    g = torch.Generator().manual_seed(0)
    logits = torch.randint(3, (2, 4, 9, 9), generator=g).float()  # mostly ties
    expected = torch.tensor(flags).bool()[logits.argmax(dim=1)]
    assert torch.equal(winner_has([bool(flag) for flag in flags], logits), expected)
