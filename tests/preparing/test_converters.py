"""The command lines of all converters: tools/dataset_converters and the commands of docs/data.md."""

import importlib
import importlib.abc
import runpy
import shlex
import sys

import pytest
from miniatures import ROOT, load_tool

from mmseg_semi.errors import SetupError

TOOLS = sorted(path.stem for path in (ROOT / 'tools/dataset_converters').glob('*.py'))
CONVERTERS = 'mmseg_semi.preparing.converters'


def call(tool: str, *args: str) -> int:
    """Exit status of a tool that runs in this process."""
    path = f'{ROOT}/tools/dataset_converters/{tool}.py'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [path, *args])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(path, run_name='__main__')
    return end.value.code


@pytest.mark.parametrize('tool', TOOLS)
def test_help(tool, capsys):
    assert call(tool, '--help') == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f'usage: {tool}.py [-h]')
    assert f'mmseg-semi convert-{tool.replace("_", "-")}' in printed and '--workers' in printed


@pytest.mark.parametrize('tool', TOOLS)
def test_a_stack_that_does_not_fit_is_one_sentence(tool, capsys, monkeypatch):
    class Refuse(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == f'{CONVERTERS}.{tool}':
                raise SetupError('two distributions are installed; remove one')

    monkeypatch.delitem(sys.modules, f'{CONVERTERS}.{tool}', raising=False)
    monkeypatch.setattr(sys, 'meta_path', [Refuse(), *sys.meta_path])
    assert call(tool) == 2
    assert capsys.readouterr().err == 'error: two distributions are installed; remove one\n'


def test_commands_of_the_documentation():
    commands = [
        shlex.split(line, comments=True)[1:]
        for line in (ROOT / 'docs/data.md').read_text().splitlines()
        if line.startswith('python ')
    ]
    assert len(commands) >= 10
    for script, *args in commands:
        name = script.removeprefix('tools/').removesuffix('.py')
        if name.startswith('dataset_converters/'):
            module = importlib.import_module(f'{CONVERTERS}.{name.rpartition("/")[2]}')
        else:
            module = load_tool(name)
        module.parse_args(args)
