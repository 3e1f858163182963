"""Registered transforms of the strong view's colour; each draws its operations per image.

Colour jitter, greyscale and Gaussian blur follow torchvision and Pillow, and so does the authors'
code. Each transform draws its operations first and applies them second, so that
:class:`DeferColour` can leave the second half to the device (:mod:`.batches`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_semi.data.colour.bands import change_bands
from mmseg_semi.data.colour.images import OPERATIONS
from mmseg_semi.data.colour.operations import JITTER, Operation
from mmseg_semi.errors import SetupError


class ColourTransform(BaseTransform):
    """Base class: draws operations and applies them to ``img``; a subclass defines which.

    Reads and changes: ``img`` (H, W, 3) uint8 BGR, or (H, W, channels) float32 with ``colour_bands``
    (:func:`.change_bands`).
    """

    def draw(self) -> list[Operation]:
        """Draw the operations on the next image, in order; an empty list leaves it as it is."""
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        """Draw operations and apply them to ``img``."""
        colour = results.get('colour_bands')
        for name, amount in self.draw():
            if colour is None:
                results['img'] = OPERATIONS[name](results['img'], amount)
            else:
                results['img'] = change_bands(results['img'], name, amount, colour)
        return results


@TRANSFORMS.register_module()
class PILColorJitter(ColourTransform):
    """Jitter brightness, contrast, saturation and hue in random order (torchvision's ColorJitter).

    The factors are uniform in [max(0, 1 - v), 1 + v], v being the argument of that name; the hue
    shift is uniform in [-hue, hue] turns.

    Reads and changes: ``img`` (H, W, 3) uint8 BGR.

    Args:
        prob: Probability that the image is changed. Defaults to 0.8.
        brightness: 0 or more. Defaults to 0.5.
        contrast: 0 or more. Defaults to 0.5.
        saturation: 0 or more. Defaults to 0.5.
        hue: In [0, 0.5] turns. Defaults to 0.25.

    Raises:
        SetupError: If an argument is out of range.

    Example:
        >>> jitter = PILColorJitter(prob=1.0, contrast=0, saturation=0, hue=0)
        >>> sorted(name for name, amount in jitter.draw())
        ['brightness', 'contrast', 'hue', 'saturation']
        >>> jitter.transform(dict(img=np.full((2, 2, 3), 100, np.uint8)))['img'].shape
        (2, 2, 3)
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
        for name, value in zip(JITTER, (brightness, contrast, saturation), strict=False):
            if value < 0:
                raise SetupError(f'PILColorJitter: {name}={value}, expected 0 or more')
        if not 0 <= hue <= 0.5:
            raise SetupError(f'PILColorJitter: hue={hue}, expected 0 to 0.5 turns')
        self.prob = prob
        self.brightness, self.contrast = brightness, contrast
        self.saturation, self.hue = saturation, hue

    def draw(self) -> list[Operation]:
        """Draw nothing, or all four operations in a random order."""
        if np.random.rand() >= self.prob:
            return []
        steps = [(name, self._draw_amount(name)) for name in JITTER]
        return [steps[i] for i in np.random.permutation(len(steps))]

    def _draw_amount(self, name: str) -> float:
        if name == 'hue':
            return np.random.uniform(-self.hue, self.hue)
        value = getattr(self, name)
        return np.random.uniform(max(0.0, 1.0 - value), 1.0 + value)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, brightness={self.brightness}, '
            f'contrast={self.contrast}, saturation={self.saturation}, hue={self.hue})'
        )


@TRANSFORMS.register_module()
class PILGrayscale(ColourTransform):
    """Replace the colours by their luma (ITU-R 601-2), in all three channels.

    Reads and changes: ``img`` (H, W, 3) uint8 BGR.

    Args:
        prob: Probability that the image is changed. Defaults to 0.2.

    Raises:
        SetupError: If the probability is out of range.

    Example:
        >>> PILGrayscale(prob=1.0).transform(dict(img=np.uint8([[[0, 0, 255]]])))['img'].tolist()
        [[[76, 76, 76]]]
    """

    def __init__(self, prob: float = 0.2) -> None:
        _check_probability('PILGrayscale', prob)
        self.prob = prob

    def draw(self) -> list[Operation]:
        """Draw nothing, or greyscale."""
        return [('grayscale', 1.0)] if np.random.rand() < self.prob else []

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'


@TRANSFORMS.register_module()
class PILGaussianBlur(ColourTransform):
    """Blur an image by Pillow's Gaussian filter (three box filters of the same variance).

    Reads and changes: ``img`` (H, W, 3) uint8 BGR.

    Args:
        prob: Probability that the image is changed. Defaults to 0.5.
        radius: (low, high) of the standard deviation in pixels, which is uniform. Defaults to
            (0.1, 2.0).

    Raises:
        SetupError: If an argument is out of range.

    Example:
        >>> name, radius = PILGaussianBlur(prob=1.0).draw()[0]
        >>> name, 0.1 <= radius <= 2.0
        ('blur', True)
    """

    def __init__(self, prob: float = 0.5, radius: Sequence[float] = (0.1, 2.0)) -> None:
        _check_probability('PILGaussianBlur', prob)
        low, high = radius
        if not 0 <= low <= high:
            raise SetupError(f'PILGaussianBlur: radius={tuple(radius)}, expected 0 <= low <= high')
        self.prob = prob
        self.radius = (low, high)

    def draw(self) -> list[Operation]:
        """Draw nothing, or a blur."""
        if np.random.rand() >= self.prob:
            return []
        return [('blur', np.random.uniform(*self.radius))]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, radius={self.radius})'


@TRANSFORMS.register_module()
class DeferColour(BaseTransform):
    """Draw the colour operations of the strong view, and leave their arithmetic to the device.

    Put it at the head of the *weak* view, in a ``MultiBranch`` without a strong one:
    ``weak=[dict(type='DeferColour', transforms=[...]), dict(type='PackSemiInputs')]``. The batch
    then carries every unlabelled image once, as uint8, and :class:`.SemiDataPreprocessor` makes the
    strong view from it on the device. The draws are those that the transforms would make, so a
    sample has the same strong view either way, up to rounding.

    Writes: ``colour``, the list of (operation, amount) in order, and, if ``views`` is more than 1,
    ``more_colours``, such a list for each further strong view; ``img`` stays.

    Args:
        transforms: Configs of colour transforms (:class:`PILColorJitter`, :class:`PILGrayscale`,
            :class:`PILGaussianBlur`).
        views: Number of strong views. Defaults to 1.

    Raises:
        SetupError: If a transform is none of these, or there is no view.

    Example:
        >>> defer = DeferColour([dict(type='PILGrayscale', prob=1.0)])
        >>> defer.transform(dict())['colour']
        [('grayscale', 1.0)]
    """

    def __init__(self, transforms: Sequence[dict], views: int = 1) -> None:
        if views < 1:
            raise SetupError(f'DeferColour: views={views}, expected a number >= 1')
        self.views = views
        self.transforms = [TRANSFORMS.build(step) for step in transforms]
        for step in self.transforms:
            if not isinstance(step, ColourTransform):
                raise SetupError(
                    f'DeferColour: {type(step).__name__} cannot be left to the device, expected '
                    'PILColorJitter, PILGrayscale or PILGaussianBlur; put it before MultiBranch'
                )

    def transform(self, results: dict) -> dict:
        """Add ``colour`` and, for further views, ``more_colours``."""
        results['colour'], *more = (self._draw() for _ in range(self.views))
        if more:
            results['more_colours'] = more
        return results

    def _draw(self) -> list[Operation]:
        return [step for colour in self.transforms for step in colour.draw()]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms}, views={self.views})'


def _check_probability(name: str, prob: float) -> None:
    if not 0 <= prob <= 1:
        raise SetupError(f'{name}: prob={prob}, expected 0 to 1')
