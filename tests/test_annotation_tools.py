"""``docs/annotation_tools.md``: what its ``init`` makes of small exports of the tools; tests/pages runs the whole page."""

import re
import shlex
import sys

import pytest
import yaml
from four_commands import to_overlays
from published import write_exports
from whole_runs import ROOT

from mmseg_semi import cli

PAGE = ROOT / 'docs/annotation_tools.md'


def commands() -> list[list[str]]:
    blocks = re.findall(r'^```bash\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith('mmseg-semi init')]


@pytest.fixture
def exports(tmp_path, monkeypatch):
    """A folder with an export of each name on the page."""
    write_exports(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmseg-semi'])
    return tmp_path


def test_every_init_of_the_page(exports):
    found = commands()
    assert len(found) >= 5
    for _, *arguments in found:
        assert cli.main(arguments) == 0
        folder = exports / arguments[arguments.index('--out') + 1]
        content = yaml.safe_load((folder / 'data.yaml').read_text())
        assert len(content['classes']) > 1 and any((folder / 'masks/train').iterdir())
        assert (folder / 'config.py').is_file() and (folder / 'supervised.py').is_file()


@pytest.mark.parametrize('arguments', commands(), ids=lambda arguments: arguments[-1])
def test_four_commands_from_the_export_of_each_tool_to_overlays(exports, arguments):
    _, *arguments = arguments
    if '--unlabeled' not in arguments:  # these exports have no image without annotation
        arguments = [*arguments, '--unlabeled', 'more_photos']
    # as blank as an annotated one: check finds it
    for name in ('empty.json', 'empty.png', 'untouched.png'):
        (exports / 'labelme_folder' / name).unlink()
    assert cli.main(arguments) == 0
    photos = exports / 'photos'
    overlays = to_overlays(exports / arguments[arguments.index('--out') + 1], photos)
    assert len(overlays) == len([*photos.rglob('*.png')])
