"""A constant of a resolved config: by its key, by an entry's type, or from a constructor's signature; and how it is written."""

import importlib
import inspect
import re
from collections.abc import Mapping
from typing import Any

from mmengine.registry import Registry
from mmseg import registry

from mmseg_semi.errors import SetupError
from mmseg_semi.step import schedules
from mmseg_semi.step.teacher import TeacherRecipe

STEP = re.compile(r'(?:^|\.)(\w+)(\?)?|\[([\w.]+)\](\?)?')
OPERATION = re.compile(r' ([*/-]) ')
UNTYPED = {'model.teacher': TeacherRecipe}
"""Parts of a config that have no ``type`` -> the class that reads them."""


def find_value(cfg: Mapping, key: str) -> Any:
    """Value of a constant.

    ====================  =======================================================================
    ``a.b``               key b of a; without it, the default of the constructor of ``a.type``
    ``a[Type]``           the entry of the list a, or of the values of a, whose ``type`` is Type
    ``a[2]``              the third entry of the list a
    ``a.b?``, ``a[T]?``   None if there is none
    ``A / B``, *, -       of two values, or of a number and a value
    ``module:NAME``       a constant of a module; keys may follow, also those of a class's constructor
    ====================  =======================================================================

    Args:
        cfg: A resolved config.
        key: Of this form.

    Raises:
        SetupError: Nothing has this key.

    Example:
        >>> cfg = dict(loss=[dict(type='OHEMCrossEntropyLoss', min_kept=10)], steps=20, epoch=5)
        >>> find_value(cfg, 'loss[OHEMCrossEntropyLoss].threshold'), find_value(cfg, 'steps / epoch')
        (0.7, 4.0)
    """
    first, *rest = OPERATION.split(key)
    value = _operand(cfg, first)
    for sign, name in zip(rest[::2], rest[1::2], strict=True):
        other = _operand(cfg, name)
        if sign == '*':
            value = value * other
        elif sign == '/':
            value = value / other
        else:
            value = value - other
    return value


def _operand(cfg: Mapping, text: str) -> Any:
    if re.fullmatch(r'[\d.]+', text):
        return float(text)
    module, mark, name = text.partition(':')
    if mark:
        return _walk(vars(importlib.import_module(module)), name, f'{module}:')
    return _walk(cfg, text)


def _walk(node: Any, path: str, root: str = '') -> Any:
    steps = list(STEP.finditer(path))
    if ''.join(step[0] for step in steps) != path:
        raise SetupError(
            f"ledger: '{root}{path}' is no key; expected names with dots, [Type] and ?"
        )
    done = ''
    for step in steps:
        name, optional, entry, entry_optional = step.groups()
        try:
            node = _child(node, name, done) if name else _entry(node, entry)
        except LookupError as error:
            if optional or entry_optional:
                return None
            raise SetupError(
                f"ledger: '{root}{path}' names nothing, because '{root}{done}' has no '{name or entry}'; "
                'correct the key, or end the part that may be missing with ?'
            ) from error
        done += step[0]
        if node is None and step.end() < len(path):
            if optional or entry_optional:
                return None
            raise SetupError(
                f"ledger: '{root}{path}' names nothing, because '{root}{done}' is None; end it with ? if it may be"
            )
    return node


def _child(node: Any, name: str, path: str) -> Any:
    if isinstance(node, type):
        return _default(node, name)
    if not isinstance(node, Mapping):
        raise LookupError(name)
    if name in node:
        return node[name]
    if path in UNTYPED:
        return _default(UNTYPED[path], name)
    return _default(_find_class(node.get('type')), name)


def _entry(node: Any, name: str) -> Any:
    entries = list(node.values()) if isinstance(node, Mapping) else list(node or ())
    if name.isdigit():
        return entries[int(name)]
    for entry in entries:
        if isinstance(entry, Mapping) and entry.get('type') == name:
            return entry
    raise LookupError(name)


def _find_class(name: str | None) -> type:
    if not isinstance(name, str):
        raise LookupError(name)
    known = getattr(schedules, name, None)
    if isinstance(known, type):
        return known
    for table in vars(registry).values():
        found = table.get(name) if isinstance(table, Registry) else None
        if isinstance(found, type):
            return found
    raise LookupError(name)


def _default(cls: type, name: str) -> Any:
    """Default of a constructor's argument; those that a class hands on are read from the classes that it inherits from."""
    for base in cls.__mro__:
        argument = inspect.signature(base).parameters.get(name) if base is not object else None
        if argument is not None and argument.default is not inspect.Parameter.empty:
            return argument.default
    raise LookupError(name)


def show(value: Any, join: str = ', ') -> str:
    """A value as the page writes it.

    Args:
        value: None, a truth value, a number, a text, a list of these, or a mapping.
        join: What stands between the entries of a list.

    Example:
        >>> show(160000), show((0.5, 2.0), ' to '), show(1e-6), show(None)
        ('160,000', '0.5 to 2', '1e-6', 'none')
    """
    if value is None:
        return 'none'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, int):
        return f'{value:,}'
    if isinstance(value, float):
        if value.is_integer():
            return f'{int(value):,}'
        return re.sub(r'e([+-])0*', lambda match: f'e{match[1]}', f'{value:.6g}').replace('e+', 'e')
    if isinstance(value, Mapping):
        return ', '.join(f'{show(key)}: {show(entry)}' for key, entry in value.items())
    if isinstance(value, list | tuple):
        return join.join(show(entry, join) for entry in value) or 'none'
    return str(value)
