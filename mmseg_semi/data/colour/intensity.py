"""Random changes of intensity: a random number of operations of random strength, out of a pool (AugSeg)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageOps

from mmseg_semi.data.colour.images import OPERATIONS
from mmseg_semi.errors import SetupError

_ENHANCED = (0.05, 0.95)
STRENGTHS: dict[str, tuple[float, float]] = {
    'identity': (0.0, 0.0),
    'autocontrast': (0.0, 0.0),
    'equalize': (0.0, 0.0),
    'blur': (0.1, 2.0),
    'contrast': _ENHANCED,
    'sharpness': _ENHANCED,
    'saturation': _ENHANCED,
    'brightness': _ENHANCED,
    'hue': (0.0, 0.5),
    'posterize': (4.0, 8.0),
    'solarize': (1.0, 256.0),
}
"""Range of each operation's strength: standard deviation of the blur in pixels, factors, hue in turns, bits that are
kept, and the level from which levels are inverted. The first three have no strength."""


@TRANSFORMS.register_module()
class RandomIntensity(BaseTransform):
    """Apply one to ``most`` operations, each drawn from the pool with a strength drawn from its range.

    The strong view of AugSeg (Z. Zhao, L. Yang, S. Long, J. Pi, L. Zhou, J. Wang, CVPR 2023, arXiv
    2212.04976). The number is uniform, an operation may be drawn twice, strengths are uniform in
    :data:`STRENGTHS`. Written from the paper's description; there is no probability that an image stays
    as it is but that of drawing 'identity' alone.

    Reads and changes: ``img`` (H, W, 3) uint8 BGR.

    Args:
        most: Largest number of operations. Defaults to 3.
        operations: The pool; defaults to all names in :data:`STRENGTHS`.

    Raises:
        SetupError: If ``most`` is below 1, or an operation is unknown.

    Example:
        >>> step = RandomIntensity(most=1, operations=['solarize'])
        >>> name, level = step.draw()[0]
        >>> name, 1 <= level <= 256
        ('solarize', True)
    """

    def __init__(self, most: int = 3, operations: Sequence[str] = tuple(STRENGTHS)) -> None:
        unknown = [name for name in operations if name not in STRENGTHS]
        if most < 1 or unknown or not operations:
            raise SetupError(
                f'RandomIntensity: most={most}, operations={[*operations]}; expected a number >= 1 and '
                f'names among {", ".join(STRENGTHS)}'
            )
        self.most, self.operations = most, tuple(operations)

    def draw(self) -> list[tuple[str, float]]:
        """Draw (operation, strength) for the next image, in order."""
        names = np.random.choice(self.operations, np.random.randint(1, self.most + 1))
        return [(str(name), np.random.uniform(*STRENGTHS[name])) for name in names]

    def transform(self, results: dict) -> dict:
        """Draw operations and apply them to ``img``."""
        for name, strength in self.draw():
            results['img'] = change_intensity(results['img'], name, strength)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(most={self.most}, operations={list(self.operations)})'


def change_intensity(image: np.ndarray, name: str, strength: float) -> np.ndarray:
    """Apply an operation of :data:`STRENGTHS`.

    Args:
        image: (H, W, 3) uint8 BGR.
        name: Name of the operation.
        strength: See :data:`STRENGTHS`.

    Returns:
        An image of the same shape.

    Example:
        >>> change_intensity(np.full((1, 1, 3), 200, np.uint8), 'solarize', 100.0)[0, 0].tolist()
        [55, 55, 55]
    """
    if name == 'identity':
        return image
    if name in OPERATIONS:
        return OPERATIONS[name](image, strength)
    # these work on each channel alone, so that BGR serves
    changed = _OF_PILLOW[name](Image.fromarray(image), strength)
    return np.asarray(changed)


_OF_PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    'autocontrast': lambda image, _: ImageOps.autocontrast(image),
    'equalize': lambda image, _: ImageOps.equalize(image),
    'sharpness': lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    'posterize': lambda image, bits: ImageOps.posterize(image, round(bits)),
    'solarize': lambda image, level: ImageOps.solarize(image, int(level)),
}
