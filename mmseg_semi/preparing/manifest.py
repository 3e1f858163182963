"""``prepared.json``: the list of all files of a prepared data set, with their sizes.

It is written last, so a folder that has it was prepared to the end; a later run compares it with
the folder and makes only those files again that are missing or have another size.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole

MANIFEST = 'prepared.json'
"""Name of the manifest in the folder of a prepared data set."""


def check_prepared(out: Path, options: dict | None = None) -> list[str] | None:
    """Compare a folder with its manifest.

    Args:
        out: Folder of a prepared data set.
        options: The options that the data set must have been prepared with. Defaults to none.

    Returns:
        list[str] | None: Files that are missing or have another size, empty if all are right; None
            if the folder has no manifest.

    Raises:
        SetupError: If the folder was prepared with other options, or the manifest is damaged.
    """
    path = Path(out) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
        found, files = manifest['options'], manifest['files']
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f'{path} is no manifest of a prepared data set; remove the file'
        ) from error
    if found != (options or {}):
        raise SetupError(
            f'{out} was prepared with {_in_words(found)}, not with {_in_words(options or {})}; '
            'remove the folder, or name another one with --out'
        )
    sizes: dict[str, dict[str, int]] = {}
    stale = []
    for name, size in files.items():
        folder, _, file_name = name.rpartition('/')
        if folder not in sizes:  # one listing a folder
            sizes[folder] = _file_sizes(Path(out) / folder)
        if sizes[folder].get(file_name) != size:
            stale.append(name)
    return stale


def _file_sizes(folder: Path) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


def _in_words(options: dict) -> str:
    return ', '.join(f'{name}={value}' for name, value in options.items()) or 'no options'


def describe_prepared(out: Path) -> str:
    """Summary and sources of a prepared data set, for a message."""
    manifest = json.loads((out / MANIFEST).read_text(encoding='utf-8'))
    return f'{manifest["summary"]}, from {", ".join(manifest["sources"])}'


def write_manifest(
    out: Path, names: Iterable[str], summary: str, sources: Sequence[Path], options: dict | None
) -> None:
    """Write the manifest of a folder.

    Args:
        out: Folder of the prepared data set.
        names: Paths of its files below the folder, with '/'.
        summary: Contents of the data set, in words.
        sources: Folders and archives that it was made from.
        options: Options that it was made with.
    """
    manifest = dict(
        summary=summary,
        sources=[str(source) for source in sources],
        options=options or {},
        files={name: (out / name).stat().st_size for name in sorted(names)},
    )
    write_whole(out / MANIFEST, json.dumps(manifest, indent=0), sync=False)
