"""Own data from one small file: folders, classes, and what the values of masks mean.

A YAML or JSON file (or the same dict in a config) says where images and masks are and what is in them::

    labeled: {images: photos, masks: annotations}
    unlabeled: [more_photos, /mnt/archive]
    val: 0.2                       # a share of the labelled images, or {images: ..., masks: ...}
    classes:
      background: "#000000"        # a colour,
      leaf: ["#00ff00", "#008000"] # or several; or grey values and ranges: 1, "2-100", [101, "110-120"]
    ignore: "#ffffff"

``docs/custom_data.md`` describes every key.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import os.path as osp
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from PIL import Image

from mmseg_semi.data.randomness import seeded_permutation
from mmseg_semi.data.transforms import _read, _unreadable
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

Image.init()
IMAGE_SUFFIXES = frozenset(
    # some of what Pillow registers is no picture of pixels
    {s for s, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    - {'.eps', '.ps', '.emf', '.wmf', '.mpg', '.mpeg', '.h5', '.hdf', '.bufr', '.grib'}
    # of OpenCV alone
    | {'.exr', '.hdr', '.pic', '.pxm', '.sr', '.jp2'}
)
"""Endings, in small letters, of files that count as images."""

PARTS = ('labeled', 'unlabeled', 'val', 'test')
_KEYS = (*PARTS, 'classes', 'ignore', 'palette', 'value_range')
_COLOR = re.compile(r'#[0-9a-fA-F]{6}')
_RANGE = re.compile(r'\s*(\d+)\s*-\s*(\d+)\s*')
_MAX_VALUE = 65535
_UNMAPPED = -1
_SHOWN = 8  # values that an error lists


class UnmappedValues(SetupError):
    """A mask holds values that nothing maps.

    It is made from its message alone, since it may have to travel from a data loader's worker;
    :meth:`of` makes one that knows the numbers.
    """

    found: Counter = Counter()
    """Pixels by value, as text."""

    @classmethod
    def of(cls, path: str, found: Counter, source: str, hint: str = '') -> UnmappedValues:
        """The error of one mask.

        Args:
            path: The mask.
            found: Pixels by value, as text.
            source: What maps the values.
            hint: Further advice, or nothing.
        """
        error = cls(f'mask {path} holds {_values_text(found, source, hint)}')
        error.path, error.found, error.source, error.hint = path, found, source, hint
        return error

    def of_all(self, masks: int, checked: int, total: Counter) -> SetupError:
        """The same about several masks, of which this one is the first."""
        return SetupError(
            f'{masks} of {checked} masks, the first is {self.path}, hold '
            f'{_values_text(total, self.source, self.hint)}'
        )


def _values_text(found: Counter, source: str, hint: str) -> str:
    shown = ', '.join(f'{value} ({count:,} pixels)' for value, count in found.most_common(_SHOWN))
    more = f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    return f'values that {source} maps to nothing: {shown}{more}; add them to a class or to ignore{hint}'


# -------------------------------------------------------------------------------- what masks mean


class MaskMap:
    """Turns masks into class indices.

    Args:
        classes: A sequence of names (masks hold the indices of the classes), or what each class is
            in the masks: a value (int), a range of values ('1-20', both ends belong to it), a colour
            ('#rrggbb' or [[r, g, b]]), or a list of them. Values and colours do not mix.
        ignore: What is learned from nowhere, written likewise. Defaults to 255 where values are
            mapped and no class has it, and to nothing where colours are.
        source: Named in errors: the file or the config.

    Raises:
        SetupError: If an entry is none of these or two classes claim the same.
    """

    def __init__(self, classes: Any, ignore: Any = None, source: str = 'the config') -> None:
        self.source = source
        if isinstance(classes, Sequence) and not isinstance(classes, str):
            names, specs = list(map(str, classes)), range(len(classes))
        elif isinstance(classes, Mapping):
            names, specs = list(map(str, classes)), classes.values()
        else:
            names, specs = [], ()
        if not names:
            raise SetupError(
                f"{source}: 'classes' is {classes!r}, expected a list of names, or names with what each "
                "class is in the masks, such as {road: 0, car: '1-20'}"
            )
        self.names = tuple(names)
        if len(set(self.names)) < len(self.names) or len(self.names) > IGNORE:
            raise SetupError(
                f"{source}: 'classes' has {len(self.names)} names, {len(set(self.names))} of them "
                f'different; expected up to {IGNORE} different ones'
            )
        entries = [
            (f'classes.{name}', index, self._entries(f'classes.{name}', spec))
            for index, (name, spec) in enumerate(zip(names, specs, strict=True))
        ]
        first = entries[0][2][0]
        self.by_color = isinstance(first, str)
        if ignore is None and not self.by_color:
            values = [value for *_, spec in entries for value in spec if not isinstance(value, str)]
            if not any(low <= IGNORE <= high for low, high in values):
                ignore = IGNORE
        if ignore is not None:
            entries.append(('ignore', IGNORE, self._entries('ignore', ignore)))
        self._check_one_kind(entries)
        owners: dict[Any, str] = {}
        table = np.full(_MAX_VALUE + 1, _UNMAPPED, np.int16)
        codes: dict[int, int] = {}
        for key, index, spec in entries:
            for entry in spec:
                code = int(entry[1:], 16) if self.by_color else entry
                taken = [owners[code]] if self.by_color and code in owners else []
                if not self.by_color:
                    low, high = entry
                    if (table[low : high + 1] != _UNMAPPED).any():
                        taken = [k for (a, b), k in owners.items() if a <= high and low <= b]
                if taken:
                    shown = entry if self.by_color else _range_text(entry)
                    raise SetupError(
                        f'{source}: {shown} stands in {taken[0]} and in {key}; each value belongs to '
                        "one of them (a colour is written '#rrggbb' or [[r, g, b]])"
                    )
                owners[code] = key
                if self.by_color:
                    codes[code] = index
                else:
                    table[entry[0] : entry[1] + 1] = index
        self._table = table
        self._codes = np.array(sorted(codes), np.int64)
        self._indices = np.array([codes[code] for code in sorted(codes)], np.int16)
        self.colors = [
            spec[0] if self.by_color else None for _, _, spec in entries[: len(self.names)]
        ]

    def _entries(self, key: str, spec: Any) -> list[str | tuple[int, int]]:
        """Colours as '#rrggbb', values as (low, high)."""
        found = []
        for entry in spec if isinstance(spec, list | tuple) else [spec]:
            if entry is None:
                raise SetupError(
                    f"{self.source}: {key} is empty; a colour stands in quotes ('#00ff00'), because # "
                    'starts a comment in YAML'
                )
            if isinstance(entry, str) and _COLOR.fullmatch(entry):
                found.append(entry.lower())
                continue
            if isinstance(entry, list | tuple) and len(entry) == 3:
                if all(type(v) is int and 0 <= v <= 255 for v in entry):
                    found.append('#{:02x}{:02x}{:02x}'.format(*entry))
                    continue
            span = _RANGE.fullmatch(entry) if isinstance(entry, str) else None
            low, high = (int(span[1]), int(span[2])) if span else (entry, entry)
            if type(low) is not int or not 0 <= low <= high <= _MAX_VALUE:
                raise SetupError(
                    f'{self.source}: {key} has the entry {entry!r}, expected a value of 0 to '
                    f"{_MAX_VALUE}, a range such as '1-20', or a colour such as '#00ff00'"
                )
            found.append((low, high))
        if not found:
            raise SetupError(f'{self.source}: {key} is an empty list; give a value or a colour')
        return found

    def _check_one_kind(self, entries: list) -> None:
        for key, _, spec in entries:
            other = [entry for entry in spec if isinstance(entry, str) != self.by_color]
            if other:
                kinds = ('colours', 'values') if self.by_color else ('values', 'colours')
                shown = other[0] if isinstance(other[0], str) else _range_text(other[0])
                raise SetupError(
                    f'{self.source}: {key} has {shown}, but the classes before it are {kinds[0]} and not '
                    f'{kinds[1]}; write all of them the same way'
                )

    def read(self, path: str, backend_args: dict | None = None) -> np.ndarray:
        """Class indices of a mask file.

        Args:
            path: Any format that Pillow or OpenCV reads. An alpha channel is dropped; a palette gives
                its indices where values are mapped, its colours where colours are.
            backend_args: File backend of MMEngine, None for the local disk.

        Returns:
            np.ndarray: Shape (H, W) uint8, a class or 255.

        Raises:
            UnmappedValues: If a value belongs to no class and is not ignored.
            SetupError: If the file cannot be read, or is in colour where values are mapped.
        """
        if self.by_color:
            colors = _read_mask(path, backend_args, as_color=True).astype(np.int64)
            values = (colors[..., 0] << 16) | (colors[..., 1] << 8) | colors[..., 2]
            places = np.searchsorted(self._codes, values).clip(max=len(self._codes) - 1)
            labels = np.where(self._codes[places] == values, self._indices[places], _UNMAPPED)
        else:
            values = self._single_channel(path, _read_mask(path, backend_args, as_color=False))
            labels = self._table[values.clip(0, _MAX_VALUE)]
            if values.dtype not in (np.uint8, np.uint16):
                labels[(values < 0) | (values > _MAX_VALUE)] = _UNMAPPED
        lost = labels == _UNMAPPED
        if lost.any():
            found, counts = np.unique(values[lost], return_counts=True)
            names = [f'#{v:06x}' for v in found] if self.by_color else [str(v) for v in found]
            hint = ''
            if path.lower().endswith(('.jpg', '.jpeg')):
                hint = ' (JPEG changes values when it compresses: PNG keeps them)'
            raise UnmappedValues.of(
                path, Counter(dict(zip(names, counts.tolist(), strict=True))), self.source, hint
            )
        return labels.astype(np.uint8)

    def _single_channel(self, path: str, values: np.ndarray) -> np.ndarray:
        if values.ndim == 3:
            if (values[..., 0] != values[..., 1]).any() or (values[..., 0] != values[..., 2]).any():
                code = values.astype(np.int64) @ (1 << 16, 1 << 8, 1)
                colors = Counter(
                    dict(
                        zip(
                            *map(np.ndarray.tolist, np.unique(code, return_counts=True)),
                            strict=True,
                        )
                    )
                )
                shown = ', '.join(
                    f"'#{c:06x}' ({n:,} pixels)" for c, n in colors.most_common(_SHOWN)
                )
                raise SetupError(
                    f'mask {path} is in colour, but {self.source} maps values; give each class its '
                    f'colours instead, found are {shown}'
                )
            values = values[..., 0]
        if values.dtype == bool:
            return values.astype(np.uint8)
        if values.dtype.kind == 'f':
            whole = np.rint(values)
            if not np.array_equal(values, whole):
                raise SetupError(
                    f'mask {path} holds fractions (such as {values[values != whole].flat[0]:.3g}), '
                    'expected whole numbers; export the mask as integers'
                )
            values = whole.astype(np.int64)
        return values


def _range_text(span: tuple[int, int]) -> str:
    return str(span[0]) if span[0] == span[1] else f'{span[0]}-{span[1]}'


def _read_mask(path: str, backend_args: dict | None, as_color: bool) -> np.ndarray:
    """(H, W), or (H, W, 3) red, green, blue; any type where values are asked for, else uint8."""
    content = _read(path, 'mask', backend_args)
    try:
        img = Image.open(io.BytesIO(content))
    except Exception as error:  # each decoder raises its own kinds
        array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if array is None:
            raise _unreadable(path, 'mask', content, error) from error
        array = array[..., 2::-1] if array.ndim == 3 else array
        return np.repeat(array[..., None], 3, 2) if as_color and array.ndim == 2 else array
    try:
        if as_color:
            return np.asarray(img.convert('RGB'))
        if img.mode in ('LA', 'PA'):
            img = img.getchannel(0)
        array = np.asarray(img)
    except Exception as error:
        raise _unreadable(path, 'mask', content, error) from error
    return array[..., :3] if array.ndim == 3 else array


# ------------------------------------------------------------------------------------ the whole file


class OwnData:
    """Folders, classes and values of own data.

    Args:
        description: YAML or JSON file, or its content as a dict. Relative folders are looked up from
            the file's folder, those of a dict from the working directory.

    Attributes:
        source: The file, or 'data_file' for a dict; named in errors.
        mask_map: Turns masks into class indices.
        palette: A colour [r, g, b] of each class.
        value_range: (low, high) of images with more than 8 bits, or None.

    Raises:
        SetupError: If the file or a key of it is not as it must be. Folders are looked at by
            :meth:`files`.
    """

    def __init__(self, description: str | Path | Mapping) -> None:
        if isinstance(description, Mapping):
            self.source, self.folder, content = 'data_file', Path(), dict(description)
        else:
            path = Path(description)
            self.source, self.folder, content = str(path), path.parent, _load(path)
        unknown = [str(key) for key in content if key not in _KEYS]
        if unknown:
            near = difflib.get_close_matches(unknown[0], _KEYS, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'its keys are {", ".join(_KEYS)}'
            raise SetupError(f'{self.source} has the key {unknown[0]!r}; {hint}')
        for key in ('labeled', 'classes'):
            if not content.get(key):
                example = dict(
                    labeled='labeled: {images: FOLDER, masks: FOLDER}',
                    classes='classes: [NAME, NAME]',
                )[key]
                raise SetupError(f'{self.source} has no {key!r}; add {example}')
        self.content = content
        self.mask_map = MaskMap(content['classes'], content.get('ignore'), self.source)
        self.palette = self._palette(content.get('palette'))
        self.value_range = self._value_range(content.get('value_range'))

    def files(self, part: str) -> list[dict]:
        """Images of a part and their masks, sorted by path.

        Args:
            part: 'labeled', 'unlabeled', 'val' or 'test'.

        Returns:
            list[dict]: ``img_path`` and, where the part has masks, ``seg_map_path``.

        Raises:
            SetupError: If a folder is missing or holds no image, or an image has no mask.
        """
        if part == 'unlabeled':
            return self._unlabeled()
        share = self.content.get('val')
        if part == 'labeled' or (part == 'val' and isinstance(share, int | float)):
            pairs = self._pairs('labeled')
            if not isinstance(share, int | float):
                return pairs
            held_out = self._held_out(share, len(pairs))
            return [pair for i, pair in enumerate(pairs) if (i in held_out) == (part == 'val')]
        return self._pairs(part)

    def _folder(self, key: str, value: Any) -> Path:
        if not isinstance(value, str):
            raise SetupError(f'{self.source}: {key} is {value!r}, expected a folder')
        folder = self.folder / osp.expanduser(value)
        if not folder.is_dir():
            raise SetupError(
                f'{self.source}: {key} is {value!r}, but the folder {folder} does not exist; mend the '
                f'path (it is relative to {osp.abspath(self.folder)})'
            )
        return folder

    def _pairs(self, part: str) -> list[dict]:
        """Images with masks of one entry ``{images, masks, mask_suffix}``."""
        entry = self.content.get(part)
        keys = {'images', 'masks', 'mask_suffix'}
        if not isinstance(entry, Mapping) or not {'images', 'masks'} <= set(entry) <= keys:
            number = ', or a share such as 0.2' if part == 'val' else ''
            raise SetupError(
                f'{self.source}: {part!r} is {entry!r}, expected {{images: FOLDER, masks: FOLDER}}'
                f'{number}; mask_suffix is the third key it may have'
            )
        images = self._folder(f'{part}.images', entry['images'])
        masks = self._folder(f'{part}.masks', entry['masks'])
        suffix = entry.get('mask_suffix') or ''
        mask_files = {
            name.removesuffix(suffix): path
            for name, path in self._find(masks, f'{part}.masks').items()
            if name.endswith(suffix)
        }
        image_files = self._find(images, f'{part}.images')
        if images.resolve() == masks.resolve():
            if not suffix:
                raise SetupError(
                    f'{self.source}: {part}.images and {part}.masks are one folder; tell them apart by '
                    'mask_suffix, such as _mask for NAME_mask.png'
                )
            image_files = {n: p for n, p in image_files.items() if not n.endswith(suffix)}
        lost = [name for name in image_files if name not in mask_files]
        if lost and images.resolve() in self._pools():
            image_files = {n: p for n, p in image_files.items() if n in mask_files}
            lost = [] if image_files else lost
        if lost:
            there = next(iter(mask_files), None)
            seen = f'found there is {mask_files[there].name}' if there else f'none ends in {suffix}'
            raise SetupError(
                f'{self.source}: {len(lost)} of {len(image_files)} images in {images} have no mask, the '
                f'first is {image_files[lost[0]].name}, expected {lost[0]}{suffix} with any ending in '
                f'{masks} ({seen}); add the masks, set {part}.mask_suffix, or name {entry["images"]} '
                "in 'unlabeled' too, to train on these images without masks"
            )
        return [
            dict(img_path=str(path), seg_map_path=str(mask_files[name]))
            for name, path in image_files.items()
        ]

    def _unlabeled(self) -> list[dict]:
        folders = self._pools()
        if not folders:
            raise SetupError(
                f"{self.source} has no 'unlabeled'; add the folders of images without masks, or set "
                'train_dataloader.dataset.unlabeled=None to train on labelled images alone'
            )
        known = set()
        for part in ('labeled', 'val', 'test'):
            entry = self.content.get(part)
            if isinstance(entry, Mapping) and self._path(entry.get('images')) in folders:
                known |= {pair['img_path'] for pair in self._pairs(part)}
                if self._path(entry.get('masks')) in folders:
                    known |= {pair['seg_map_path'] for pair in self._pairs(part)}
        known = {osp.realpath(path) for path in known}
        found = [
            dict(img_path=str(path))
            for folder, key in folders.items()
            for path in self._find(self._folder(key[0], key[1]), key[0]).values()
            if not known or osp.realpath(path) not in known
        ]
        if not found:
            raise SetupError(
                f"{self.source}: every image in 'unlabeled' has a mask; name a folder with images "
                'without masks, or set train_dataloader.dataset.unlabeled=None'
            )
        return found

    def _pools(self) -> dict[Path, tuple[str, str]]:
        """Folders of unlabelled images, with key and text of each."""
        folders = self.content.get('unlabeled') or []
        if isinstance(folders, str):
            folders = [folders]
        if not isinstance(folders, Sequence):
            raise SetupError(
                f"{self.source}: 'unlabeled' is {folders!r}, expected a folder or a list"
            )
        several = len(folders) > 1
        return {
            self._path(text) or Path(): (f'unlabeled[{i}]' if several else 'unlabeled', text)
            for i, text in enumerate(folders)
        }

    def _path(self, text: Any) -> Path | None:
        return (self.folder / osp.expanduser(text)).resolve() if isinstance(text, str) else None

    def _find(self, folder: Path, key: str) -> dict[str, Path]:
        """Image files below a folder by relative path without its ending."""
        found: dict[str, Path] = {}
        others: Counter = Counter()
        for path in sorted(_walk(str(folder))):
            stem, suffix = osp.splitext(path)
            if suffix.lower() not in IMAGE_SUFFIXES:
                others[suffix or osp.basename(path)] += 1
                continue
            name = Path(osp.relpath(stem, folder)).as_posix()
            if name in found:
                raise SetupError(
                    f'{self.source}: {key} holds {found[name].name} and {osp.basename(path)}; keep one '
                    'file a name'
                )
            found[name] = Path(path)
        if not found:
            seen = ', '.join(f'{n} x {suffix}' for suffix, n in others.most_common(3)) or 'nothing'
            raise SetupError(
                f'{self.source}: {key}, the folder {folder}, holds no image (found: {seen}); expected '
                'files such as .jpg, .png or .tif'
            )
        return found

    def _held_out(self, share: float, count: int) -> set[int]:
        """Which labelled images validate: always the same for the same number of images."""
        number = round(share * count)
        if isinstance(share, bool) or not 0 < share < 1 or not 0 < number < count:
            raise SetupError(
                f"{self.source}: 'val' is {share}, a share of {count} labelled images; expected a number "
                'between 0 and 1 that leaves at least one image on either side'
            )
        return set(seeded_permutation(count, 0)[:number].tolist())

    def _palette(self, given: Any) -> list[list[int]]:
        names = self.mask_map.names
        colors = dict(zip(names, self.mask_map.colors, strict=True))
        if isinstance(given, Sequence) and not isinstance(given, str):
            given = dict(zip(names, given, strict=False)) if len(given) == len(names) else given
        if given is not None and (not isinstance(given, Mapping) or not set(given) <= set(names)):
            raise SetupError(
                f"{self.source}: 'palette' is {given!r}, expected colours by class name, such as "
                f"{{{names[0]}: '#00ff00'}}, or a list of {len(names)}"
            )
        for name, color in (given or {}).items():
            triple = isinstance(color, list | tuple) and len(color) == 3
            if triple and all(type(v) is int and 0 <= v <= 255 for v in color):
                color = '#{:02x}{:02x}{:02x}'.format(*color)
            if not isinstance(color, str) or not _COLOR.fullmatch(color):
                raise SetupError(
                    f"{self.source}: palette.{name} is {color!r}, expected a colour such as '#00ff00' "
                    '(in quotes) or [0, 255, 0]'
                )
            colors[name] = color
        return [
            [int(color[i : i + 2], 16) for i in (1, 3, 5)] if color else _default_color(index)
            for index, color in enumerate(colors.values())
        ]

    def _value_range(self, given: Any) -> tuple[float, float] | None:
        if given is None:
            return None
        numbers = isinstance(given, list | tuple) and len(given) == 2
        if (
            not numbers
            or not all(isinstance(v, int | float) for v in given)
            or given[0] >= given[1]
        ):
            raise SetupError(
                f"{self.source}: 'value_range' is {given!r}, expected [low, high], such as [0, 4095] for "
                '12-bit images'
            )
        return float(given[0]), float(given[1])


def _load(path: Path) -> dict:
    if not path.is_file():
        raise SetupError(
            f'{path} does not exist; write it as docs/custom_data.md shows, or set data_file'
        )
    try:
        text = path.read_text(encoding='utf-8-sig')
        content = json.loads(text) if path.suffix == '.json' else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise SetupError(f'{path} cannot be read ({reason}); mend that line') from error
    if not isinstance(content, dict):
        raise SetupError(f'{path} is no list of keys and values; docs/custom_data.md shows one')
    return content


def _walk(folder: str) -> Iterator[str]:
    """Files below a folder, links followed, hidden ones left out."""
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        yield from (osp.join(root, name) for name in files if not name.startswith('.'))


def _default_color(index: int) -> list[int]:
    """Colour of PASCAL VOC's map: the bits of the index, spread over the channels' high bits."""
    color = [0, 0, 0]
    for bit in range(8):
        color[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return color
