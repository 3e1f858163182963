"""Images and masks that converters write."""

import os

import numpy as np
import pytest
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import image_files


def test_an_interrupted_write_leaves_no_file(tmp_path, monkeypatch):
    target = tmp_path / 'folder/file'

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        image_files.write_labels(np.zeros((2, 2)), target)
    assert list(target.parent.iterdir()) == []


def test_placing_links_or_copies(tmp_path, monkeypatch):
    source = tmp_path / 'source'
    source.write_bytes(b'content')
    image_files.place(source, tmp_path / 'linked')
    assert (tmp_path / 'linked').samefile(source)

    def refuse(*args):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', refuse)
    image_files.place(source, tmp_path / 'copied')
    assert (tmp_path / 'copied').read_bytes() == b'content'
    assert not (tmp_path / 'copied').samefile(source)


def test_labels_are_written_as_indices(tmp_path):
    labels = np.array([[0, 20, 255], [3, 4, 5]])
    image_files.check_classes(labels, 21, 'x')
    image_files.write_labels(labels, tmp_path / 'x.png')
    image = Image.open(tmp_path / 'x.png')
    assert image.mode == 'L' and np.array_equal(np.array(image), labels)
    with pytest.raises(SetupError, match='x holds the value 20, expected 0 to 19, or 255'):
        image_files.check_classes(labels, 20, 'x')
    with pytest.raises(SetupError, match='x is in colour'):
        image_files.check_classes(np.zeros((2, 2, 3)), 20, 'x')
