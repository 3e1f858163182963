"""Decoding the part of a PNG file that a crop shows.

The rows of a PNG are one compressed stream, and each pixel is coded as its difference from pixels
to the left and above. A decoder therefore need not inflate the rows below a crop, nor compute the
pixels below or to the right of it. The pixels equal those of the completely decoded file, bit for
bit.

The library isal inflates in less than half of zlib's time; this module uses it where it is
installed.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

try:
    from isal import isal_zlib as fast_zlib
except ImportError:  # an optional dependency
    fast_zlib = zlib

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
# chunks that do not change the pixels that OpenCV decodes
_PLAIN = {b'IHDR', b'IDAT', b'IEND', b'gAMA', b'cHRM', b'sRGB', b'iCCP', b'pHYs', b'tIME', b'tEXt'}


class PlainPNG:
    """A PNG of 8-bit colours, neither interlaced nor transparent nor turned by an orientation tag.

    Args:
        height: In pixels.
        width: In pixels.
        data: The compressed rows.

    Example:
        >>> img = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        >>> png = PlainPNG.of(cv2.imencode('.png', img)[1].tobytes())
        >>> png.corner(1, 2).tolist()
        [[[0, 1, 2], [3, 4, 5]]]
    """

    def __init__(self, height: int, width: int, data: bytes) -> None:
        self.height, self.width = height, width
        self._data = data

    @classmethod
    def of(cls, content: bytes) -> PlainPNG | None:
        """Open a file's bytes.

        Returns:
            PlainPNG: The file, not yet decoded; None if it is another kind of file, or its
                checksums
            are wrong.
        """
        if content[:8] != _SIGNATURE:
            return None
        place, parts, last = 8, [], b''
        view = memoryview(content)
        header = None
        while place + 12 <= len(content):
            (length,) = struct.unpack_from('>I', content, place)
            end = place + 8 + length
            last = content[place + 4 : place + 8]
            if last not in _PLAIN or end + 4 > len(content):
                return None
            if fast_zlib.crc32(view[place + 4 : end]) != struct.unpack_from('>I', content, end)[0]:
                return None
            if last == b'IHDR':
                header = struct.unpack_from('>IIBBBBB', content, place + 8)
            elif last == b'IDAT':
                parts.append(view[place + 8 : end])
            place = end + 4
        # 8 bits, colours without alpha, the only defined compression and filter method, one pass
        if header is None or header[2:] != (8, 2, 0, 0, 0) or last != b'IEND':
            return None
        return cls(header[1], header[0], b''.join(parts))

    def corner(self, height: int, width: int) -> np.ndarray | None:
        """Decode the upper left part of the image.

        Args:
            height: Of the part in pixels, at most the image's.
            width: Likewise.

        Returns:
            np.ndarray: (height, width, 3) uint8 BGR; None if the complete file decodes as fast, or
            if the compressed rows are damaged.
        """
        # with zlib, a part of more than three quarters costs more than it saves
        if fast_zlib is zlib and 4 * height * width > 3 * self.height * self.width:
            return None
        stride = 1 + 3 * self.width  # bytes of a coded row: its filter, then its pixels
        try:
            rows = fast_zlib.decompressobj().decompress(self._data, height * stride)
        except fast_zlib.error:
            return None
        if len(rows) != height * stride:
            return None
        part = np.frombuffer(rows, np.uint8).reshape(height, stride)[:, : 1 + 3 * width]
        # OpenCV undoes the filters: a PNG of this part, stored without compression
        header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
        stored = zlib.compress(np.ascontiguousarray(part), 0)
        chunks = ((b'IHDR', header), (b'IDAT', stored), (b'IEND', b''))
        content = b''.join([_SIGNATURE, *(piece for chunk in chunks for piece in _pack(*chunk))])
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def _pack(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    checksum = fast_zlib.crc32(data, fast_zlib.crc32(kind))
    return struct.pack('>I', len(data)), kind, data, struct.pack('>I', checksum)
