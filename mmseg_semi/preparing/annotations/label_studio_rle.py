"""The run lengths in which Label Studio writes brush strokes: thi.ng's rle-pack of an RGBA image, a list of bytes.

A stream of bits: the number of values (32 bits), the bits of a value less 1 (5), and the bits of four lengths less 1 (4 each). Then
follow blocks: a bit that says whether one value is repeated, two bits that say which of the four lengths follows, the number of values
less 1, and the value once (repeated) or each of the values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmseg_semi.errors import SetupError

_VALUES, _WORD, _LENGTH = 32, 5, 4


class _Bits:
    """Reads numbers of some bits from bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place, self.end = content, 0, 8 * len(content)

    def read(self, size: int) -> int:
        start, self.place = self.place, self.place + size
        if self.place > self.end:
            raise EOFError
        last = (self.place + 7) // 8
        window = int.from_bytes(self.content[start // 8 : last], 'big')
        return window >> (8 * last - self.place) & ((1 << size) - 1)


def as_bytes(rle: Sequence[int], where: str) -> bytes:
    """A stream in an eighth of the memory of its list.

    Args:
        rle: Numbers of 0 to 255.
        where: File and image, for the error.

    Raises:
        SetupError: If they are no such numbers.

    Example:
        >>> as_bytes([0, 16], 'a.json')
        b'\\x00\\x10'
    """
    try:
        return bytes(rle)
    except (ValueError, TypeError) as error:
        raise _damaged(where, error) from error


def count_values(rle: Sequence[int], where: str) -> int:
    """The number of values that a stream says it holds.

    Args:
        rle: Bytes, 0 to 255.
        where: File and image, for the error.

    Raises:
        SetupError: If the stream is no list of bytes or too short.

    Example:
        >>> count_values([0, 0, 0, 16, 56], 'a.json')
        16
    """
    try:
        return _Bits(bytes(rle[:4])).read(_VALUES)
    except (ValueError, TypeError, EOFError) as error:
        raise _damaged(where, error) from error


def decode_alpha(rle: Sequence[int], width: int, height: int, where: str) -> np.ndarray:
    """The pixels of a brush stroke.

    Args:
        rle: Bytes, 0 to 255, of an image of four channels.
        width: Of the image; ``height`` alike.
        where: File and image, for the error.

    Returns:
        (height, width) bool, True where alpha is not 0.

    Raises:
        SetupError: If the stream is damaged or of another size.
    """
    total = count_values(rle, where)
    if total != width * height * 4:
        raise SetupError(
            f'{where} is a brush stroke of {total} values, but four for each pixel of {width} x {height} are {width * height * 4}; export it '
            'again'
        )
    try:
        values = _unpack(bytes(rle), total)
    except (ValueError, TypeError, EOFError) as error:
        raise _damaged(where, error) from error
    return values.reshape(height, width, 4)[..., 3] > 0


def _unpack(content: bytes, total: int) -> np.ndarray:
    """All values of a stream."""
    bits = _Bits(content)
    bits.read(_VALUES)
    word = bits.read(_WORD) + 1
    lengths = [bits.read(_LENGTH) + 1 for _ in range(4)]
    values = np.zeros(total, np.uint32)
    place = 0
    while place < total:
        repeated = bits.read(1)
        stop = place + 1 + bits.read(lengths[bits.read(2)])
        if stop > total:
            raise ValueError('more values than announced')
        if repeated:
            values[place:stop] = bits.read(word)
        else:
            values[place:stop] = [bits.read(word) for _ in range(stop - place)]
        place = stop
    return values


def _damaged(where: str, error: Exception) -> SetupError:
    reason = 'it ends early' if isinstance(error, EOFError) else error
    return SetupError(
        f'{where} is a brush stroke whose run lengths are damaged ({reason}); export it again'
    )
