"""All readers together: each export has one reader, and no file makes another one stumble."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_exports import EXPORTS
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import READERS, find_reader, read_export, reader

FIXTURES = {
    'cityscapes': 'cityscapes',
    'cityscapes/gtFine/train/bonn/bonn_000000_000019_gtFine_polygons.json': 'cityscapes',
    'cvat': 'cvat',
    'cvat/annotations.xml': 'cvat',
    'cvat_masks': 'voc',
    'datumaro': 'datumaro',
    'datumaro/annotations/val.json': 'datumaro',
    'datumaro_cvat': 'cvat',
    'datumaro_voc_masks': 'voc',
    'datumaro_yolo': 'yolo',
    'datumaro_yolo/data.yaml': 'yolo',
    'label_studio/project.json': 'label_studio',
    'supervisely': 'supervisely',
    'supervisely/meta.json': 'supervisely',
}


@pytest.mark.parametrize('name', FIXTURES)
def test_each_export_has_one_reader(name):
    assert [each for each in READERS if reader(each).matches(EXPORTS / name)] == [FIXTURES[name]]


GARBAGE = {
    'empty.json': b'',
    'broken.json': b'[{"annotations": [{"completed',
    'number.json': b'7',
    'nested.json': b'[' * 5000,
    'latin.json': '{"größe": 1}'.encode('latin-1'),
    'zeros.json': bytes(100),
    'a_polygon.json': b'{}',
    'empty.xml': b'',
    'zeros.xml': bytes(100),
    'voc.xml': b'<annotation><object/></annotation>',
    'broken.yaml': b'names',
    'latin.yaml': 'größe: 1'.encode('latin-1'),
    'meta.json': b'{"classes',
    'notes.txt': b'0 0 0 1 1 1 1',
}


@pytest.mark.parametrize('name', GARBAGE)
@pytest.mark.parametrize('module', READERS)
def test_garbage_is_no_export(tmp_path, name, module):
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / name).write_bytes(GARBAGE[name])
    assert not reader(module).matches(folder / name)
    assert not reader(module).matches(folder)


def test_an_archive_is_to_be_unpacked(tmp_path):
    archive = shutil.make_archive(str(tmp_path / 'export'), 'zip', EXPORTS / 'cvat')
    for form in (None, 'cvat'):
        with pytest.raises(SetupError, match='export.zip is an archive; unpack it'):
            read_export(Path(archive), None, form)
    with pytest.raises(SetupError, match='export.zip is an archive'):
        find_reader(Path(archive))


def test_masks_as_cvat_exports_them():
    """CVAT's 'Segmentation mask 1.1': the background may stand anywhere in labelmap.txt, and default.txt is no part."""
    export = read_export(EXPORTS / 'cvat_masks')
    assert export.classes == ['reed', 'water'] and export.unmarked_class == 'background'
    assert export.mask_values == dict(background='#000000', water='#33ddff', reed='#24b353')
    found = {image.name: (image.annotated, image.part) for image in export.images}
    assert found == {'day 1/a.png': (True, None), 'day 1/b.png': (False, None)}
    mask = next(image.mask for image in export.images if image.annotated)
    colours = np.unique(np.asarray(Image.open(mask).convert('RGB')).reshape(-1, 3), axis=0)
    assert {'#{:02x}{:02x}{:02x}'.format(*row) for row in colours.tolist()} == set(
        export.mask_values.values()
    )
