"""Finding images that exports name, and reading their sizes."""

import numpy as np
import pytest
from PIL import Image

from mmseg_semi.data.decoding.images import decode_image
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.files import ImageFiles, read_header


@pytest.fixture
def folder(tmp_path):
    for name in ('day 1/a.jpg', 'day 2/a.jpg', 'day 2/b.JPG', '.hidden/c.jpg', 'd.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('day 1/a.jpg', 'day 1/a.jpg'),
        (r'C:\Users\me\day 2\a.jpg', 'day 2/a.jpg'),
        ('/home/me/export/day 2/A.JPG', 'day 2/a.jpg'),
        (r'.\b.jpg', 'day 2/b.JPG'),
        ('file:b.jpg', None),
        ('c.jpg', None),
        ('d.txt', 'd.txt'),
        ('e.jpg', None),
    ],
)
def test_names_of_other_machines(folder, name, expected):
    found = ImageFiles([folder / 'gone', folder]).find(name)
    assert (found and found.relative_to(folder).as_posix()) == expected


def test_absolute_names_and_names_of_several_files(folder):
    elsewhere = ImageFiles([folder / 'day 1'])
    assert elsewhere.find(str(folder / 'day 2/b.JPG')) == folder / 'day 2/b.JPG'
    with pytest.raises(
        SetupError, match=r'names the image a.jpg, and both .*day 1.*day 2.* --images'
    ):
        ImageFiles([folder]).find('a.jpg')
    assert ImageFiles([folder / 'day 2', folder]).find('a.jpg') == folder / 'day 2/a.jpg'


def test_images_of_another_folder_than_the_export_says_are_counted(folder):
    files = ImageFiles([folder])
    for name in ('day 2/a.jpg', 'b.jpg', '/elsewhere/b.jpg', r'D:\x\b.jpg', 'photos/day 2/b.jpg'):
        assert files.find(name)
    assert files.by_name == 0
    assert files.find('day 3/b.jpg') and files.by_name == 1


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
def test_sizes_are_those_of_the_decoded_image(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'i{suffix}'
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path, exif=exif)
    header = read_header(path)
    assert header.size == decode_image(path.read_bytes()).shape[1::-1]
    assert header.stored == (6, 4)
    assert header == read_header(path.read_bytes(), 'i')


def test_files_that_are_no_image(tmp_path):
    with pytest.raises(SetupError, match='gone.png does not exist'):
        read_header(tmp_path / 'gone.png')
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(SetupError, match='image .*a.png .*cannot be decoded'):
        read_header(tmp_path / 'a.png')
