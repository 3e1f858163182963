"""What the bands of images are: which of a file's are used, which are colours, and their usual values.

The key ``bands`` of a data file (:class:`.OwnData`)::

    bands:
      count: 5                 # of a file
      use: [0, 1, 2, 3]        # counted from 0; default all
      colour: [2, 1, 0]        # red, green and blue among the file's bands; default none
      nodata: 0                # value of pixels without data; NaN and GDAL's tag always are
      low: [...]               # of each band that is used: becomes level 0,
      high: [...]              # becomes level 255,
      mean: [...]              # mean and deviation of the values between the two
      std: [...]

``mmseg-semi band-statistics`` writes the last four.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmseg_semi.errors import SetupError

KEYS = ('count', 'use', 'colour', 'nodata', 'low', 'high', 'mean', 'std')
STATISTICS = ('low', 'high', 'mean', 'std')
TOP = 255.0
"""Level of ``high``; ``low`` is level 0."""


@dataclass(frozen=True)
class Bands:
    """The bands of images, as :meth:`of` reads them.

    Args:
        count: Number of bands of a file.
        use: Bands that the network sees, counted from 0 in the file.
        colour: Red, green and blue as positions in ``use``; None if there are none.
        nodata: Value of pixels without data, besides NaN and GDAL's tag; None for none.
        low: Value of each used band that becomes level 0.
        high: Value that becomes level 255.
        mean: Mean of the values, those beyond ``low`` and ``high`` moved there.
        std: Their standard deviation.

    Example:
        >>> bands = Bands.of(dict(count=2, low=[0, 0], high=[10, 255], mean=[5, 1], std=[1, 1]))
        >>> levels, missing = bands.to_levels(np.float32([[[5, 51], [20, np.nan]]]))
        >>> levels.tolist(), missing.tolist()
        ([[[127.5, 51.0], [127.5, 1.0]]], [[False, True]])
    """

    count: int
    use: tuple[int, ...]
    colour: tuple[int, int, int] | None = None
    nodata: float | None = None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def of(cls, given: Any, source: str = 'the config') -> Bands:
        """Read the key ``bands``.

        Args:
            given: A mapping as above, or a :class:`Bands`.
            source: The file or the config; errors name it.

        Raises:
            SetupError: If a key is missing, unknown or not of its kind.
        """
        if isinstance(given, Bands):
            return given
        if not isinstance(given, Mapping) or not set(given) <= set(KEYS):
            raise SetupError(
                f"{source}: 'bands' is {given!r}, expected keys among {', '.join(KEYS)}, such as "
                '{count: 4, colour: [2, 1, 0]}'
            )
        count = given.get('count')
        if type(count) is not int or count < 1:
            raise SetupError(
                f'{source}: bands.count is {count!r}, expected the number of bands of a file'
            )
        use = _indices(given.get('use', range(count)), 'use', count, source)
        colour = given.get('colour')
        if colour is not None:
            colour = _indices(colour, 'colour', count, source)
            if len(colour) != 3 or not set(colour) <= set(use):
                raise SetupError(
                    f'{source}: bands.colour is {list(colour)}, expected the red, the green and the blue '
                    f'band, counted from 0, all of them in use ({list(use)})'
                )
            colour = tuple(use.index(band) for band in colour)
        nodata = given.get('nodata')
        if nodata is not None and (isinstance(nodata, bool) or not isinstance(nodata, int | float)):
            raise SetupError(
                f'{source}: bands.nodata is {nodata!r}, expected one value; NaN and the value that GDAL '
                'notes in a file are known without it'
            )
        numbers = {
            key: _numbers(given[key], key, len(use), source) for key in STATISTICS if key in given
        }
        bands = cls(count, use, colour, nodata, **numbers)
        for key, wrong, need in (
            ('high', [h <= lo for lo, h in zip(bands.low, bands.high, strict=False)], 'above low'),
            ('std', [s <= 0 for s in bands.std], 'above 0'),
        ):
            if any(wrong):
                raise SetupError(
                    f'{source}: bands.{key}[{wrong.index(True)}] is {numbers[key][wrong.index(True)]}, '
                    f'expected a number {need}; measure the bands again: mmseg-semi band-statistics '
                    f'{source} (a band that never changes can be left out by bands.use)'
                )
        return bands

    @property
    def channels(self) -> int:
        """Number of bands that the network sees."""
        return len(self.use)

    def need_statistics(self, source: str) -> None:
        """Refuse bands whose statistics are not known yet.

        Raises:
            SetupError: If one of them is missing.
        """
        missing = [key for key in STATISTICS if not getattr(self, key)]
        if missing:
            raise SetupError(
                f'{source}: bands has no {", ".join(missing)}; measure the images: '
                f'mmseg-semi band-statistics {source}'
            )

    def level_statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each band in levels, where ``low`` is 0 and ``high`` 255."""
        spans = [high - low for low, high in zip(self.low, self.high, strict=True)]
        mean = [
            (m - low) / span * TOP
            for m, low, span in zip(self.mean, self.low, spans, strict=True)
        ]
        return mean, [s / span * TOP for s, span in zip(self.std, spans, strict=True)]

    def pick(self, values: np.ndarray, path: str) -> np.ndarray:
        """(H, W, channels) of the bands in use.

        Args:
            values: (H, W, count), a file's bands.
            path: The file; errors name it.

        Raises:
            SetupError: If the file has another number of bands.
        """
        if values.shape[2] != self.count:
            raise SetupError(
                f'image {path} has {values.shape[2]} bands, expected {self.count} (bands.count); take '
                'it out of its folder, or correct the number'
            )
        return values if self.use == tuple(range(self.count)) else values[..., list(self.use)]

    def to_levels(
        self, values: np.ndarray, nodata: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scale bands linearly so that ``low`` is 0 and ``high`` 255; values beyond are moved there.

        Args:
            values: (H, W, channels), any type.
            nodata: The file's own value of pixels without data.

        Returns:
            tuple: (H, W, channels) float32 in [0, 255], not rounded; and (H, W) bool, True where data
            are missing. There, all bands have their mean, which the data preprocessor makes 0.
        """
        missing = missing_pixels(values, {self.nodata, nodata})
        low, high = np.float64(self.low), np.float64(self.high)
        with np.errstate(invalid='ignore', over='ignore'):
            levels = (values - low) * (TOP / (high - low))
        levels = np.clip(levels, 0, TOP).astype(np.float32)
        if missing.any():
            levels[missing] = np.float32(self.level_statistics()[0])
        return levels, missing

    def as_dict(self) -> dict:
        """Plain numbers for a config, from which :meth:`of` makes the same object."""
        plain = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }
        if self.colour is not None:
            plain['colour'] = [self.use[place] for place in self.colour]
        return {key: value for key, value in plain.items() if value not in (None, [])}


def missing_pixels(values: np.ndarray, nodata: Collection[float | None] = ()) -> np.ndarray:
    """Find the pixels without data.

    A pixel is missing where a band is NaN or infinite, or holds a value of ``nodata``. The ends of
    unsigned types, 0 and such as 255, count only where all bands hold them: dark and saturated
    pixels have them in single bands.

    Args:
        values: (H, W, bands), any type.
        nodata: Values that mean no data; None is left out.

    Returns:
        np.ndarray: (H, W) bool.

    Example:
        >>> values = np.uint16([[[0, 0], [0, 7], [9, 7]]])
        >>> missing_pixels(values, [0]).tolist(), missing_pixels(values, [9]).tolist()
        ([[True, False, False]], [[False, False, True]])
    """
    missing = np.zeros(values.shape[:2], bool)
    if values.dtype.kind == 'f':
        missing |= ~np.isfinite(values).all(axis=2)
    for value in set(nodata) - {None}:
        holds = values == value
        is_end = values.dtype.kind == 'u' and value in (0, np.iinfo(values.dtype).max)
        missing |= holds.all(axis=2) if is_end else holds.any(axis=2)
    return missing


def shown_channels(channels: int, colour: Sequence[int] | None) -> list[int]:
    """Which bands a picture shows as red, green and blue: the colours, else the first three, or the first.

    Example:
        >>> shown_channels(4, (2, 1, 0)), shown_channels(2, None), shown_channels(7, None)
        ([2, 1, 0], [0, 0, 0], [0, 1, 2])
    """
    if colour is not None:
        return list(colour)
    return [0, 1, 2] if channels >= 3 else [0, 0, 0]


def picture_of(results: Mapping[str, Any]) -> np.ndarray:
    """What ``LoadAnyImage`` has loaded, as a picture.

    Args:
        results: Has ``img``, and ``colour_bands`` if it is of bands.

    Returns:
        np.ndarray: (H, W, 3) uint8 BGR.

    Example:
        >>> img = np.float32([[[0, 1, 2, 255]]])
        >>> picture_of(dict(img=img, colour_bands=(3, 1, 0))).tolist()
        [[[0, 1, 255]]]
    """
    img = results['img']
    if 'colour_bands' not in results:
        return img
    chosen = shown_channels(img.shape[2], results['colour_bands'] or None)
    return np.ascontiguousarray(np.rint(img[..., chosen[::-1]]).astype(np.uint8))


def _indices(given: Any, key: str, count: int, source: str) -> tuple[int, ...]:
    listed = isinstance(given, list | tuple | range) and len(given) > 0
    if (
        not listed
        or any(type(i) is not int or not 0 <= i < count for i in given)
        or len(set(given)) < len(given)
    ):
        raise SetupError(
            f'{source}: bands.{key} is {given!r}, expected different bands, counted from 0 to '
            f'{count - 1}'
        )
    return tuple(given)


def _numbers(given: Any, key: str, channels: int, source: str) -> tuple[float, ...]:
    listed = isinstance(given, list | tuple) and len(given) == channels
    if not listed or any(
        isinstance(v, bool) or not isinstance(v, int | float) or not np.isfinite(v) for v in given
    ):
        raise SetupError(
            f'{source}: bands.{key} is {given!r}, expected {channels} numbers, one for each band in use; '
            f'measure them: mmseg-semi band-statistics {source}'
        )
    return tuple(float(v) for v in given)
