"""What the values and colours of a user's own masks mean: their mapping to class indices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmseg_semi.data.decoding.labels import read_mask
from mmseg_semi.data.palette import parse_color
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

_RANGE = re.compile(r'\s*(\d+)\s*-\s*(\d+)\s*')
_MAX_VALUE = 65535
_UNMAPPED = -1
_SHOWN = 8  # values that an error lists


class UnmappedValues(SetupError):
    """A mask holds values that belong to no class and are not ignored.

    A data loader's worker pickles it by its message alone; :meth:`of` makes one that knows the
    counts.
    """

    found: Counter = Counter()
    """Value, as text -> number of pixels."""

    @classmethod
    def of(cls, path: str, found: Counter, source: str, hint: str = '') -> UnmappedValues:
        """Make the error of one mask.

        Args:
            path: The mask.
            found: Value, as text -> number of pixels.
            source: The file or config that maps the values.
            hint: Further advice, or an empty string.
        """
        error = cls(f'mask {path} holds {_values_text(found, source, hint)}')
        error.path, error.found, error.source, error.hint = path, found, source, hint
        return error

    def of_all(self, masks: int, checked: int, total: Counter) -> SetupError:
        """Make one error of several masks, of which this one is the first.

        Args:
            masks: Number of masks with such values.
            checked: Number of masks that were read.
            total: Value, as text -> number of pixels in all of them.
        """
        return SetupError(
            f'{masks} of {checked} masks, the first is {self.path}, hold '
            f'{_values_text(total, self.source, self.hint)}'
        )


def _values_text(found: Counter, source: str, hint: str) -> str:
    shown = ', '.join(f'{value} ({count:,} pixels)' for value, count in found.most_common(_SHOWN))
    more = f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    return (
        f'values that {source} does not map: {shown}{more}; add them to a class or to ignore{hint}'
    )


class MaskMap:
    """Maps the values or the colours of masks to class indices.

    Args:
        classes: A sequence of names, if masks hold the indices of the classes. Else name -> what
            the class is in the masks: a value (int), a range of values ('1-20', both ends
            included), a colour ('#rrggbb' or [[r, g, b]]), or a list of them. Values and colours do
            not mix.
        ignore: What becomes the ignored label 255, written likewise. Defaults to the value 255 if
            values are mapped and no class has it, and to no colour if colours are mapped.
        source: The file or the config; errors name it.

    Attributes:
        names: Names of the classes, in the order of their indices.
        by_color: Whether colours are mapped, not values.
        colors: First colour of each class as '#rrggbb', or None.

    Raises:
        SetupError: If an entry is none of these, or two classes have the same value or colour.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = tempfile.mkdtemp() + '/mask.png'
        >>> Image.fromarray(np.uint8([[0, 7, 255]])).save(path)
        >>> MaskMap(dict(road=0, car='5-9')).read(path).tolist()
        [[0, 1, 255]]
    """

    def __init__(self, classes: Any, ignore: Any = None, source: str = 'the config') -> None:
        self.source = source
        _check_names(classes, source)
        if isinstance(classes, Sequence) and not isinstance(classes, str):
            names, specs = list(map(str, classes)), range(len(classes))
        elif isinstance(classes, Mapping):
            names, specs = list(map(str, classes)), classes.values()
        else:
            names, specs = [], ()
        if not names:
            raise SetupError(
                f"{source}: 'classes' is {classes!r}, expected a list of names, or names with what "
                "each class is in the masks, such as {road: 0, car: '1-20'}"
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
                        f'{source}: {shown} stands in {taken[0]} and in {key}; keep each value in one of them '
                        "(a colour is written '#rrggbb' or [[r, g, b]])"
                    )
                owners[code] = key
                if self.by_color:
                    codes[code] = index
                else:
                    table[entry[0] : entry[1] + 1] = index
        self._written = [spec[0] for _, _, spec in entries]
        self._table = table
        self._codes = np.array(sorted(codes), np.int64)
        self._indices = np.array([codes[code] for code in sorted(codes)], np.int16)
        self.colors = [
            spec[0] if self.by_color else None for _, _, spec in entries[: len(self.names)]
        ]

    def written(self) -> tuple[list, Any]:
        """What stands for each class in a new mask: its first value or colour, as the masks of the data have it.

        Returns:
            Of each class a value, or a colour '#rrggbb'; and that of ignored pixels, None if there is none.

        Example:
            >>> MaskMap(dict(road='3-9', car=[1, 2]), ignore=0).written()
            ([3, 1], 0)
        """
        found = [entry if isinstance(entry, str) else entry[0] for entry in self._written]
        count = len(self.names)
        return found[:count], found[count] if len(found) > count else None

    def _entries(self, key: str, spec: Any) -> list[str | tuple[int, int]]:
        """What an entry of the file means: colours as '#rrggbb', values as (low, high)."""
        found = []
        for entry in spec if isinstance(spec, list | tuple) else [spec]:
            if entry is None:
                raise SetupError(
                    f"{self.source}: {key} is empty; a colour stands in quotes ('#00ff00'), "
                    'because # starts a comment in YAML: write a value or a colour'
                )
            color = parse_color(entry)
            if color:
                found.append(color)
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
                    f'{self.source}: {key} has {shown}, but the classes before it are {kinds[0]} '
                    f'and not {kinds[1]}; write all of them the same way'
                )

    def read(self, path: str, backend_args: dict | None = None) -> np.ndarray:
        """Read a mask file as class indices.

        Args:
            path: Any format that Pillow or OpenCV reads. An alpha channel is dropped. A palette
                gives its indices if values are mapped, its colours if colours are mapped.
            backend_args: File backend of MMEngine, None for the local disk.

        Returns:
            np.ndarray: (H, W) uint8, a class or 255 (ignored).

        Raises:
            UnmappedValues: If a value belongs to no class and is not ignored.
            SetupError: If the file cannot be read, or is in colour while values are mapped.
        """
        if self.by_color:
            colors = read_mask(path, backend_args, as_color=True).astype(np.int64)
            values = (colors[..., 0] << 16) | (colors[..., 1] << 8) | colors[..., 2]
            places = np.searchsorted(self._codes, values).clip(max=len(self._codes) - 1)
            labels = np.where(self._codes[places] == values, self._indices[places], _UNMAPPED)
        else:
            values = self._single_channel(path, read_mask(path, backend_args, as_color=False))
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
        """(H, W) integers of a mask that has three equal channels or stores floats."""
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


def _check_names(classes: Any, source: str) -> None:
    """Refuse names that are no texts: YAML takes no, yes, on and off for truth values, and ~ for nothing."""
    for name in classes if isinstance(classes, Sequence | Mapping) else ():
        if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            raise SetupError(
                f"{source}: 'classes' has the name {name!r}, expected a text; in YAML, names such as no, yes, on, off and null "
                "stand in quotes ('no')"
            )


def _range_text(span: tuple[int, int]) -> str:
    return str(span[0]) if span[0] == span[1] else f'{span[0]}-{span[1]}'
