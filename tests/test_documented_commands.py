"""Every command of the documents parses: it exists, its options are known, the configs that it names are there.

Beyond that, every command is run: tests/pages/test_pages.py has the pages and a table of what is not run, with the reasons.
"""

import contextlib
import functools
import importlib
import io
import re

import pytest
from documented import PAGES, ROOT, Command, commands_of, expand

from mmseg_semi.cli import COMMANDS

PLACEHOLDERS = {'--help'}


def commands(found: list[Command]) -> list[list[str]]:
    """Words of each command of ours; a script of tools/ begins with ``python``."""
    ours = []
    for command in found:
        words = list(command.words)
        start = next((i for i, word in enumerate(words) if word.startswith('tools/')), None)
        if words[0] == 'mmseg-semi':
            ours.append(words)
        elif words[0] != 'git' and start is not None:
            ours.append(['python', *words[start:]])
    return ours


@functools.cache
def help_of(module: str) -> str:
    """The help of a command with its subcommands."""

    def ask(*arguments: str) -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            importlib.import_module(f'mmseg_semi.{module}').main([*arguments, '--help'])
        return said.getvalue()

    text = ask()
    parts = re.search(r'\{([a-z][\w,-]+)\} \.\.\.', text.partition('\n\n')[0])
    return text + ''.join(map(ask, parts[1].split(','))) if parts else text


def module_of(words: list[str]) -> str | None:
    """Module below mmseg_semi of a command; None for a shell script."""
    if words[0] == 'mmseg-semi':
        if words[1].startswith('-'):
            return None
        assert words[1] in COMMANDS, f'{words[1]} is no command'
        return COMMANDS[words[1]][0]
    path = ROOT / words[1]
    assert path.is_file(), f'{words[1]} does not exist'
    if path.suffix == '.sh':
        return None
    return re.search(r'from mmseg_semi\.([\w.]+) import main', path.read_text())[1]


def problems(words: list[str]) -> list[str]:
    """What is wrong with a command."""
    module = module_of(words)
    text = help_of(module) if module else None
    found = []
    for word in words[2:]:
        option = re.match(r'--[a-z][\w-]*', word)
        if option and text is not None and option[0] not in PLACEHOLDERS:
            known = re.search(rf'{re.escape(option[0])}(?![\w-])', text)
            if not known:
                found.append(f'{" ".join(words[:2])} has no option {option[0]}')
        config = re.fullmatch(r'(?:mmseg_semi::|configs/)([\w/]+\.py)', word)
        if config and not (ROOT / 'configs' / config[1]).is_file() and 'mine' not in word:
            found.append(f'there is no config {word}')
    return found


def test_wrong_commands_are_found():
    text = '```bash\nmmseg-semi train configs/none.py --fast  # x\npython tools/test.py \\\n  --out a\n```\n'
    first, second = commands(expand(text))
    assert problems(first) == [
        'there is no config configs/none.py',
        'mmseg-semi train has no option --fast',
    ]
    assert second == ['python', 'tools/test.py', '--out', 'a'] and not problems(second)
    with pytest.raises(AssertionError, match='trian is no command'):
        problems(['mmseg-semi', 'trian'])


@pytest.mark.parametrize('page', PAGES)
def test_the_commands_of_a_page(page):
    found = [problem for words in commands(commands_of(page)) for problem in problems(words)]
    assert not found, '\n'.join(found)
