"""The rooms of the package import one way only; read from the source, nothing is imported here."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import mmseg_semi
from mmseg_semi._moved import MOVED

PACKAGE = Path(mmseg_semi.__file__).parent
ROOT = PACKAGE.name

FOUNDATION = 'foundation'
"""The modules beside the rooms: errors, files, labels and the like."""

LEVELS = (
    (FOUNDATION,),
    ('data',),
    ('heads', 'backbones'),
    ('step',),
    ('methods',),
    ('runtime',),
    ('preparing',),
    ('cli',),
)
"""From the lowest to the highest: a room imports from its own level and from those before it."""

LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
ROOMS = [room for rooms in LEVELS for room in rooms]


class Import(NamedTuple):
    """One imported module, with the name that is taken from it."""

    place: str
    module: str
    name: str | None


def source_files() -> dict[str, Path]:
    """Name of every module of the package -> its file."""
    files = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
        files['.'.join(parts).removesuffix('.__init__')] = path
    return files


FILES = source_files()


def imports_of(module: str) -> Iterator[Import]:
    """Imports from the package at any place of a module, also inside functions."""
    path = FILES[module]
    package = module if path.name == '__init__.py' else module.rpartition('.')[0]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        place = f'{path.relative_to(PACKAGE.parent)}:{getattr(node, "lineno", 0)}'
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition('.')[0] == ROOT:
                    yield Import(place, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ''
            if node.level:
                above = package.split('.')[: len(package.split('.')) - node.level + 1]
                source = '.'.join([*above, source]).rstrip('.')
            if source.partition('.')[0] != ROOT:
                continue
            for alias in node.names:
                inner = f'{source}.{alias.name}'
                old = inner.partition('.')[2] in MOVED and inner not in FILES
                if inner in FILES or old:
                    yield Import(place, inner, None)
                else:
                    yield Import(place, source, alias.name)


IMPORTS = {module: list(imports_of(module)) for module in FILES}


def room_of(module: str) -> str | None:
    """Room of a module; None for the package itself, which imports all of them."""
    parts = module.split('.')[1:]
    if not parts:
        return None
    if 'benchmarks' in parts or parts == [
        '__main__'
    ]:  # commands that belong to a method; the command itself
        return 'cli'
    return parts[0] if (PACKAGE / parts[0]).is_dir() else FOUNDATION


def method_of(module: str) -> str | None:
    """Method of a module in the room of methods; None for all others."""
    parts = module.split('.')[1:]
    return parts[1] if parts[:1] == ['methods'] and len(parts) > 1 else None


def exported(module: str) -> set[str]:
    """Names in ``__all__`` of a module; public functions and classes of one without it."""
    body = ast.parse(FILES[module].read_text(encoding='utf-8')).body
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '__all__':
            return set(ast.literal_eval(node.value))
    return {
        node.name
        for node in body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith('_')
    }


def test_every_folder_has_a_level():
    folders = {path.name for path in PACKAGE.iterdir() if list(path.glob('**/*.py'))}
    assert folders <= set(ROOMS)


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_nothing_above_it(room):
    wrong = [
        f'{found.place}: {room} imports {found.module}'
        for module, imports in IMPORTS.items()
        if room_of(module) == room
        for found in imports
        if LEVEL[room_of(found.module) or FOUNDATION] > LEVEL[room]
    ]
    assert not wrong, '\n'.join(wrong)


def test_a_method_takes_from_another_only_what_that_exports():
    wrong = [
        f'{found.place}: {found.module} ({found.name or "the module"})'
        for module, imports in IMPORTS.items()
        for found in imports
        if (method := method_of(module)) and room_of(module) == 'methods'
        if (other := method_of(found.module)) not in (None, method)
        if found.module != f'{ROOT}.methods.{other}' or found.name not in exported(found.module)
    ]
    assert not wrong, '\n'.join(wrong)


def names_that_left() -> dict[tuple[str, str], str]:
    """(package, name) -> where the name stands now, of packages that stay; see ``moved_names``."""
    found = {}
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'moved_names':
                package = '.'.join(path.relative_to(PACKAGE.parent).parent.parts)
                names = ast.literal_eval(node.args[1])
                found |= {(package, name): new for name, new in names.items()}
    return found


def test_the_package_does_not_use_its_own_old_paths():
    left = names_that_left()
    wrong = [
        f'{found.place}: {found.module} {found.name or ""}'
        for imports in IMPORTS.values()
        for found in imports
        if (found.module.partition('.')[2] in MOVED and found.module not in FILES)
        or (found.module, found.name) in left
    ]
    assert not wrong, '\n'.join(wrong)


def test_every_import_finds_its_module():
    wrong = [
        f'{found.place}: {found.module}'
        for imports in IMPORTS.values()
        for found in imports
        if found.module not in FILES
    ]
    assert not wrong, '\n'.join(wrong)


def test_training_reaches_neither_preparation_nor_commands():
    reached: dict[str, str] = {}  # module -> place of the import that reached it first
    waiting = [(ROOT, 'import mmseg_semi')]
    while waiting:
        module, place = waiting.pop()
        if module in reached or module not in FILES:
            continue
        reached[module] = place
        waiting += [(found.module, found.place) for found in IMPORTS[module]]
        waiting.append((module.rpartition('.')[0], place))  # the packages around it
    wrong = [
        f'{module}, by {place}'
        for module, place in reached.items()
        if room_of(module) in ('preparing', 'cli')
    ]
    assert not wrong, '\n'.join(wrong)
    assert {f'{ROOT}.methods.mllc.objective', f'{ROOT}.data.semi_dataset'} <= set(reached)
