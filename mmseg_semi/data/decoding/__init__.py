"""From the bytes of a file to pixels or labels; the transforms, the checks and the tools share it.

- ``files``: reads bytes, and makes the errors that name an unreadable file.
- ``images``: images as uint8 BGR.
- ``bands``: images of any number of bands, with their own values; ``tiff``: headers of TIFF files,
  and the decoding of those that Pillow and OpenCV read wrongly.
- ``png``: the part of a PNG that a crop shows.
- ``labels``: label maps and masks.
"""

from mmseg_semi.data.decoding.bands import decode_bands, decode_npy, is_npy
from mmseg_semi.data.decoding.files import (
    ANY_IMAGE_SUFFIXES,
    IMAGE_SUFFIXES,
    read_file,
    unreadable,
)
from mmseg_semi.data.decoding.images import (
    DeferredImage,
    decode_deep_colour,
    decode_deep_image,
    decode_image,
    decode_with_opencv,
)
from mmseg_semi.data.decoding.labels import (
    check_mask_size,
    read_labels,
    read_mask,
    to_class_indices,
)
from mmseg_semi.data.decoding.png import PlainPNG
from mmseg_semi.data.decoding.tiff import TiffLayout, decode_tiff, tiff_layout

__all__ = [
    'ANY_IMAGE_SUFFIXES',
    'DeferredImage',
    'IMAGE_SUFFIXES',
    'PlainPNG',
    'TiffLayout',
    'check_mask_size',
    'decode_bands',
    'decode_deep_colour',
    'decode_deep_image',
    'decode_image',
    'decode_npy',
    'decode_tiff',
    'decode_with_opencv',
    'is_npy',
    'read_file',
    'read_labels',
    'read_mask',
    'tiff_layout',
    'to_class_indices',
    'unreadable',
]
