"""Signs of damage within a JPEG file, which decoders fill with grey without an error."""

from __future__ import annotations

import re

# within the data of a scan, 0xff is followed by 0, by a restart marker, or by the marker that ends the scan
_MARKER = re.compile(rb'\xff[^\x00\xff\xd0-\xd7]')
_NEXT = frozenset((0xD9, 0xDA, 0xC4, 0xDB, 0xDC, 0xDD, 0xFE))
_ZEROS = bytes(64)


def jpeg_damage(content: bytes) -> str | None:
    """What in the compressed data of a JPEG file cannot be there.

    Overwritten bytes show as markers that have no place in a scan, a lost block of the disk as a run of
    zeros, unless flat areas are written so (progressive files, tables of the file's own). Damage that leaves neither is not found.

    Args:
        content: The file.

    Returns:
        str: In words; None if nothing was found, or the file is no JPEG.

    Example:
        >>> jpeg_damage(b'no JPEG') is None
        True
    """
    if content[:3] != b'\xff\xd8\xff':
        return None
    place, tables, progressive = 2, [], False
    while place + 4 <= len(content):
        if content[place] != 0xFF:
            return f'no marker where one is due, at byte {place}'
        marker = content[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == 0xD9:
            return None
        segment = content[place + 4 : place + 2 + int.from_bytes(content[place + 2 : place + 4], 'big')]
        place += 4 + len(segment)
        progressive |= marker == 0xC2
        if marker == 0xC4:
            tables += _blocks_end_by_zeros(segment)
        if marker != 0xDA:
            continue
        found = _MARKER.search(content, place)
        end = found.start() if found else len(content)
        zeros = -1 if progressive or all(tables) else content.find(_ZEROS, place, end)
        # what stands before the end of the file may be padding
        if zeros >= 0 and content[zeros:end].strip(b'\0'):
            return f'a run of zeros at byte {zeros}'
        if found is None:
            return None  # cut short, which Pillow refuses
        if content[end + 1] not in _NEXT and not 0xE0 <= content[end + 1] <= 0xEF:
            return f'the marker {content[end + 1]:#x} within the compressed data at byte {end}'
        place = end
    return None


def _blocks_end_by_zeros(tables: bytes) -> list[bool]:
    """Of each Huffman table of coefficients, whether the code of zeros alone is the end of a block."""
    found = []
    while len(tables) > 17:
        if tables[0] >> 4 == 1:
            # the first symbol has the code of zeros; 0x00, 0x10, ... end one block or several
            found.append(tables[17] & 0x0F == 0)
        tables = tables[17 + sum(tables[1:17]) :]
    return found
