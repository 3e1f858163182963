"""Walking through a user's folders: what is a file, and what would never end."""

import os
from pathlib import Path

import pytest

from mmseg_semi.data.folders import walk_files
from mmseg_semi.errors import SetupError


def names(folder: Path, **options) -> list[str]:
    return [os.path.relpath(path, folder) for path in walk_files(folder, **options)]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ('b.png', 'a.png', 'day 1/c.png', '.hidden.png', '.cache/d.png', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_files_come_sorted_those_of_a_folder_first(folder):
    assert names(folder) == ['a.png', 'b.png', 'notes.txt', 'day 1/c.png']


def test_links_are_followed_and_may_meet(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    (other / 'e.png').touch()
    for name in ('one', 'two'):  # two ways to one folder are no circle
        (folder / name).symlink_to(other, target_is_directory=True)
    assert names(folder)[-2:] == ['one/e.png', 'two/e.png']


@pytest.mark.parametrize('target', ['.', '..'])
def test_a_link_to_a_folder_above_is_named(folder, target):
    (folder / 'day 1/again').symlink_to(target, target_is_directory=True)
    with pytest.raises(
        SetupError, match=r'day 1/again is a link to .*a folder above it.*remove the link'
    ):
        names(folder)


def test_what_is_no_file_counts_where_it_is_wanted(folder):
    os.mkfifo(folder / 'pipe.png')
    (folder / 'gone.txt').symlink_to('/nowhere/gone.txt')
    with pytest.raises(SetupError, match='pipe.png is a pipe, expected a file'):
        names(folder, wanted=lambda name: name.endswith('.png'))
    with pytest.raises(
        SetupError, match=r'gone.txt is a link to /nowhere/gone.txt, which does not'
    ):
        names(folder, wanted=lambda name: name.endswith('.txt'))
    assert 'gone.txt' in names(folder, wanted=lambda name: False)
    (folder / 'pipe.png').unlink()
    assert 'gone.txt' in names(folder, links_may_hang=True)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SetupError, match='nowhere cannot be read'):
        names(tmp_path / 'nowhere')
