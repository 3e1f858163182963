"""The commands in the Bash blocks of the documents, as Bash itself expands them: loops, braces, variables and comments."""

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / 'README.md',
        ROOT / 'CONTRIBUTING.md',
        *sorted((ROOT / 'docs').glob('*.md')),
        *sorted((ROOT / 'mmseg_semi').rglob('README.md')),
        *sorted((ROOT / 'projects').glob('*/README.md')),
    )
]
BLOCK = re.compile(r'^```bash\n(.*?)^```', re.MULTILINE | re.DOTALL)

# Bash has no path, so that every program is told: what is exported for it, its words. Functions save the process that Bash
# starts for a program it does not find.
PRELUDE = r"""
tell() { export -p; printf '\0%s' "$@"; printf '\0\1'; }
command_not_found_handle() { tell "$@"; }
"""
FREQUENT = ('python', 'mmseg-semi', 'pip', 'git', 'make', 'cd', 'source')
EXPORTED = re.compile(r'^declare -x (?!PATH|HOME|PWD|OLDPWD|SHLVL|_)(\w+)="(.*)"$', re.MULTILINE)


class Command(NamedTuple):
    """A command of a page.

    Attributes:
        words: Program and arguments.
        environment: NAME=VALUE before it.
        block: Number of its block on the page, from 0.
    """

    words: tuple[str, ...]
    environment: tuple[str, ...] = ()
    block: int = 0

    def __str__(self) -> str:
        return ' '.join((*self.environment, *self.words))


def expand(text: str) -> list[Command]:
    """The commands of the Bash blocks in a text, in their order; a home folder is left as ``~``."""
    scripts = [str(path.relative_to(ROOT)) for path in (ROOT / 'tools').rglob('*.sh')]
    functions = ''.join(
        f'{name}() {{ tell {name} "$@"; }}\n' for name in (*FREQUENT, *scripts, 'next')
    )
    done = subprocess.run(
        [shutil.which('bash'), '-c', PRELUDE + functions + '\nnext\n'.join(BLOCK.findall(text))],
        cwd=ROOT,
        env=dict(PATH='/nowhere', HOME='~'),
        capture_output=True,
        text=True,
    )
    assert not done.stderr, done.stderr
    found, block = [], 0
    for told in done.stdout.split('\0\1')[:-1]:
        exported, *words = told.split('\0')
        environment = [f'{name}={value}' for name, value in EXPORTED.findall(exported)]
        if words == ['next']:
            block += 1
        else:
            found.append(Command(tuple(words), tuple(environment), block))
    return found


@functools.cache
def commands_of(page: str) -> list[Command]:
    """:func:`expand` of one of PAGES."""
    return expand((ROOT / page).read_text(encoding='utf-8'))
