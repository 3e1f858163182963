"""Reading the small YAML or JSON file that describes a user's own data, with errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from mmseg_semi.data.names import not_utf8
from mmseg_semi.errors import SetupError


def read_description(path: Path) -> dict:
    """The keys and values of a data file.

    Args:
        path: JSON if its name ends in .json, else YAML; UTF-8.

    Raises:
        SetupError: If the file is missing, no text, no YAML or JSON, holds no keys and values, or a key twice: of two values a parser
            takes the last one and says nothing.
    """
    if path.is_dir():
        raise SetupError(f'{path} is a folder, expected a YAML or JSON file; name the file in it')
    if not path.is_file():
        raise SetupError(
            f'{path} does not exist; write it as docs/custom_data.md shows, or set data_file'
        )
    try:
        text = path.read_text(encoding='utf-8-sig')
        if path.suffix == '.json':
            content = json.loads(text, object_pairs_hook=_once)
        else:
            content = yaml.load(text, _Loader)
    except UnicodeDecodeError as error:
        raise not_utf8(str(path), error) from error
    except RecursionError as error:
        raise SetupError(
            f'{path} is nested too deep to be read; write it as docs/custom_data.md shows'
        ) from error
    except _Twice as error:
        raise SetupError(f'{path}{error}; keep one of the two') from error
    except (ValueError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise SetupError(f'{path} cannot be read ({reason}); fix that line') from error
    if not isinstance(content, dict):
        found = 'it is empty' if content is None else f'but a {type(content).__name__}'
        raise SetupError(
            f'{path} holds no keys and values ({found}); write it as docs/custom_data.md shows'
        )
    return content


class _Twice(Exception):
    """A key stands twice; the text goes on after the file's name."""


class _Loader(yaml.SafeLoader):
    """YAML without tags of Python, in which a key must not stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(':merge'):
                continue
            line, written = key.start_mark.line + 1, (key.tag, key.value)
            if written in first:
                raise _Twice(
                    f', line {line}: the key {key.value!r} stands twice, first in line {first[written]}'
                )
            first[written] = line
        return super().construct_mapping(node, deep)


def _once(pairs: list[tuple[str, Any]]) -> dict:
    """A JSON object whose keys differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Twice(f': the key {twice!r} stands twice in one object')
    return found
