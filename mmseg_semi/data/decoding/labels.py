"""Reading label maps and masks, and mapping their values to class indices."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from mmseg_semi.data.decoding.bands import decode_npy, is_npy
from mmseg_semi.data.decoding.files import read_file, unreadable
from mmseg_semi.data.decoding.images import decode_with_opencv
from mmseg_semi.data.decoding.tiff import tiff_layout
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE


def read_labels(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Read the raw values of a single-channel label file.

    A palette file gives its indices, never its colours.

    Args:
        path: Label file.
        backend_args: File backend of MMEngine, None for the local disk.

    Returns:
        np.ndarray: (H, W), the file's own unsigned or signed integer type.

    Raises:
        SetupError: If the file is missing, truncated, in colour or not of integers.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/labels.png'
        >>> Image.fromarray(np.uint8([[0, 3, 255]])).save(path)
        >>> read_labels(path).tolist()
        [[0, 3, 255]]
    """
    content = read_file(path, 'mask', backend_args)
    _check_storage(path, content)
    try:
        labels = np.asarray(Image.open(io.BytesIO(content)))
    except Exception as error:  # each decoder raises its own kinds
        raise unreadable(path, 'mask', content, error) from error
    if labels.ndim != 2:
        raise SetupError(
            f'mask {path} has {labels.shape[2]} colour channels, expected one channel of class '
            'indices; convert it to an indexed or 8-bit grey PNG whose values are the classes'
        )
    if labels.dtype.kind not in 'bui':
        raise SetupError(
            f'mask {path} holds {labels.dtype} values, expected integer class indices; export it as integers'
        )
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def _check_storage(path: str, content: bytes) -> None:
    """Refuse masks of which decoders would take the first page alone, or the complement.

    Raises:
        SetupError: If the mask has several pages, or "white is zero".
    """
    layout = tiff_layout(io.BytesIO(content))
    if layout is not None:
        pages = layout.pages
        if layout.is_inverted:
            raise SetupError(
                f"mask {path} is stored inverted (a TIFF whose tag says 'white is zero'), so that programs "
                'disagree which of its values are 0; save the masks as PNG, or as TIFF with black as zero'
            )
    elif content[:4] in (b'GIF8', b'RIFF', b'\x89PNG'):
        try:
            with Image.open(io.BytesIO(content)) as img:
                pages = getattr(img, 'n_frames', 1)
        except Exception:  # whoever decodes the file says what is wrong
            return
    else:
        return
    if pages > 1:
        raise SetupError(
            f'mask {path} has {pages} pages, expected one in which each pixel has the value of its class; '
            'merge the pages into one mask'
        )


def to_class_indices(
    labels: np.ndarray,
    num_classes: int,
    path: str,
    reduce_zero_label: bool = False,
    label_map: dict[int, int] | None = None,
) -> np.ndarray:
    """Map raw values to class indices as MMSegmentation does, and check the result.

    Args:
        labels: (H, W), raw values of the file.
        num_classes: Number of classes.
        path: The file; errors name it.
        reduce_zero_label: Whether 0 means ignored and k means class k - 1.
        label_map: Old class index -> new class index, or None.

    Returns:
        np.ndarray: (H, W) uint8, 0 .. num_classes - 1 or 255 (ignored).

    Raises:
        SetupError: If a value is neither.

    Example:
        >>> to_class_indices(np.uint8([[0, 1, 2]]), 2, 'a.png', reduce_zero_label=True).tolist()
        [[255, 0, 1]]
    """
    if labels.dtype != np.uint8:
        lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
        if lowest < 0 or highest > IGNORE:
            wrong_value = highest if highest > IGNORE else lowest
            raise _bad_label(path, wrong_value, num_classes, reduce_zero_label)
        labels = labels.astype(np.uint8)

    table = np.arange(256)
    if reduce_zero_label:
        table = np.concatenate([[IGNORE], table[:-2], [IGNORE]])
    if label_map is not None:
        table = np.array([label_map.get(int(value), int(value)) for value in table])
    wrong = (table >= num_classes) & (table != IGNORE)

    # OpenCV counts uint8 ten times faster than np.unique
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(-1)
    found = np.flatnonzero((counts > 0) & wrong)
    if len(found):
        count = int(counts[found[0]])
        raise _bad_label(path, int(found[0]), num_classes, reduce_zero_label, count)
    if reduce_zero_label or label_map is not None:
        labels = table.astype(np.uint8)[labels]
    return np.array(labels)


def _bad_label(
    path: str, value: int, num_classes: int, reduce_zero_label: bool, count: int | None = None
) -> SetupError:
    pixels = '' if count is None else f' ({count} pixels)'
    allowed = f'0 to {num_classes - 1}, or {IGNORE}'
    if reduce_zero_label:
        allowed = f'1 to {num_classes} (reduce_zero_label=True), or 0'
    return SetupError(
        f'mask {path} holds the label {value}{pixels}, but the data set has {num_classes} classes: '
        f'labels must be {allowed} for pixels to ignore; convert the '
        'masks, or correct the classes in the config'
    )


def check_mask_size(
    path: str, labels: np.ndarray, img_path: str | None, shape: tuple[int, int]
) -> None:
    """Refuse a mask of another size than its image.

    Args:
        path: The mask; errors name it.
        labels: (H, W), its content.
        img_path: Its image; errors name it.
        shape: (H, W) of the image.

    Raises:
        SetupError: If the sizes differ.
    """
    if labels.shape != tuple(shape):
        height, width = shape
        turned = labels.shape == (width, height)
        raise SetupError(
            f'mask {path} is {labels.shape[1]} x {labels.shape[0]} pixels, but its image {img_path} is {width} x {height}; '
            'both must have the same size: '
            + (
                'turn the mask, or store the image upright if only its orientation tag turns it'
                if turned
                else 'draw the mask on this image, or correct which mask belongs to it'
            )
        )


def read_mask(path: str, backend_args: dict | None = None, as_color: bool = False) -> np.ndarray:
    """Read a mask of any format that Pillow, OpenCV or NumPy reads, an alpha channel dropped.

    Args:
        path: Mask file.
        backend_args: File backend of MMEngine, None for the local disk.
        as_color: Whether to return colours: a palette then gives its colours, else its indices.

    Returns:
        np.ndarray: With ``as_color`` (H, W, 3) red, green, blue, uint8 except for formats that only
        OpenCV reads. Else (H, W) or, of a mask in colour, (H, W, 3), with the file's own type.

    Raises:
        SetupError: If the file is missing, truncated or no image.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/mask.png'
        >>> Image.fromarray(np.uint8([[7]])).save(path)
        >>> read_mask(path).tolist(), read_mask(path, as_color=True).tolist()
        ([[7]], [[[7, 7, 7]]])
    """
    content = read_file(path, 'mask', backend_args)
    _check_storage(path, content)
    if is_npy(content):
        array = decode_npy(content, path, 'mask')
        if array.ndim != 2 and (array.ndim != 3 or array.shape[2] != 3):
            raise SetupError(
                f'mask {path} is an array of {" x ".join(map(str, array.shape))}, expected height x width with the value of a '
                'class for each pixel, or height x width x 3 in colour; save it so, such as array.argmax(0) of a plane a class'
            )
        return np.repeat(array[..., None], 3, 2) if as_color and array.ndim == 2 else array
    try:
        img = Image.open(io.BytesIO(content))
    except Exception as error:  # each decoder raises its own kinds
        array = decode_with_opencv(content)
        if array is None:
            raise unreadable(path, 'mask', content, error) from error
        array = array[..., 2::-1] if array.ndim == 3 else array
        return np.repeat(array[..., None], 3, 2) if as_color and array.ndim == 2 else array
    try:
        if as_color:
            return np.asarray(img.convert('RGB'))
        if img.mode in ('LA', 'PA'):
            img = img.getchannel(0)
        array = np.asarray(img)
    except Exception as error:
        raise unreadable(path, 'mask', content, error) from error
    return array[..., :3] if array.ndim == 3 else array
