"""What can be wrong with config files before their values count: bases that lead nowhere or in a circle, modules that are not there."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from mmseg_semi.errors import SetupError


def check_bases(path: Path) -> None:
    """Refuse a config whose ``_base_`` is missing, or leads back to itself: MMEngine would follow it for a while and end in a traceback.

    Bases of other packages (``mmseg::...``) and files that cannot be parsed are left to MMEngine.

    Args:
        path: An existing config file.

    Raises:
        SetupError: A base does not exist, or is the config itself or one above it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), 'mine.py')
        >>> _ = path.write_text("_base_ = './mine.py'")
        >>> try:
        ...     check_bases(path)
        ... except SetupError as error:
        ...     str(error).partition(';')[0].rpartition('/')[2]
        "mine.py' leads back to itself by its _base_ (mine.py, mine.py)"
    """
    _follow(path, (), set())


def _follow(path: Path, above: tuple[Path, ...], done: set[Path]) -> None:
    real = path.resolve()
    if real in above:
        names = ', '.join(one.name for one in (*above[above.index(real) :], real))
        raise SetupError(
            f"config '{path}' leads back to itself by its _base_ ({names}); give it another _base_"
        )
    if real in done:
        return
    for base in _bases(path):
        file = path.parent / base
        if not file.is_file():
            state = 'is a folder' if file.is_dir() else 'does not exist'
            raise SetupError(
                f"config '{path}': its _base_ '{base}' {state} (looked for in {path.parent.resolve()}); correct the path"
            )
        _follow(file, (*above, real), done)
    done.add(real)


def _bases(path: Path) -> Iterator[str]:
    """The local files that ``_base_`` of a Python config names."""
    if path.suffix != '.py':
        return
    try:
        body = ast.parse(path.read_text(encoding='utf-8')).body
    except (OSError, ValueError, SyntaxError):
        return
    for line in body:
        named = isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        if named and line.targets[0].id == '_base_':
            try:
                value = ast.literal_eval(line.value)
            except ValueError:
                return
            bases = value if isinstance(value, list | tuple) else [value]
            yield from (base for base in bases if isinstance(base, str) and '::' not in base)


def failed_import(text: str) -> str | None:
    """What MMEngine's error of ``custom_imports`` leaves out: which module cannot be imported, and why; None for other errors.

    Args:
        text: MMEngine's error.
    """
    if not text.startswith('Failed to import custom modules from'):
        return None
    for name in re.findall(r"'([\w.]+)'", text):
        if name in ('imports', 'allow_failed_imports'):
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            reason = ' '.join(str(error).split())
            return (
                f'custom_imports names the module {name!r}, which cannot be imported ({type(error).__name__}: {reason}); put '
                'it beside the config, install it, or correct the name'
            )
    return None
