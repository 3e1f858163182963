"""Pictures of what a network sees and answers: pure functions from tensors to uint8 RGB arrays.

Labels are (H, W) integers in [0, K) or IGNORE, pictures (H, W, 3) arrays.
"""

import math
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mmseg_semi.labels import IGNORE

Picture = np.ndarray
_GAP = 4
_LINE = 14


def default_palette(num_classes: int) -> list[tuple[int, int, int]]:
    """Colours that are far apart, for data sets that come without: no grey, so that IGNORE stands out."""
    hues = (np.arange(num_classes) * 0.618033988749895) % 1  # golden ratio: neighbours differ
    values = np.where(np.arange(num_classes) % 2, 0.65, 1.0)
    hsv = np.stack([hues, np.full(num_classes, 0.85), values], axis=1)
    return [tuple(c) for c in (matplotlib.colors.hsv_to_rgb(hsv) * 255).round().astype(int)]


def undo_normalization(
    images: Tensor, mean: Tensor | None, std: Tensor | None, is_bgr: bool = False
) -> list[Picture]:
    """The pictures that a data preprocessor normalised.

    Args:
        images: (N, 3, H, W) float, normalised.
        mean, std: 3 numbers each, in 0..255; None where nothing was normalised.
        is_bgr: The channels are blue, green, red.
    """
    images = images.detach().float().cpu()
    if mean is not None:
        images = images * std.detach().cpu().view(3, 1, 1) + mean.detach().cpu().view(3, 1, 1)
    pictures = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return [picture[..., ::-1] if is_bgr else picture for picture in pictures]


def paint_labels(
    labels: Tensor | np.ndarray,
    palette: Sequence[Sequence[int]],
    valid: Tensor | np.ndarray | None = None,
) -> Picture:
    """Labels in the colours of their classes, IGNORE striped in light greys, padding black.

    Args:
        labels: (H, W) integers in [0, K) or IGNORE.
        palette: K colours of 3 numbers in 0..255.
        valid: (H, W) bool, False where the pixel is padding; None where nothing is.
    """
    labels = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels).astype(np.int64)
    colours = np.zeros((max(IGNORE + 1, len(palette)), 3), np.uint8)
    colours[: len(palette)] = np.asarray(palette)
    picture = colours[labels]
    rows, columns = np.indices(labels.shape)
    stripes = np.where((rows + columns) // 4 % 2, 235, 200).astype(np.uint8)
    ignored = labels == IGNORE
    picture[ignored] = stripes[ignored, None]
    if valid is not None:
        picture[~np.asarray(valid.cpu() if isinstance(valid, Tensor) else valid)] = 0
    return picture


def overlay_labels(
    picture: Picture,
    labels: Tensor | np.ndarray,
    palette: Sequence[Sequence[int]],
    opacity: float = 0.5,
) -> Picture:
    """Labels laid over their picture; IGNORE is striped, as :func:`paint_labels` has it.

    Args:
        picture: (H, W, 3).
        labels: (H, W).
        palette: K colours.
        opacity: Of the labels, in [0, 1].
    """
    colours = paint_labels(labels, palette)
    return (opacity * colours + (1 - opacity) * picture).round().astype(np.uint8)


def mark_padding(picture: Picture, valid: Tensor | np.ndarray) -> Picture:
    """The picture with its padding in dark red stripes.

    Args:
        picture: (H, W, 3).
        valid: (H, W) bool, False where the pixel is padding.
    """
    rows, columns = np.indices(picture.shape[:2])
    stripes = np.where((rows + columns) // 6 % 2, 150, 80)
    marked = picture.copy()
    padding = ~np.asarray(valid)
    marked[padding] = 0
    marked[padding, 0] = stripes[padding]
    return marked


def outline(
    picture: Picture, region: Tensor | np.ndarray, colour: Sequence[int] = (255, 230, 0)
) -> Picture:
    """The picture with a line, two pixels wide, along the inner border of a region.

    Args:
        picture: (H, W, 3).
        region: (H, W) bool.
        colour: 3 numbers in 0..255.
    """
    region = np.asarray(region, np.uint8)
    inner = cv2.erode(region, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE)
    drawn = picture.copy()
    drawn[(region == 1) & (inner == 0)] = colour
    return drawn


def legend(swatches: Sequence[tuple[str, Picture]], width: int) -> Picture:
    """Names beside their colours, in as many lines as they need.

    Args:
        swatches: Name and picture of its colour, small.
        width: Of the result, in pixels.
    """
    font = ImageFont.load_default()
    places, left, top, high = [], _GAP, _GAP, max(p.shape[0] for _, p in swatches)
    for name, picture in swatches:
        needed = picture.shape[1] + math.ceil(font.getlength(name)) + 5 * _GAP
        if left > _GAP and left + needed > width:
            left, top = _GAP, top + high + _GAP
        places.append((left, top))
        left += needed
    page = Image.new('RGB', (width, top + high + _GAP), 'white')
    draw = ImageDraw.Draw(page)
    for (name, picture), (left, top) in zip(swatches, places, strict=True):
        page.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top))
        draw.text((left + picture.shape[1] + _GAP, top), name, fill='black', font=font)
    return np.asarray(page)


def lines_of_text(lines: Sequence[str], width: int) -> Picture:
    """Lines of black text on white, broken where they are longer than ``width`` pixels."""
    font, broken = ImageFont.load_default(), []
    for line in lines:
        broken.append('')
        for word in line.split(' '):
            longer = f'{broken[-1]} {word}'.strip()
            if broken[-1] and font.getlength(longer) > width - 2 * _GAP:
                broken.append(word)
            else:
                broken[-1] = longer
    page = Image.new('RGB', (width, _GAP + _LINE * len(broken)), 'white')
    for number, line in enumerate(broken):
        place = (_GAP, _GAP + _LINE * number)
        ImageDraw.Draw(page).text(place, line, fill='black', font=font)
    return np.asarray(page)


def paint_values(
    values: Tensor | np.ndarray, low: float = 0.0, high: float = 1.0, colors: str = 'viridis'
) -> Picture:
    """A map of numbers in matplotlib's colours, dark for ``low`` and below, bright for ``high`` and above.

    Args:
        values: (H, W).
        low, high: Ends of the scale.
        colors: Name of a colour map of matplotlib.
    """
    values = np.asarray(values.detach().float().cpu() if isinstance(values, Tensor) else values)
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return (matplotlib.colormaps[colors](scaled)[..., :3] * 255).round().astype(np.uint8)


def shrink(picture: Picture, side: int, smooth: bool = True) -> Picture:
    """The picture with its longer side at most ``side`` pixels; ``smooth=False`` for labels."""
    height, width = picture.shape[:2]
    if max(height, width) <= side:
        return picture
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    how = Image.Resampling.BOX if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, how))


def sheet(
    rows: Sequence[Sequence[Picture]], titles: Sequence[str] = (), captions: Sequence[str] = ()
) -> Picture:
    """Pictures in rows and columns on white.

    Args:
        rows: Pictures of any size; a column is as wide as its widest, a row as high as its highest.
        titles: One above each column.
        captions: One above each row.
    """
    columns = max(len(row) for row in rows)
    widths = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    top = _GAP + _LINE * bool(titles)
    line = _LINE * bool(captions)
    page = Image.new(
        'RGB',
        (sum(widths) + _GAP * (columns + 1), top + sum(heights) + (_GAP + line) * len(rows)),
        'white',
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default()
    lefts = [_GAP + sum(widths[:c]) + _GAP * c for c in range(columns)]
    for left, width, title in zip(lefts, widths, titles, strict=False):
        while title and draw.textlength(title, font=font) > width:
            title = title[:-1]
        draw.text((left, 1), title, fill='black', font=font)
    for index, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if captions:
            draw.text((_GAP, top), captions[index], fill='gray', font=font)
        for left, picture in zip(lefts, row, strict=False):
            page.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top + line))
        top += line + height + _GAP
    return np.asarray(page)
