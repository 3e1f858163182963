"""A user's own data, described by one small file: folders, classes, and the meaning of masks.

A YAML or JSON file (or the same dict in a config) gives the folders of images and masks, and what
the masks contain::

    labeled: {images: photos, masks: annotations}
    unlabeled: [more_photos, /mnt/archive]
    val: 0.2                       # a share of the labelled images, or {images: ..., masks: ...}
    classes:
      background: "#000000"        # a colour,
      leaf: ["#00ff00", "#008000"] # or several; or values and ranges: 1, "2-100", [101, "110-120"]
    ignore: "#ffffff"

``docs/custom_data.md`` describes every key.
"""

from __future__ import annotations

import difflib
import math
import os
import os.path as osp
import stat
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mmseg_semi.data.bands import Bands
from mmseg_semi.data.decoding.files import ANY_IMAGE_SUFFIXES as IMAGE_SUFFIXES
from mmseg_semi.data.description import read_description
from mmseg_semi.data.folders import walk_files
from mmseg_semi.data.mask_map import MaskMap
from mmseg_semi.data.palette import parse_color, voc_color
from mmseg_semi.data.randomness import seeded_permutation
from mmseg_semi.errors import SetupError

PARTS = ('labeled', 'unlabeled', 'val', 'test')
_KEYS = (*PARTS, 'classes', 'ignore', 'palette', 'value_range', 'bands', 'exclude')


class OwnData:
    """Reads the description of a user's own data and finds its files.

    Args:
        description: YAML or JSON file, or its content as a dict. Relative folders are looked up
            from the file's folder, those of a dict from the working directory.

    Attributes:
        source: The file, or 'data_file' for a dict; errors name it.
        mask_map: Maps the values of masks to class indices.
        palette: A colour [r, g, b] of each class.
        value_range: (low, high) of images with more than 8 bits, or None.
        bands: What the bands of images are, or None: images are grey or in colour.
        left_out: What :meth:`files` has left out of the unlabelled images, in words.

    Raises:
        SetupError: If the file cannot be read, or has a key or an entry that it must not have. Only
            :meth:`files` checks the folders.

    Example:
        >>> folders = dict(images='photos', masks='masks')
        >>> own = OwnData(dict(labeled=folders, classes=['road', 'car']))
        >>> own.mask_map.names, own.palette
        (('road', 'car'), [[0, 0, 0], [128, 0, 0]])
    """

    def __init__(self, description: str | Path | Mapping) -> None:
        if isinstance(description, Mapping):
            self.source, self.folder, content = 'data_file', Path(), dict(description)
        else:
            path = Path(description)
            self.source, self.folder, content = str(path), path.parent, read_description(path)
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
        self.left_out: list[str] = []
        self._exclude = self._patterns(content.get('exclude'))
        self.mask_map = MaskMap(content['classes'], content.get('ignore'), self.source)
        if len(self.mask_map.names) == 1:
            name = self.mask_map.names[0]
            raise SetupError(
                f"{self.source}: 'classes' has one name, {name}; a binary task has two classes, the background "
                f'is one of them: classes: {{background: 0, {name}: 255}}, or 1 for 255, whatever masks hold'
            )
        self.palette = self._palette(content.get('palette'))
        self.value_range = self._value_range(content.get('value_range'))
        bands = content.get('bands')
        self.bands = None if bands is None else Bands.of(bands, self.source)
        if self.bands is not None and self.value_range is not None:
            raise SetupError(
                f"{self.source} has 'value_range' and 'bands'; remove value_range, bands.low and "
                'bands.high are the ranges of the bands'
            )

    def files(self, part: str) -> list[dict]:
        """Find the images of a part and their masks, sorted by path.

        Args:
            part: 'labeled', 'unlabeled', 'val' or 'test'; without a key 'test' it has the images of 'val'.

        Returns:
            list[dict]: ``img_path`` and, if the part has masks, ``seg_map_path``.

        Raises:
            SetupError: If a folder is missing or holds no image, or an image has no mask.
        """
        if part == 'unlabeled':
            return self._unlabeled()
        if part == 'test' and not self.has_test:
            part = 'val'
        share = self.content.get('val')
        if part == 'labeled' or (part == 'val' and isinstance(share, int | float)):
            pairs = self._pairs('labeled')
            if not isinstance(share, int | float):
                return pairs
            held_out = self._held_out(share, len(pairs))
            return [pair for i, pair in enumerate(pairs) if (i in held_out) == (part == 'val')]
        return self._pairs(part)

    @property
    def has_test(self) -> bool:
        """Whether there are images for test alone."""
        return bool(self.content.get('test'))

    def _folder(self, key: str, value: Any) -> Path:
        if not isinstance(value, str):
            raise SetupError(f'{self.source}: {key} is {value!r}, expected a folder')
        folder = self.folder / osp.expanduser(value)
        state = _state_of(folder)
        if state:
            raise SetupError(
                f'{self.source}: {key} is {value!r}, but the folder {folder} {state}; fix the path (it is '
                f'relative to {osp.abspath(self.folder)})'
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
        if not isinstance(suffix, str):
            raise SetupError(
                f'{self.source}: {part}.mask_suffix is {suffix!r}, expected the end of the names of masks, such as '
                "'_mask' for NAME_mask.png"
            )
        mask_files = {
            name.removesuffix(suffix): path
            for name, path in self._find(masks, f'{part}.masks').items()
            if name.endswith(suffix)
        }
        image_files = self._find(images, f'{part}.images')
        if images.resolve() == masks.resolve():
            if not suffix:
                raise SetupError(
                    f'{self.source}: {part}.images and {part}.masks are one folder; separate them '
                    'by mask_suffix, such as _mask for NAME_mask.png'
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
                f'{self.source}: {len(lost)} of {len(image_files)} images in {images} have no '
                f'mask, the first is {image_files[lost[0]].name}, expected {lost[0]}{suffix} with '
                f'any ending in {masks} ({seen}); add the masks, set {part}.mask_suffix, or name '
                f'{entry["images"]} '
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
                f"{self.source} has no 'unlabeled'; add the folders of images without masks, or "
                'set train_dataloader.dataset.unlabeled=None to train on labelled images alone'
            )
        known: dict[str, str] = {}
        for part in ('test', 'val', 'labeled'):
            entry = self.content.get(part)
            if isinstance(entry, Mapping) and self._overlaps(entry, folders):
                for pair in self._pairs(part):
                    known[osp.realpath(pair['img_path'])] = f'images of {part}'
                    known[osp.realpath(pair['seg_map_path'])] = f'masks of {part}'
        found, without = [], Counter()
        for key in folders.values():
            place = self._folder(key[0], key[1])
            for path in self._find(place, key[0]).values():
                role = known.get(osp.realpath(path)) if known else None
                name = Path(osp.relpath(path, place)).as_posix()
                if role is None and any(
                    fnmatch(name, pattern) or fnmatch(path.name, pattern)
                    for pattern in self._exclude
                ):
                    role = f"files that 'exclude' names ({', '.join(self._exclude)})"
                if role is None:
                    found.append(dict(img_path=str(path)))
                else:
                    without[role] += 1
        self.left_out = [f'{count} {role}' for role, count in without.items()]
        if not found:
            raise SetupError(
                f"{self.source}: every image in 'unlabeled' has a mask or is excluded ({', '.join(self.left_out)}); name a "
                'folder with images without masks, or set train_dataloader.dataset.unlabeled=None'
            )
        return found

    def _overlaps(self, entry: Mapping, folders: Mapping[Path, Any]) -> bool:
        """Whether a part's images or masks lie in, or below, a folder of unlabelled images."""
        own = [self._path(entry.get(key)) for key in ('images', 'masks')]
        return any(path and path.is_relative_to(folder) for path in own for folder in folders)

    def _patterns(self, given: Any) -> list[str]:
        patterns = [given] if isinstance(given, str) else [] if given is None else given
        if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
            raise SetupError(
                f"{self.source}: 'exclude' is {given!r}, expected patterns of unlabelled files to leave "
                "out, such as ['*_predict.png']"
            )
        return patterns

    def _pools(self) -> dict[Path, tuple[str, str]]:
        """Folders of unlabelled images -> (key, text as the file has it)."""
        folders = self.content.get('unlabeled') or []
        if isinstance(folders, str):
            folders = [folders]
        if not isinstance(folders, Sequence):
            raise SetupError(
                f"{self.source}: 'unlabeled' is {folders!r}, expected a folder or a list"
            )
        several, found = len(folders) > 1, {}
        for i, text in enumerate(folders):
            path = self._path(text) or Path(f'{i}')
            key = f'unlabeled[{i}]' if several else 'unlabeled'
            for other, (known, first) in found.items():
                inner, outer = (
                    ((key, text), (known, first))
                    if path.is_relative_to(other)
                    else ((known, first), (key, text))
                )
                if path.is_relative_to(other) or other.is_relative_to(path):
                    raise SetupError(
                        f'{self.source}: {inner[0]} is {inner[1]!r}, which lies in {outer[0]}, {outer[1]!r}, whose '
                        'subfolders are searched, too; keep one of the two'
                    )
            found[path] = key, text
        return found

    def _path(self, text: Any) -> Path | None:
        if not isinstance(text, str):
            return None
        try:
            return (self.folder / osp.expanduser(text)).resolve()
        except (OSError, ValueError):  # a name that no folder can have, which _folder refuses
            return None

    def _find(self, folder: Path, key: str) -> dict[str, Path]:
        """Image files below a folder: relative path without its ending -> path."""
        found: dict[str, Path] = {}
        others: Counter = Counter()
        for path in self._files(folder, key):
            stem, suffix = osp.splitext(path)
            if not _is_image(path):
                others[suffix or osp.basename(path)] += 1
                continue
            name = Path(osp.relpath(stem, folder)).as_posix()
            # archives made on a Mac have decomposed letters
            name = unicodedata.normalize('NFC', name)
            try:
                name.encode()
            except UnicodeEncodeError as error:
                shown = os.fsencode(path).decode('utf-8', 'backslashreplace')
                raise SetupError(
                    f'{self.source}: {key} holds {shown}, a name whose bytes are not UTF-8; rename such '
                    'files, for instance by convmv'
                ) from error
            if name in found:
                raise SetupError(
                    f'{self.source}: {key} holds {found[name].name} and {osp.basename(path)}; keep '
                    'one file a name'
                )
            found[name] = Path(path)
        if not found:
            seen = ', '.join(f'{n} x {suffix}' for suffix, n in others.most_common(3)) or 'nothing'
            raise SetupError(
                f'{self.source}: {key}, the folder {folder}, holds no image (found: {seen}); '
                'expected files such as .jpg, .png or .tif'
            )
        return found

    def _files(self, folder: Path, key: str) -> list[str]:
        """All files below a folder, sorted."""
        try:
            return sorted(walk_files(folder, _is_image))
        except SetupError as error:
            raise SetupError(f'{self.source}: {key}: {error}') from error

    def _held_out(self, share: float, count: int) -> set[int]:
        """Indices of the labelled images that validate; the number of images alone decides them."""
        number = round(share * count) if math.isfinite(share) else 0
        if isinstance(share, bool) or not 0 < share < 1 or not 0 < number < count:
            raise SetupError(
                f"{self.source}: 'val' is {share}, a share of {count} labelled images; expected a "
                'number between 0 and 1 that leaves at least one image on either side'
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
        for name, entry in (given or {}).items():
            color = parse_color(entry)
            if color is None:
                raise SetupError(
                    f'{self.source}: palette.{name} is {entry!r}, expected a colour such as '
                    "'#00ff00' (in quotes) or [0, 255, 0]"
                )
            colors[name] = color
        return [
            [int(color[i : i + 2], 16) for i in (1, 3, 5)] if color else voc_color(index)
            for index, color in enumerate(colors.values())
        ]

    def _value_range(self, given: Any) -> tuple[float, float] | None:
        if given is None:
            return None
        numbers = isinstance(given, list | tuple) and len(given) == 2
        if (
            not numbers
            or not all(type(v) in (int, float) and math.isfinite(v) for v in given)
            or given[0] >= given[1]
        ):
            raise SetupError(
                f"{self.source}: 'value_range' is {given!r}, expected [low, high], such as [0, "
                '4095] for 12-bit images'
            )
        return float(given[0]), float(given[1])


def _state_of(folder: Path) -> str:
    """What is wrong with a folder, in words; empty if nothing is."""
    try:
        mode = os.stat(folder).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 'does not exist'
    except ValueError:  # a name with a zero byte
        return 'cannot exist (its name holds a zero byte)'
    except OSError as error:
        return f'cannot be looked at ({error.strerror})'
    return '' if stat.S_ISDIR(mode) else 'is a file'


def _is_image(name: str) -> bool:
    return osp.splitext(name)[1].lower() in IMAGE_SUFFIXES
