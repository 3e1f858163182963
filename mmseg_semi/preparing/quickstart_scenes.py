"""Draw outdoor scenes with exact semantic labels: the images of the quickstart data.

A scene has a sky, a ground, perhaps water, and some buildings, trees and vehicles drawn from far to
near, so that near objects hide far ones. Every object has a random shape, material and colour, and
every scene has random haze, cast shadows, light from one side, exposure, colour cast, blur and
sensor noise. Colour alone therefore rarely determines the class; texture and context do, and a
dozen scenes do not show all variations.

This module needs numpy and OpenCV only, not MMSegmentation. Pixels are RGB float32, nominally in
[0, 1], until the last line.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from mmseg_semi.data.quickstart import CLASSES

SKY, GROUND, WATER, BUILDING, TREE, VEHICLE = range(len(CLASSES))

# Every scene shows sky and ground; scene i also shows the (i mod 4)-th of these.
OPTIONAL = (WATER, BUILDING, TREE, VEHICLE)
MIN_SHARE = 0.01
"""Least share of a scene that each required class covers."""

Array = np.ndarray
Rng = np.random.Generator


class Canvas(NamedTuple):
    """Image and labels of a scene that is being drawn, with its light and haze.

    Args:
        image: (H, W, 3) float32, RGB in [0, 1].
        label: (H, W) uint8 class indices.
        horizon: Row of the horizon in the middle of the image, in pixels.
        light: Direction of the light, -1 (to the left) to 1 (to the right).
        shade: Strength of cast shadows in [0, 1]; 0 is an overcast day.
        haze: RGB colour of distant objects.
        haze_amount: Share of the haze colour at the horizon, in [0, 1].
    """

    image: Array
    label: Array
    horizon: float
    light: float
    shade: float
    haze: Array
    haze_amount: float


def draw_scene(
    seed: tuple[int, ...], size: tuple[int, int], required: int | None = None
) -> tuple[Array, Array]:
    """Draw one scene.

    Args:
        seed: Non-negative integers; equal seeds give equal scenes.
        size: (height, width) in pixels, each at least 48.
        required: Class index that must cover at least 1 % of the scene, as sky and ground must; the
            scene is drawn again until it does. None requires no further class.

    Returns:
        tuple[np.ndarray, np.ndarray]: Image (H, W, 3) uint8 RGB, and labels (H, W) uint8 in [0, 6).

    Example:
        >>> image, label = draw_scene((0, 1), (64, 80), TREE)
        >>> image.shape, bool((label == TREE).mean() >= MIN_SHARE)
        ((64, 80, 3), True)
    """
    attempt = 0
    while True:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*seed, attempt])))
        image, label = _draw(rng, size, required)
        shares = np.bincount(label.ravel(), minlength=len(CLASSES)) / label.size
        wanted = (SKY, GROUND) if required is None else (SKY, GROUND, required)
        if all(shares[index] >= MIN_SHARE for index in wanted):
            return image, label
        attempt += 1


def _draw(rng: Rng, size: tuple[int, int], required: int | None) -> tuple[Array, Array]:
    height, width = size
    sky, haze = _sky(rng, height, width)
    canvas = Canvas(
        image=sky,
        label=np.full(size, SKY, np.uint8),
        horizon=rng.uniform(0.25, 0.55) * height,
        light=float(rng.choice((-1.0, 1.0)) * rng.uniform(0.3, 1.0)),
        shade=float(rng.uniform(0.1, 0.5)),
        haze=haze,
        haze_amount=float(rng.uniform(0.0, 0.2)),
    )
    _lay_ground(rng, canvas)
    if required == WATER or rng.random() < 0.5:
        _lay_water(rng, canvas)

    counts = {BUILDING: (1, 3), TREE: (0, 4), VEHICLE: (0, 3)}
    depths = {BUILDING: (0.0, 0.35), TREE: (0.1, 0.7), VEHICLE: (0.3, 1.0)}
    objects = []
    for index, (low, high) in counts.items():
        number = int(rng.integers(low, high)) + (required == index)
        objects += [(float(rng.uniform(*depths[index])), index) for _ in range(number)]
    for depth, index in sorted(objects):  # 0 stands on the horizon, 1 at the lower edge
        _DRAW[index](rng, canvas, depth)
    return _photograph(rng, canvas.image), canvas.label


# -- textures ------------------------------------------------------------------------------------


def _noise(rng: Rng, height: int, width: int, cell: tuple[float, float], octaves: int = 1) -> Array:
    """Smooth random field, (height, width) float32 around [0, 1].

    Args:
        rng: Source of all draws.
        height, width: Size in pixels.
        cell: Grain (rows, columns) of the coarsest octave, in pixels.
        octaves: Number of octaves; each further one has half the grain and half the weight.
    """
    total, weight = np.zeros((height, width), np.float32), 0.0
    for octave in range(octaves):
        rows = max(2, round(height * 2**octave / cell[0]) + 1)
        cols = max(2, round(width * 2**octave / cell[1]) + 1)
        grid = rng.random((min(rows, height), min(cols, width)), dtype=np.float32)
        total += 0.5**octave * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight += 0.5**octave
    return total / np.float32(weight)


def _colour(hue: float, saturation: float, value: float) -> Array:
    """RGB of a hue in turns (0 red, 1/3 green, 2/3 blue), (3,) float32."""
    sector = (np.array([5.0, 3.0, 1.0]) + 6.0 * hue) % 6.0
    ramp = np.clip(np.minimum(sector, 4.0 - sector), 0.0, 1.0)
    return (value * (1.0 - saturation * ramp)).astype(np.float32)


def _mix(first: Array, second: Array, share: Array) -> Array:
    """Blend two colours by a (H, W) map: 0 gives the first, 1 the second."""
    share = np.clip(share, 0.0, 1.0).astype(np.float32)[..., None]
    return first * (1.0 - share) + second * share


def _ramp(length: int) -> Array:
    return np.linspace(0.0, 1.0, length, dtype=np.float32)


def _sky(rng: Rng, height: int, width: int) -> tuple[Array, Array]:
    """An image (H, W, 3) that is all sky, and the colour of its haze."""
    kind = rng.integers(3)
    if kind == 0:  # clear
        top = _colour(rng.uniform(0.53, 0.63), rng.uniform(0.35, 0.75), rng.uniform(0.7, 0.95))
        low = 0.4 * top + 0.6 * np.float32(rng.uniform(0.8, 0.95))
    elif kind == 1:  # overcast
        top = _colour(rng.random(), rng.uniform(0.0, 0.1), rng.uniform(0.7, 0.9))
        low = 0.4 * top + 0.6 * np.float32(rng.uniform(0.75, 0.95))
    else:  # low sun
        top = _colour(rng.uniform(0.55, 0.8), rng.uniform(0.2, 0.5), rng.uniform(0.6, 0.85))
        low = _colour(rng.uniform(-0.03, 0.14), rng.uniform(0.3, 0.6), rng.uniform(0.8, 1.0))
    sky = _mix(top, low, np.tile(2.0 * _ramp(height)[:, None], (1, width)))
    cover = _noise(rng, height, width, (rng.uniform(10, 22), rng.uniform(20, 50)), 4)
    cloud = np.clip(low * 1.1 + 0.1, 0.0, 1.0) * rng.uniform(0.75, 1.1)
    return _mix(sky, cloud, (cover - rng.uniform(0.35, 0.75)) * rng.uniform(2.0, 5.0)), low


def _perspective(canvas: Canvas, slope: float = 0.0) -> tuple[Array, Array, Array]:
    """Nearness of every pixel, and its position on the ground (across, along) in arbitrary units.

    Nearness is 0 at the horizon and 1 at the lower edge.
    """
    height, width = canvas.label.shape
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    near = (rows - canvas.horizon - slope * (cols - width / 2)) / (height - canvas.horizon)
    near = np.maximum(near, 0.0)
    scale = 1.0 / (near + 0.12)
    return near, (cols - width / 2) * scale / width, scale


def _lay_ground(rng: Rng, canvas: Canvas) -> None:
    """Draw a road, earth, grass or paving below an uneven horizon."""
    height, width = canvas.label.shape
    slope = float(rng.normal(0.0, 0.04))
    near, across, along = _perspective(canvas, slope)
    hill = _noise(rng, 1, width, (1, rng.uniform(15, 60)))[0] - 0.5
    rows = np.arange(height, dtype=np.float32)[:, None]
    line = canvas.horizon + slope * (np.arange(width) - width / 2) + rng.uniform(0, 8) * hill
    mask = rows >= line

    kind = rng.integers(4)
    fine = _noise(rng, height, width, (1.5, 1.5), 1)
    coarse = _noise(rng, height, width, (rng.uniform(6, 14), rng.uniform(14, 40)), 3)
    if kind == 0:  # asphalt with lane marks
        base = _colour(rng.random(), rng.uniform(0.0, 0.12), rng.uniform(0.25, 0.5))
        texture = base * (0.75 + 0.25 * fine + 0.25 * coarse)[..., None]
        turn, lanes = rng.uniform(-0.6, 0.6), rng.uniform(0.5, 1.1)
        lane = np.abs((across + turn * (along - 1.0) * 0.15) / lanes % 1.0 - 0.5)
        dashes = (along * rng.uniform(1.0, 2.0)) % 1.0 < rng.uniform(0.5, 1.0)
        texture[(lane < 0.035) & dashes] = _colour(
            0.14, rng.choice((0.0, 0.7)), rng.uniform(0.7, 0.95)
        )
    elif kind == 1:  # bare earth, sand
        base = _colour(rng.uniform(0.05, 0.12), rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.65))
        texture = base * (0.55 + 0.3 * fine + 0.6 * coarse)[..., None]
    elif kind == 2:  # grass, fresh to dry
        base = _colour(rng.uniform(0.13, 0.36), rng.uniform(0.25, 0.65), rng.uniform(0.3, 0.7))
        blades = _noise(rng, height, width, (3.0, 1.0))
        texture = base * (0.6 + 0.4 * blades * (0.3 + near) + 0.4 * coarse)[..., None]
    else:  # paving
        base = _colour(rng.uniform(-0.05, 0.65), rng.uniform(0.0, 0.12), rng.uniform(0.35, 0.6))
        joint = np.minimum(
            np.abs(across * rng.uniform(4, 9) % 1.0 - 0.5),
            np.abs(along * rng.uniform(2, 5) % 1.0 - 0.5),
        )
        texture = base * (0.8 + 0.2 * fine + 0.2 * coarse - 0.35 * (joint < 0.09))[..., None]
    _paint(canvas, mask, texture, GROUND, near)


def _lay_water(rng: Rng, canvas: Canvas) -> None:
    """Draw a lake or a river on the ground."""
    height, width = canvas.label.shape
    near, across, _ = _perspective(canvas)
    if rng.random() < 0.6:  # a lake or the sea: a band with uneven banks
        top = rng.uniform(0.0, 0.3)
        bottom = top + rng.uniform(0.15, 0.6)
        bank = 0.25 * (_noise(rng, 1, width, (1, rng.uniform(20, 60)), 2)[0] - 0.5)
        side = rng.choice((-1.0, 0.0, 1.0)) * np.linspace(-0.5, 0.5, width)
        mask = (near > top + bank * 0.3) & (near < bottom + bank + side * rng.uniform(0.0, 1.2))
    else:  # a river that runs towards the viewer
        centre, bend = rng.uniform(-0.8, 0.8), rng.uniform(-1.5, 1.5)
        mask = np.abs(across - centre - bend * (near - 0.5)) < rng.uniform(0.2, 0.7)
    mask &= canvas.label == GROUND

    base = _colour(rng.uniform(0.46, 0.64), rng.uniform(0.4, 0.8), rng.uniform(0.35, 0.75))
    # Ripples lie flat and grow towards the viewer: two grains, blended by nearness.
    far_ripple = _noise(rng, height, width, (1.5, rng.uniform(8, 14)))
    near_ripple = _noise(rng, height, width, (rng.uniform(3, 5), rng.uniform(16, 30)), 2)
    ripple = far_ripple * (1 - near) + near_ripple * near - 0.5
    texture = _mix(base, canvas.haze, rng.uniform(0.1, 0.35) * (1.0 - 0.6 * near))
    texture = texture * (1.0 + rng.uniform(0.4, 1.1) * ripple)[..., None]
    glint = ripple > rng.uniform(0.2, 0.4)
    texture[glint] += rng.uniform(0.1, 0.4)
    _paint(canvas, mask, texture, WATER, near)


# -- objects -------------------------------------------------------------------------------------


def _place(rng: Rng, canvas: Canvas, depth: float) -> tuple[float, float, float]:
    """Foot (column, row) of an object at a depth, and its scale: pixels of a unit of height."""
    height, width = canvas.label.shape
    row = canvas.horizon + (0.02 + 0.9 * depth) * (height - canvas.horizon)
    scale = height * (0.3 + 0.4 * depth) * float(np.exp(rng.normal(0.0, 0.2)))
    return float(rng.uniform(-0.05, 1.05) * width), float(row), scale


def _polygon(canvas: Canvas, points: list[tuple[float, float]] | Array) -> Array:
    """Mask of a filled polygon with corners (column, row)."""
    mask = np.zeros(canvas.label.shape, np.uint8)
    cv2.fillPoly(mask, [np.round(np.asarray(points)).astype(np.int32)], 1)
    return mask.astype(bool)


def _box(canvas: Canvas, left: float, top: float, right: float, bottom: float) -> Array:
    return _polygon(canvas, [(left, top), (right, top), (right, bottom), (left, bottom)])


def _blob(canvas: Canvas, col: float, row: float, half_width: float, half_height: float) -> Array:
    turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    return _polygon(
        canvas, np.stack([col + half_width * np.cos(turn), row + half_height * np.sin(turn)], 1)
    )


def _paint(canvas: Canvas, mask: Array, texture: Array, index: int, near: Array | float) -> None:
    """Write a texture (map or one colour) and a class in a mask; distant pixels fade into haze."""
    fade = canvas.haze_amount * (1.0 - np.minimum(np.broadcast_to(near, mask.shape)[mask], 1.0))
    colour = np.broadcast_to(texture, canvas.image.shape)[mask]
    canvas.image[mask] = colour * (1.0 - fade)[:, None] + canvas.haze * fade[:, None]
    canvas.label[mask] = index


def _cast(canvas: Canvas, col: float, row: float, half_width: float, length: float) -> None:
    """Darken the shadow that an object casts from its foot."""
    shift = canvas.light * length
    points = [(col - half_width, row), (col + half_width, row)]
    points += [
        (col + half_width + shift, row + 0.25 * length),
        (col - half_width + shift, row + 0.25 * length),
    ]
    shadow = cv2.GaussianBlur(_polygon(canvas, points).astype(np.float32), (0, 0), 1.2)
    canvas.image[...] *= 1.0 - canvas.shade * shadow[..., None]


def _lit(canvas: Canvas, col: float, half_width: float, contrast: float) -> Array:
    """Factors around 1, (1, W), that brighten the side of an object that faces the light."""
    side = (np.arange(canvas.label.shape[1], dtype=np.float32) - col) / max(half_width, 1.0)
    return (1.0 - contrast * canvas.light * np.clip(side, -1.0, 1.0))[None, :]


def _building(rng: Rng, canvas: Canvas, depth: float) -> None:
    """Draw a building with windows or boards, perhaps with a gable roof."""
    height, width = canvas.label.shape
    col, row, scale = _place(rng, canvas, depth)
    half, tall = scale * rng.uniform(0.35, 0.8), scale * rng.uniform(0.7, 1.7)
    top = row - tall
    _cast(canvas, col, row, half, tall * 0.5)
    mask = _box(canvas, col - half, top, col + half, row)

    hue = rng.uniform(-0.05, 0.13) if rng.random() < 0.9 else rng.random()
    wall = _colour(hue, rng.uniform(0.1, 0.45), rng.uniform(0.65, 0.98))
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    grain = _noise(rng, height, width, (2.0, 2.0)) - 0.5
    texture = np.tile(wall, (height, width, 1)) * (1.0 + 0.12 * grain)[..., None]
    pitch_x, pitch_y = scale * rng.uniform(0.14, 0.32), scale * rng.uniform(0.16, 0.34)
    pitch_x, pitch_y = max(pitch_x, 3.5), max(pitch_y, 3.5)
    u, v = (cols - col + half) / pitch_x % 1.0, (rows - top) / pitch_y % 1.0
    kind = rng.integers(3)
    glass = _colour(rng.uniform(0.5, 0.7), rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.5))
    if rng.random() < 0.2:  # lit from inside
        glass = _colour(rng.uniform(0.1, 0.16), 0.5, 0.95)
    fill = rng.uniform(0.35, 0.65)
    if kind == 0:  # rows of windows
        texture[(np.abs(u - 0.5) < fill / 2) & (np.abs(v - 0.5) < fill / 2)] = glass
    elif kind == 1:  # window bands
        texture[np.abs(v - 0.5) < fill / 2] = glass
    else:  # brick or boards, one or two openings
        texture *= (1.0 - rng.uniform(0.15, 0.4) * (((rows - top) % max(2.5, scale * 0.06)) < 1.2))[
            ..., None
        ]
        for _ in range(int(rng.integers(2, 6))):
            x, y = col + half * rng.uniform(-0.7, 0.7), top + tall * rng.uniform(0.2, 0.8)
            texture[
                _box(canvas, x - pitch_x / 2, y - pitch_y / 2, x + pitch_x / 2, y + pitch_y / 2)
            ] = glass
    texture = texture * _lit(canvas, col, half, rng.uniform(0.0, 0.3))[..., None]
    if rng.random() < 0.45:  # gable roof
        roof = _polygon(
            canvas,
            [
                (col - 1.1 * half, top),
                (col + 1.1 * half, top),
                (col + rng.uniform(-0.4, 0.4) * half, top - half * rng.uniform(0.3, 0.9)),
            ],
        )
        tiles = _colour(rng.uniform(-0.03, 0.1), rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.6))
        _paint(canvas, roof, tiles * (0.8 + 0.4 * grain)[..., None], BUILDING, depth)
    _paint(canvas, mask, texture, BUILDING, depth)


def _tree(rng: Rng, canvas: Canvas, depth: float) -> None:
    """Draw a broad tree, a conifer, a poplar or a bush."""
    height, width = canvas.label.shape
    col, row, scale = _place(rng, canvas, depth)
    tall, half = scale * rng.uniform(1.0, 1.7), scale * rng.uniform(0.4, 0.65)
    _cast(canvas, col, row, half * 0.7, tall * 0.6)
    trunk = max(1.0, half * rng.uniform(0.08, 0.2))
    bark = _colour(rng.uniform(0.0, 0.12), rng.uniform(0.1, 0.5), rng.uniform(0.12, 0.45))
    _paint(canvas, _box(canvas, col - trunk, row - tall * 0.5, col + trunk, row), bark, TREE, depth)

    mask = np.zeros(canvas.label.shape, bool)
    kind = rng.integers(3)
    if kind == 0:  # broad crown of several balls
        for _ in range(int(rng.integers(4, 9))):
            x, y = col + half * rng.uniform(-0.7, 0.7), row - tall * rng.uniform(0.45, 0.95)
            mask |= _blob(
                canvas, x, y, half * rng.uniform(0.35, 0.65), half * rng.uniform(0.35, 0.6)
            )
    elif kind == 1:  # conifer
        for part in range(3):
            low, high = row - tall * (0.15 + 0.25 * part), row - tall * (0.55 + 0.22 * part)
            reach = half * (1.0 - 0.28 * part) * 0.9
            mask |= _polygon(canvas, [(col - reach, low), (col + reach, low), (col, high)])
    else:  # poplar or bush
        mask |= _blob(canvas, col, row - tall * 0.55, half * rng.uniform(0.4, 0.9), tall * 0.48)
    # Noise moves the outline in and out, which gives a leafy edge without holes.
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)
    mask = soft + 0.5 * (_noise(rng, height, width, (2.5, 2.5)) - 0.5) > 0.5

    if rng.random() < 0.85:
        leaf = _colour(rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.85), rng.uniform(0.25, 0.65))
    else:  # autumn
        leaf = _colour(rng.uniform(-0.02, 0.14), rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.85))
    grain = max(1.5, scale * rng.uniform(0.03, 0.07))
    leaves = _noise(rng, height, width, (grain, grain), 2)
    shape = 1.0 - 0.35 * np.clip(
        (np.arange(height)[:, None] - row + tall) / max(tall, 1.0), 0.0, 1.0
    )
    texture = leaf * ((0.2 + 1.4 * leaves) * shape * _lit(canvas, col, half, 0.3))[..., None]
    _paint(canvas, mask, texture, TREE, depth)


def _vehicle(rng: Rng, canvas: Canvas, depth: float) -> None:
    """Draw a car, a bus or a van."""
    col, row, scale = _place(rng, canvas, depth)
    tall = max(9.0, scale * 0.55)
    kind = rng.integers(2)
    vivid = rng.random() < 0.85
    paint = _colour(
        rng.random(), rng.uniform(0.65, 0.95) if vivid else 0.05, rng.uniform(0.4, 0.95)
    )
    glass = _colour(rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.3), rng.uniform(0.08, 0.4))
    face = float(rng.choice((-1.0, 1.0)))
    half = tall * (rng.uniform(0.95, 1.4) if kind == 0 else rng.uniform(1.0, 1.9))
    floor = row - 0.14 * tall
    _cast(canvas, col, row, half, tall * 0.4)

    def at(points: list[tuple[float, float]]) -> Array:
        """Polygon in the vehicle's frame: x -1 (tail) to 1 (nose), y 0 (floor) to 1 (roof)."""
        return _polygon(canvas, [(col + face * x * half, floor - y * tall) for x, y in points])

    shade = 1.0 - 0.35 * np.clip((np.arange(canvas.label.shape[0]) - floor + tall) / tall, 0.0, 1.0)
    body = (paint * shade[:, None].astype(np.float32))[:, None, :]
    if kind == 0:  # car: cabin, glass, body
        parts = [
            (body, [(-0.75, 0.4), (-0.5, 0.85), (0.2, 0.85), (0.55, 0.42)]),
            (glass, [(-0.6, 0.45), (-0.42, 0.76), (0.13, 0.76), (0.4, 0.45)]),
            (body, [(-1, 0), (-1, 0.42), (0.6, 0.46), (1, 0.32), (1, 0)]),
        ]
    else:  # bus or van: a box with a row of panes
        parts = [(body, [(-1, 0), (-1, 1.1), (0.92, 1.1), (1, 0.5), (1, 0)])]
        for left, right in _panes(int(rng.integers(2, 6))):
            parts.append((glass, [(left, 0.55), (left, 0.95), (right, 0.95), (right, 0.55)]))
    for colour, points in parts:
        _paint(canvas, at(points), colour, VEHICLE, depth)
    for side in (-0.62, 0.62):
        for radius, grey in ((0.2, 0.06), (0.08, 0.5)):
            wheel = _blob(canvas, col + side * half, floor, radius * tall, radius * tall)
            _paint(canvas, wheel, np.full(3, grey, np.float32), VEHICLE, depth)


def _panes(number: int) -> list[tuple[float, float]]:
    """Left and right ends of panes along a bus, in its frame."""
    pitch = 1.8 / number
    return [(-0.9 + pitch * pane, -0.9 + pitch * (pane + 0.78)) for pane in range(number)]


_DRAW: dict[int, Callable[[Rng, Canvas, float], None]] = {
    BUILDING: _building,
    TREE: _tree,
    VEHICLE: _vehicle,
}


# -- light and camera ----------------------------------------------------------------------------


def _photograph(rng: Rng, scene: Array) -> Array:
    """Light the scene and take its photograph, (H, W, 3) uint8."""
    height, width = scene.shape[:2]
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    along = np.cos(turn) * (cols / width - 0.5) + np.sin(turn) * (rows / height - 0.5)
    image = np.clip(scene, 0.0, 1.0) * (1.0 + rng.uniform(0.0, 0.3) * along)[..., None]
    if rng.random() < 0.3:  # the shadow of an object behind the camera
        offset, breadth = rng.uniform(-0.6, 0.6), rng.uniform(0.08, 0.3)
        across = np.cos(turn + 1.0) * (cols / width - 0.5) + np.sin(turn + 1.0) * (
            rows / height - 0.5
        )
        edge = np.clip((breadth - np.abs(across - offset)) / 0.03, 0.0, 1.0)
        image = image * (1.0 - rng.uniform(0.2, 0.4) * edge)[..., None]

    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * np.float32(rng.uniform(0.8, 1.1))
    cast = np.exp(rng.normal(0.0, 0.03, 3)).astype(np.float32)
    image = image * cast * np.float32(np.exp(rng.uniform(-0.2, 0.15)))
    image = np.clip(image, 0.0, 1.0) ** np.float32(rng.uniform(0.9, 1.15))
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), rng.uniform(0.4, 0.6))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(
        rng.uniform(0.004, 0.01)
    )
    return np.round(255.0 * np.clip(image + noise, 0.0, 1.0)).astype(np.uint8)
