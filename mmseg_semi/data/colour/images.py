"""Strong colour: what the strong view of an unlabelled image has beside its geometry.

Colour jitter, greyscale and Gaussian blur as torchvision and Pillow define them, which is how the
authors' code draws them. Each transform first draws its operations, then applies them, so that
:class:`DeferColour` can leave the second half to the device (:mod:`mmseg_semi.data.colour.batches`).

OpenCV computes them, three to ten times faster than Pillow. Brightness equals Pillow's; contrast,
saturation and greyscale differ by one level of 255 at most, blur by three; hue by 0.1 on average on
photographs and by up to 12 where colours are strong, because Pillow's HSV has 8 bits: ours is within
half a level of the definition, Pillow's within 14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_semi.errors import SetupError

Operation = tuple[str, float]
"""Name of an operation and its amount, e.g. ('brightness', 1.2)."""

_LUMA = np.float32([0.114, 0.587, 0.299])  # of blue, green, red: ITU-R 601-2
_STRIP = 32  # rows whose float values stay in the cache


# ------------------------------------------------------------------------- operations on one image


def adjust_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale towards (factor < 1) or away from black.

    Args:
        img: (H, W, 3) uint8 BGR, as in all functions here.
        factor: 0 or more; 1 changes nothing.
    """
    return cv2.LUT(img, _blend(0, factor))


def adjust_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale towards or away from the mean of the image's luma."""
    mean = int(cv2.mean(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY))[0] + 0.5)
    return cv2.LUT(img, _blend(mean, factor))


def _blend(base: int, factor: float) -> np.ndarray:
    """Table of 256 levels; fractions are cut off, as Pillow does."""
    levels = np.arange(256, dtype=np.float32)
    return np.clip(base + np.float32(factor) * (levels - base), 0, 255).astype(np.uint8)


def adjust_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale towards or away from the luma, pixel by pixel."""
    matrix = (1 - factor) * np.tile(_LUMA, (3, 1)) + factor * np.eye(3, dtype=np.float32)
    cut_off = np.full((3, 1), -0.5, np.float32)  # Pillow cuts fractions off, OpenCV rounds
    return cv2.transform(img, np.hstack([matrix, cut_off]))


def adjust_hue(img: np.ndarray, turns: float) -> np.ndarray:
    """Turn the hue.

    As in torchvision, a turn counts as 255 of 256 levels, and fractions of a level are cut off.
    """
    shift = np.float32(int(turns * 255) % 256 * (360 / 256))
    out = np.empty_like(img)
    for top in range(0, len(img), _STRIP):
        hsv = cv2.cvtColor(img[top : top + _STRIP].astype(np.float32), cv2.COLOR_BGR2HSV)
        hue = hsv[..., 0]
        hue += shift
        hue[hue >= 360] -= 360
        cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), out[top : top + _STRIP])
    return out


def to_grayscale(img: np.ndarray, amount: float = 1.0) -> np.ndarray:
    """Luma in all three channels; there are no halves, ``amount`` is for the common signature."""
    return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def gaussian_blur(img: np.ndarray, radius: float) -> np.ndarray:
    """Pillow's Gaussian filter: three box filters with the variance radius ** 2, edges repeated."""
    kernel = box_kernel(radius)
    for _ in range(3):
        img = cv2.sepFilter2D(img, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return img


def box_kernel(radius: float) -> np.ndarray:
    """One of the three box filters: ones, and a fraction at either end (Gwosdek et al., SSVM 2011).

    Args:
        radius: Standard deviation in pixels of all three together.

    Returns:
        np.ndarray: Odd number of weights that sum to 1, float64.
    """
    variance = radius * radius / 3
    half = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    edge = (2 * half + 1) * (half * (half + 1) - 3 * variance) / (6 * (variance - (half + 1) ** 2))
    kernel = np.ones(2 * half + 3)
    kernel[[0, -1]] = edge
    return kernel / kernel.sum()


OPERATIONS = dict(
    brightness=adjust_brightness,
    contrast=adjust_contrast,
    saturation=adjust_saturation,
    hue=adjust_hue,
    grayscale=to_grayscale,
    blur=gaussian_blur,
)


# ------------------------------------------------------------------------------------- transforms


class ColourTransform(BaseTransform):
    """Draws operations and applies them to ``img``; subclasses say which."""

    def draw(self) -> list[Operation]:
        """The operations on the next image, in order; none leaves it as it is."""
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        """Change ``img``."""
        for name, amount in self.draw():
            results['img'] = OPERATIONS[name](results['img'], amount)
        return results


@TRANSFORMS.register_module()
class PILColorJitter(ColourTransform):
    """Jitter brightness, contrast, saturation and hue in random order (torchvision's ColorJitter).

    The factors are uniform in [max(0, 1 - v), 1 + v], the hue shift in [-hue, hue] turns.

    Args:
        prob: Probability that anything happens. Defaults to 0.8.
        brightness: 0 or more. Defaults to 0.5.
        contrast: 0 or more. Defaults to 0.5.
        saturation: 0 or more. Defaults to 0.5.
        hue: In [0, 0.5]. Defaults to 0.25.
    """

    def __init__(
        self,
        prob: float = 0.8,
        brightness: float = 0.5,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.25,
    ) -> None:
        _check_probability('PILColorJitter', prob)
        for name, value in (
            ('brightness', brightness),
            ('contrast', contrast),
            ('saturation', saturation),
        ):
            if value < 0:
                raise SetupError(f'PILColorJitter: {name}={value}, expected 0 or more')
        if not 0 <= hue <= 0.5:
            raise SetupError(f'PILColorJitter: hue={hue}, expected 0 to 0.5 turns')
        self.prob = prob
        self.brightness, self.contrast, self.saturation, self.hue = (
            brightness,
            contrast,
            saturation,
            hue,
        )

    def draw(self) -> list[Operation]:
        """Nothing, or all four in a random order."""
        if np.random.rand() >= self.prob:
            return []
        steps = [
            ('brightness', self._factor(self.brightness)),
            ('contrast', self._factor(self.contrast)),
            ('saturation', self._factor(self.saturation)),
            ('hue', np.random.uniform(-self.hue, self.hue)),
        ]
        return [steps[i] for i in np.random.permutation(len(steps))]

    @staticmethod
    def _factor(value: float) -> float:
        return np.random.uniform(max(0.0, 1.0 - value), 1.0 + value)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, brightness={self.brightness}, '
            f'contrast={self.contrast}, saturation={self.saturation}, hue={self.hue})'
        )


@TRANSFORMS.register_module()
class PILGrayscale(ColourTransform):
    """Replace the colours by their luma (ITU-R 601-2), in all three channels.

    Args:
        prob: Probability. Defaults to 0.2.
    """

    def __init__(self, prob: float = 0.2) -> None:
        _check_probability('PILGrayscale', prob)
        self.prob = prob

    def draw(self) -> list[Operation]:
        """Nothing, or greyscale."""
        return [('grayscale', 1.0)] if np.random.rand() < self.prob else []

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'


@TRANSFORMS.register_module()
class PILGaussianBlur(ColourTransform):
    """Blur by Pillow's Gaussian filter (three box filters of the same variance).

    Args:
        prob: Probability. Defaults to 0.5.
        radius: Range of the standard deviation in pixels, uniform. Defaults to (0.1, 2.0).
    """

    def __init__(self, prob: float = 0.5, radius: Sequence[float] = (0.1, 2.0)) -> None:
        _check_probability('PILGaussianBlur', prob)
        low, high = radius
        if not 0 <= low <= high:
            raise SetupError(f'PILGaussianBlur: radius={tuple(radius)}, expected 0 <= low <= high')
        self.prob = prob
        self.radius = (low, high)

    def draw(self) -> list[Operation]:
        """Nothing, or a blur."""
        if np.random.rand() >= self.prob:
            return []
        return [('blur', np.random.uniform(*self.radius))]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, radius={self.radius})'


@TRANSFORMS.register_module()
class DeferColour(BaseTransform):
    """Draw the colour operations of the strong view here, leave their arithmetic to the device.

    Stands at the head of the *weak* view, in a ``MultiBranch`` without a strong one:
    ``weak=[dict(type='DeferColour', transforms=[...]), dict(type='PackSemiInputs')]``. The batch then
    carries every unlabelled image once, as uint8, and :class:`SemiDataPreprocessor` makes the strong
    view of it on the device. The draws are those that the transforms would make, so a sample has the
    same strong view either way, up to rounding.

    Args:
        transforms: Colour transforms (:class:`PILColorJitter`, :class:`PILGrayscale`,
            :class:`PILGaussianBlur`).
    """

    def __init__(self, transforms: Sequence[dict]) -> None:
        self.transforms = [TRANSFORMS.build(step) for step in transforms]
        for step in self.transforms:
            if not isinstance(step, ColourTransform):
                raise SetupError(
                    f'DeferColour: {type(step).__name__} cannot be left to the device, expected '
                    'PILColorJitter, PILGrayscale or PILGaussianBlur; put it before MultiBranch'
                )

    def transform(self, results: dict) -> dict:
        """Add ``colour``, the list of operations."""
        results['colour'] = [step for colour in self.transforms for step in colour.draw()]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms})'


def _check_probability(name: str, prob: float) -> None:
    if not 0 <= prob <= 1:
        raise SetupError(f'{name}: prob={prob}, expected 0 to 1')
