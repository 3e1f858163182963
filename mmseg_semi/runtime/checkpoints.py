"""Contents of checkpoint files, and the newest checkpoint of a run.

A checkpoint of this package holds plain types only: tensors, numbers, strings, lists, tuples, sets
and dicts. ``torch.load(weights_only=True)`` reads it without any allow-list.
"""

import zipfile
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.stack import HISTORY

_ARRAY = '__ndarray__'
_HISTORY = '__history__'


def to_plain(value: Any, path: str = 'checkpoint') -> Any:
    """Convert ``value`` to plain types.

    NumPy scalars become numbers, paths become strings, and mappings of any class become dicts. A
    NumPy array becomes ``{'__ndarray__': tensor}`` and a ``HistoryBuffer`` becomes
    ``{'__history__': ...}``; :func:`from_plain` converts these two back.

    Args:
        value: A checkpoint, or any part of one.
        path: Dotted place of ``value`` in the checkpoint, for the error.

    Returns:
        The plain copy. It shares its tensors with ``value``.

    Raises:
        SetupError: If ``value`` holds an object that has no plain form.

    Example:
        >>> to_plain({'lr': np.float64(0.1), 'file': Path('a') / 'b'})
        {'lr': 0.1, 'file': 'a/b'}
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
        f"'{path}' holds a {type(value).__module__}.{type(value).__qualname__}, which has no plain "
        'form for a checkpoint; save numbers, strings, lists, dicts or tensors there'
    )


def from_plain(value: Any) -> Any:
    """Convert the arrays and history buffers of :func:`to_plain` back."""
    if isinstance(value, Mapping):
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].cpu().numpy()
        plain = {key: from_plain(item) for key, item in value.items()}
        if plain.keys() == {_HISTORY}:
            history = plain[_HISTORY]
            length = min(history['max_length'], HISTORY)  # longer in files of version 0.1
            return HistoryBuffer(history['values'][-length:], history['counts'][-length:], length)
        return plain
    if type(value) in (list, tuple):
        return type(value)(from_plain(item) for item in value)
    return value


def kind_of_file(path: str | Path) -> str | None:
    """What a file is that torch cannot load, by its first bytes: 'empty', 'a text file', 'a Python pickle'; None if they do
    not tell, as for an archive that was cut short.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), 'x.pth')
        >>> path.write_text('version https://git-lfs.github.com/spec/v1') and kind_of_file(path)
        'a text file'
    """
    if not Path(path).is_file():
        return None
    with open(path, 'rb') as file:
        start = file.read(512)
    if not start:
        return 'empty'
    if start[:1] == b'\x80':  # the protocol's mark; torch.save writes an archive around it
        return 'a Python pickle'
    try:
        text = start[:500].decode('utf-8', errors='strict' if len(start) <= 500 else 'ignore')
    except UnicodeDecodeError:
        return None
    return 'a text file' if all(char.isprintable() or char.isspace() for char in text) else None


def what_is_wrong(path: Path) -> str:
    """What is wrong with a file that is no complete checkpoint, in words that follow its name.

    Example:
        >>> what_is_wrong(Path('nowhere.pth'))
        'does not exist'
    """
    if path.is_dir():
        return 'is a folder'
    if not path.is_file():
        return 'does not exist'
    kind = kind_of_file(path)
    if kind is not None:
        return f'is {kind}, no checkpoint' if kind != 'empty' else 'is empty'
    return 'is cut short or no checkpoint'


def check_content(content: Any, name: str) -> Any:
    """Check that a loaded file holds weights: a dict with 'state_dict', or of tensors.

    Returns:
        The content.

    Raises:
        SetupError: It holds something else.

    Example:
        >>> check_content({'state_dict': {}}, 'x.pth')
        {'state_dict': {}}
    """
    expected = (
        "expected a dict with 'state_dict', or of tensors by name; give a checkpoint of a segmentor"
    )
    if not isinstance(content, Mapping):
        raise SetupError(f"checkpoint '{name}' holds a {type(content).__name__}, {expected}")
    if not isinstance(content.get('state_dict', {}), Mapping):
        kind = type(content['state_dict']).__name__
        raise SetupError(f"checkpoint '{name}' has a {kind} as 'state_dict', {expected}")
    known = ('state_dict', 'model', 'backbone', 'state', 'teacher', 'model_state')
    tensors = any(isinstance(value, torch.Tensor) for value in content.values())
    if not tensors and not any(isinstance(content.get(key), Mapping) for key in known):
        keys = ', '.join(map(str, list(content)[:5])) or 'nothing'
        raise SetupError(f"checkpoint '{name}' holds {keys}, {expected}")
    for key, value in content.get('state_dict', {}).items():
        aside = str(key).endswith(
            ('_metadata', '_extra_state')
        )  # what PyTorch itself puts beside tensors
        if not isinstance(value, torch.Tensor) and not aside:
            raise SetupError(
                f"checkpoint '{name}' has a {type(value).__name__} in place of the tensor '{key}', {expected}"
            )
    return content


def is_whole(path: Path) -> bool:
    """Whether ``path`` is a complete checkpoint.

    A checkpoint is a zip archive and its directory stands at the end, so a file that was cut short
    has none. The records themselves are not read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith('data.pkl') for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Find the newest complete checkpoint of a run.

    This is the file that ``last_checkpoint`` names, or the file of that name beside it if the
    folder was moved. If that file is missing or damaged, it is the complete one with the highest
    iteration (or epoch) in its name, and the log reports this.

    Args:
        work_dir: The folder of the run.

    Returns:
        Path of the checkpoint, or None if there is no complete one.
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
        remains = 'no other one is left' if found is None else f'using {found.name} instead'
        print_log(f'The last checkpoint {named} is {state}; {remains}.', 'current', 30)
    return found


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """The complete checkpoint of a run that validated best, else its newest one; None if there is none.

    Of several, such as of two metrics, it is the one of the highest iteration; the time of a file is that of a clock which
    may have been set.
    """

    def iteration(path: Path) -> int:
        number = path.stem.rpartition('_')[2]
        return int(number) if number.isdigit() else -1

    best = sorted(sorted(Path(work_dir).glob('best_*.pth')), key=iteration)
    whole = [path for path in best if is_whole(path)]
    return whole[-1] if whole else latest_checkpoint(work_dir)
