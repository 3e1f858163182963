"""Drawing: pure functions from images, labels and numbers to uint8 RGB arrays.

Labels are (H, W) integers in [0, K) or IGNORE, pictures are (H, W, 3) arrays.
"""

import math
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from mmseg_semi.data.bands import shown_channels
from mmseg_semi.labels import IGNORE

Picture = np.ndarray
_GAP = 4
_LINE = 14


def default_palette(num_classes: int) -> list[tuple[int, int, int]]:
    """K well separated colours, for data sets without a palette.

    No colour is grey, so that ignored labels stand out.
    """
    hues = (np.arange(num_classes) * 0.618033988749895) % 1  # golden ratio: neighbours differ
    values = np.where(np.arange(num_classes) % 2, 0.65, 1.0)
    hsv = np.stack([hues, np.full(num_classes, 0.85), values], axis=1)
    return [tuple(c) for c in (matplotlib.colors.hsv_to_rgb(hsv) * 255).round().astype(int)]


def undo_normalization(
    images: Tensor,
    mean: Tensor | None,
    std: Tensor | None,
    is_bgr: bool = False,
    colour: Sequence[int] | None = None,
) -> list[Picture]:
    """Turn normalised images back into pictures.

    Args:
        images: (N, C, H, W) float, normalised.
        mean, std: C numbers each, in 0..255; None if the images are not normalised.
        is_bgr: Whether three channels are blue, green, red.
        colour: Positions of red, green and blue among bands; without it, of other than three channels
            the first three are shown, or the first one in grey.

    Returns:
        N pictures.

    Example:
        >>> image = Tensor([0.0, 1.0, -1.0]).view(1, 3, 1, 1)
        >>> undo_normalization(image, Tensor([100, 100, 100]), Tensor([50, 50, 50]))[0].tolist()
        [[[100, 150, 50]]]
    """
    images = images.detach().float().cpu()
    if mean is not None:
        images = images * std.detach().cpu().view(-1, 1, 1) + mean.detach().cpu().view(-1, 1, 1)
    if colour is not None or images.shape[1] != 3:
        images, is_bgr = images[:, shown_channels(images.shape[1], colour)], False
    pictures = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return [picture[..., ::-1] if is_bgr else picture for picture in pictures]


def swaps_channels(preprocessor: nn.Module) -> bool:
    """Whether a ``SegDataPreProcessor`` turns the BGR of MMCV into RGB.

    The two distributions of MMSegmentation have the attribute under different names.
    """
    return getattr(
        preprocessor, '_channel_conversion', getattr(preprocessor, 'channel_conversion', False)
    )


def undo_preprocessing(images: Tensor, preprocessor: nn.Module) -> list[Picture]:
    """Turn the images of a data preprocessor back into pictures.

    Args:
        images: (N, C, H, W) float, as the preprocessor returns them.
        preprocessor: A ``SegDataPreProcessor``, or a ``SemiDataPreprocessor`` around one.

    Returns:
        N pictures.
    """
    inner = getattr(preprocessor, 'data_preprocessor', preprocessor)
    mean, std = getattr(inner, 'mean', None), getattr(inner, 'std', None)
    colour = getattr(preprocessor, 'colour', None)
    swapped = swaps_channels(inner) or getattr(preprocessor, 'in_file_order', False)
    return undo_normalization(images, mean, std, is_bgr=not swapped, colour=colour)


def paint_labels(
    labels: Tensor | np.ndarray,
    palette: Sequence[Sequence[int]],
    valid: Tensor | np.ndarray | None = None,
) -> Picture:
    """Paint labels in the colours of their classes, IGNORE in light grey stripes, padding in black.

    Args:
        labels: (H, W) integers in [0, K) or IGNORE.
        palette: K colours of 3 numbers in 0..255.
        valid: (H, W) bool, False where the pixel is padding; None if there is no padding.

    Returns:
        (H, W, 3) uint8.

    Example:
        >>> labels = np.array([[0, 1]])
        >>> paint_labels(labels, [(255, 0, 0), (0, 255, 0)]).tolist()
        [[[255, 0, 0], [0, 255, 0]]]
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
    """Lay labels over their picture, in the colours of :func:`paint_labels`.

    Args:
        picture: (H, W, 3).
        labels: (H, W) integers in [0, K) or IGNORE.
        palette: K colours.
        opacity: Opacity of the labels, in [0, 1].
    """
    colours = paint_labels(labels, palette)
    return (opacity * colours + (1 - opacity) * picture).round().astype(np.uint8)


def mark_padding(picture: Picture, valid: Tensor | np.ndarray) -> Picture:
    """Paint the padding of a picture in dark red stripes.

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
    """Draw a line, two pixels wide, along the inner border of a region.

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
    """Draw names beside their colours, in as many lines as they need.

    Args:
        swatches: Each name with a small picture of its colour.
        width: Width of the result, in pixels.
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
    """Write black text on white; lines longer than ``width`` pixels are broken."""
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
    """Paint a map of numbers in matplotlib's colours.

    Args:
        values: (H, W) numbers.
        low, high: Ends of the scale: ``low`` and less is dark, ``high`` and more is bright.
        colors: Name of a colour map of matplotlib.
    """
    values = np.asarray(values.detach().float().cpu() if isinstance(values, Tensor) else values)
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return (matplotlib.colormaps[colors](scaled)[..., :3] * 255).round().astype(np.uint8)


def shrink(picture: Picture, side: int, smooth: bool = True) -> Picture:
    """Shrink a picture to at most ``side`` pixels a side; ``smooth=False`` for labels."""
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
    """Arrange pictures in rows and columns on white.

    Args:
        rows: Pictures of any size. A column is as wide as its widest picture, a row as high as its
            highest.
        titles: One title above each column.
        captions: One caption above each row.
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
