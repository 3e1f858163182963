"""Every file in tools/ starts and calls the package, and the installed command finds them all."""

import importlib
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

from mmseg_semi import cli
from mmseg_semi.cli.common import CHECKOUT, TRAIN
from mmseg_semi.errors import SetupError

FILES = sorted(
    path
    for folder in ('', 'analysis', 'dataset_converters', 'model_converters')
    for path in (CHECKOUT / 'tools' / folder).glob('*.py')
)


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT / 'tools').with_suffix('').as_posix()


def module_of(path: Path) -> str:
    return re.search(r'from (mmseg_semi\.[\w.]+) import main', path.read_text())[1]


def start(path: Path, *arguments: str, monkeypatch) -> int | str | None:
    """The exit status of a script, in this process."""
    monkeypatch.setattr(sys, 'argv', [str(path), *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name='__main__')
    return end.value.code


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_every_file_starts(path, monkeypatch, capsys):
    assert not start(path, '--help', monkeypatch=monkeypatch)
    assert capsys.readouterr().out.startswith(f'usage: {path.name} ')
    assert len(path.read_text().splitlines()) <= 20


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_a_wrong_stack_is_one_sentence(path, monkeypatch, capsys):
    class Refuse:
        def find_spec(self, name, *_):
            if name == module:
                raise SetupError('two distributions are installed; remove one')

    module = module_of(path)
    # no traceback of the import: the package's own check raises in the same place
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, 'meta_path', [Refuse(), *sys.meta_path])
    status = start(path, '--help', monkeypatch=monkeypatch)
    said = capsys.readouterr().err if status == 2 else status
    assert said.strip() == 'error: two distributions are installed; remove one'


def test_every_file_is_a_command(capsys):
    modules = {module for module, _ in cli.COMMANDS.values()}
    assert {f'mmseg_semi.{module}' for module in modules} == set(map(module_of, FILES))
    assert cli.main(['--help']) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (module, line) in cli.COMMANDS.items():
        assert any(name in shown and line in shown for shown in lines)
        assert callable(importlib.import_module(f'mmseg_semi.{module}').main)


@pytest.mark.parametrize('name', ['train', 'export-onnx', 'export_onnx', 'compare'])
def test_a_command_has_the_options_of_its_file(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmseg-semi'])
    with pytest.raises(SystemExit) as end:
        cli.main([name, '--help'])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: mmseg-semi {name.replace("_", "-")} ')


def test_mistakes(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmseg-semi'])
    assert cli.main(['tarin']) == 2
    assert "error: 'tarin' is no command" in capsys.readouterr().err
    assert cli.main([]) == 2
    with pytest.raises(SystemExit) as end:
        cli.main(['train', 'gone.py'])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: config 'gone.py' does not exist")


def test_it_is_installed_as_mmseg_semi(monkeypatch, capsys):
    project = tomllib.loads((CHECKOUT / 'pyproject.toml').read_text())['project']
    assert project['scripts'] == {'mmseg-semi': 'mmseg_semi.cli:main'}
    # compare, crash-test and quickstart start the same command as a module
    assert TRAIN[1:] == ('-m', 'mmseg_semi.cli', 'train')
    monkeypatch.setattr(sys, 'argv', ['', 'train', 'gone.py'])
    with pytest.raises(SystemExit) as end:
        runpy.run_module('mmseg_semi.cli', run_name='__main__')
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: config 'gone.py' does not exist")
