"""What a config has wrong, told by the error that building from it ended in.

MMEngine builds models, data, hooks and schedules by their ``type``. A wrong name, key or value ends in an error of whatever was being
built, far from the config. The frames that the error has passed say what that was.
"""

from __future__ import annotations

import difflib
import inspect
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.registry.build_functions import build_from_cfg
from mmengine.runner import Runner

_OF_VALUES = (
    TypeError,
    ValueError,
    AssertionError,
    AttributeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
)
_SHOWN = 160
"""Letters of the values that a sentence shows."""


def describe_build_error(error: Exception) -> str | None:
    """The sentence for an error that was raised while something was built from a config; None for any other error."""
    # RuntimeError is also what a GPU that is out of memory raises, as a subclass
    if not isinstance(error, _OF_VALUES) and type(error) is not RuntimeError:
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    building = [
        frame
        for frame in frames
        if frame.f_code in (build_from_cfg.__code__, Runner.build_dataloader.__code__)
    ]
    if not building:
        return None
    root = next((cfg for frame in frames for cfg in _configs(frame)), {})
    frame = building[-1]
    if frame.f_code is Runner.build_dataloader.__code__:
        from torch.utils.data import DataLoader

        given = frame.f_locals['dataloader']
        place = place_of(given, root)
        return _wrong(error, DataLoader, 'DataLoader', frame.f_locals['dataloader_cfg'], place)
    given = frame.f_locals['cfg']
    place = place_of(given, root)
    if not isinstance(given, Mapping):
        return f'config: {given!r:.80} stands where a dict with a type is expected; write dict(type=...) there'
    kind = frame.f_locals.get('obj_type', given.get('type'))
    if kind is None:
        keys = ', '.join(map(str, given)) or 'no key'
        return f"config: {place or f'a dict with the keys {keys}'} has no 'type'; add type='...', the name of what it sets"
    built = frame.f_locals.get('obj_cls')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
    if built is None:
        return unregistered(name, frame.f_locals['registry'], place)
    return _wrong(error, built, name, frame.f_locals['args'], place)


def unregistered(name: str, registry: Registry, place: str = '') -> str:
    """The sentence for a type that a registry does not have, with the most similar one."""
    known: set[str] = set()
    level: Registry | None = registry
    while level is not None:
        known |= level.module_dict.keys()
        level = level.parent
    near = difflib.get_close_matches(name, known, n=1)
    advice = f'did you mean {near[0]!r}? Else' if near else 'fix the name, or'
    return (
        f"config: {_at(place)}type='{name}' is not registered ({registry.scope}::{registry.name}); {advice} import what defines "
        'it with custom_imports=dict(imports=[...])'
    )


def _wrong(error: Exception, built: Any, name: str, given: Mapping, place: str) -> str:
    """The sentence for a key or value that a type refuses."""
    reason = _words(error)
    known = list(dict.fromkeys(_arguments(built)))
    unknown = [key for key in given if isinstance(key, str) and key not in known]
    if isinstance(error, TypeError) and 'unexpected keyword argument' in reason:
        wrong = next((key for key in unknown if repr(key) in reason), None)
        if wrong is not None:
            return f"config: {_at(place)}type='{name}' {reason.partition('() ')[2]}; {_similar(wrong, known)}"
    if isinstance(error, TypeError) and '__init__() missing' in reason:
        near = f' ({unknown[0]!r} is none of its keys)' if unknown else ''
        return f"config: {_at(place)}type='{name}' {reason.partition('() ')[2]}{near}; add the key"
    shown = ', '.join(f'{key}={_text(value)}' for key, value in given.items() if _is_plain(value))
    shown = shown or ', '.join(f'{key}={_text(value)}' for key, value in given.items())
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'
    return (
        f"config: {_at(place)}type='{name}' cannot be built with {shown or 'these keys'} ({reason}); correct "
        'the values (the environment variable MMSEG_SEMI_TRACEBACK=1 shows where it ends)'
    )


def _words(error: Exception) -> str:
    """An error's text in a sentence; of an assertion without words, the condition that does not hold."""
    text = ' '.join(str(error).split()).rstrip('. ')
    if not text:
        line = traceback.extract_tb(error.__traceback__)[-1].line or ''
        return line.removeprefix('assert ') if line.startswith('assert ') else type(error).__name__
    if isinstance(error, KeyError):
        return f'the key {text} is not known' if len(text.split()) == 1 else text.strip('"\'')
    text = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r'\1', text)
    return text.replace('ConfigDict', 'dict').replace('NoneType', 'None')


def _similar(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1)
    if near:
        return f'did you mean {near[0]!r}?'
    return f'remove it, its keys are {", ".join(known)}' if known else 'remove it'


def _arguments(built: Any) -> Iterator[str]:
    """Names of the arguments of a type and of the types that it hands further ones on to."""
    classes = inspect.getmro(built) if inspect.isclass(built) else (built,)
    for one in classes:
        function = one.__dict__.get('__init__') if inspect.isclass(one) else one
        if function is None or one is object:
            continue
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # of a type that C defines
            return
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        yield from (p.name for p in parameters if p.kind in kinds and p.name != 'self')
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            return


def place_of(node: Any, root: Mapping) -> str:
    """Dotted place of a part of a config; empty if it is not there, or there in several places.

    Example:
        >>> place_of(dict(lr=1), dict(optim_wrapper=dict(optimizer=dict(lr=1))))
        'optim_wrapper.optimizer'
    """
    found = list(_places(node, root, ''))
    return found[0] if len(found) == 1 else ''


def _places(node: Any, root: Any, above: str) -> Iterator[str]:
    items: Iterable = root.items() if isinstance(root, Mapping) else enumerate(root)
    for key, child in items:
        if not isinstance(child, Mapping | list | tuple):
            continue
        place = f'{above}.{key}' if above else str(key)
        if isinstance(child, Mapping) and child == node:
            yield place
        else:
            yield from _places(node, child, place)


def _configs(frame: FrameType) -> Iterator[Mapping]:
    cfg = frame.f_locals.get('cfg')
    if isinstance(cfg, Config):
        yield cfg._cfg_dict


def _at(place: str) -> str:
    return f'{place}: ' if place else ''


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 4 and all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def _text(value: Any) -> str:
    return f'{value!r:.60}'
