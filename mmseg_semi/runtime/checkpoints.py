"""Checkpoint files: plain contents, whole at every instant, findable after a move.

Plain means tensors, numbers, strings, lists, tuples, sets and dicts, so that
``torch.load(weights_only=True)`` reads a file of ours without any allow-list.
"""

import os
import zipfile
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log

from mmseg_semi.errors import SetupError

_ARRAY = '__ndarray__'
_HISTORY = '__history__'


def to_plain(value: Any, path: str = 'checkpoint') -> Any:
    """Rebuild ``value`` from plain types.

    numpy scalars become numbers, paths strings, dicts of any class dicts. A numpy array becomes
    ``{'__ndarray__': tensor}`` and a ``HistoryBuffer`` ``{'__history__': ...}``, which
    :func:`from_plain` turns back.

    Args:
        value: A checkpoint, or any part of one.
        path: Where it stands, for the error.

    Returns:
        The plain copy. Tensors are shared with ``value``.

    Raises:
        SetupError: If it holds an object for which there is no plain form.
    """
    if isinstance(value, np.generic):
        return to_plain(value.item(), path)
    if isinstance(value, HistoryBuffer):
        values, counts = value.data
        history = {'values': values, 'counts': counts, 'max_length': value.max_length}
        return {_HISTORY: to_plain(history, path)}
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biufc':
        # ascontiguousarray would turn a 0-d array into a 1-d one
        return {_ARRAY: torch.from_numpy(value.copy())}
    if isinstance(value, OrderedDict):
        plain = OrderedDict(
            (to_plain(k, path), to_plain(v, f'{path}.{k}')) for k, v in value.items()
        )
        plain.__dict__.update(to_plain(vars(value), path))  # state_dict()._metadata
        return plain
    if isinstance(value, Mapping):
        return {to_plain(k, path): to_plain(v, f'{path}.{k}') for k, v in value.items()}
    if isinstance(value, torch.Tensor | torch.Size | torch.dtype | torch.device):
        return value
    if isinstance(value, list | tuple | deque):
        items = [to_plain(item, f'{path}.{index}') for index, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, set | frozenset):
        return {to_plain(item, path) for item in value}
    if isinstance(value, PurePath):
        return str(value)
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    for base in (int, float, str):  # enumerations and other subclasses
        if isinstance(value, base):
            return base(value)
    raise SetupError(
        f"'{path}' holds a {type(value).__module__}.{type(value).__qualname__}, which no checkpoint "
        'can hold as plain data; let what saves it there save numbers, strings, lists, dicts or tensors'
    )


def from_plain(value: Any) -> Any:
    """Turn back what :func:`to_plain` wrote for arrays and history buffers."""
    if isinstance(value, Mapping):
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].cpu().numpy()
        plain = {key: from_plain(item) for key, item in value.items()}
        if plain.keys() == {_HISTORY}:
            history = plain[_HISTORY]
            return HistoryBuffer(history['values'], history['counts'], history['max_length'])
        return plain
    if type(value) in (list, tuple):
        return type(value)(from_plain(item) for item in value)
    return value


def settle(temporary: Path, final: Path) -> None:
    """Give a written file its name, once its bytes are on the disk.

    A reader, or a run that goes on after a crash, sees the old file or the new one, never a part.
    """
    with open(temporary, 'rb+') as file:
        os.fsync(file.fileno())
    os.replace(temporary, final)
    if os.name == 'posix':  # the new name itself is on the disk only with its folder
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_whole(path: Path) -> bool:
    """Whether ``path`` is a checkpoint that was written to its end.

    A checkpoint is a zip archive, whose directory stands at the end. Its records are not read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith('data.pkl') for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """The newest whole checkpoint of a run.

    The file that ``last_checkpoint`` names, looked up beside it if the folder was moved; where that
    one is missing or damaged, the whole one with the highest iteration (or epoch) in its name, and
    the log says so.

    Args:
        work_dir: The folder of the run.

    Returns:
        Its path, or None where there is no whole one.
    """
    work_dir = Path(work_dir)
    note = work_dir / 'last_checkpoint'
    named = None
    if note.is_file():
        name = Path(note.read_text().strip())
        places = [work_dir / name, work_dir / name.name]
        named = next((place for place in places if place.is_file()), places[-1])
        if is_whole(named):
            return named
    numbered = [path for path in work_dir.glob('*_*.pth') if path.stem.rpartition('_')[2].isdigit()]
    numbered = [path for path in numbered if not path.name.startswith('best_')]
    numbered.sort(key=lambda path: int(path.stem.rpartition('_')[2]), reverse=True)
    found = next((path for path in numbered if is_whole(path)), None)
    if named is not None:
        state = 'damaged' if named.exists() else 'missing'
        remains = 'no other one is left' if found is None else f'going on from {found.name}'
        print_log(f'The last checkpoint {named} is {state}; {remains}.', 'current', 30)
    return found
