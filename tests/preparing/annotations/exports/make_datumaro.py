"""Write exports of datumaro 1.13.12 into the folder of this file.

python -m venv /tmp/dm && /tmp/dm/bin/pip install datumaro==1.13.12 && /tmp/dm/bin/python make_datumaro.py
"""

import shutil
from pathlib import Path

import datumaro as dm
import numpy as np
from datumaro.components.annotation import (
    AnnotationType,
    Bbox,
    Ellipse,
    Label,
    LabelCategories,
    Mask,
    MaskCategories,
    Points,
    Polygon,
    PolyLine,
)
from datumaro.components.media import Image

HERE = Path(__file__).parent
LABELS = LabelCategories.from_iterable(['leaf', 'stone'])
COLOURS = MaskCategories({0: (0, 128, 0), 1: (128, 128, 128)})


def item(name, subset, annotations):
    pixels = np.full((24, 32, 3), 90, np.uint8)
    media = Image.from_numpy(pixels, ext='.png')
    return dm.DatasetItem(id=name, subset=subset, media=media, annotations=annotations)


def items():
    mask = np.zeros((24, 32), np.uint8)
    mask[4:10, 6:20] = 1
    mask[6:8, 9:12] = 0
    return [
        item(
            'a',
            'train',
            [
                Polygon([2, 2, 14, 2, 14, 12, 2, 12], label=0, z_order=1),
                Bbox(8, 6, 16, 10, label=1, z_order=0),
                PolyLine([0, 4, 8, 4], label=1),
                Points([1, 1], label=0),
                Label(1),
            ],
        ),
        item('b', 'train', [Mask(mask, label=1)]),
        item('c', 'val', [Ellipse(4, 4, 24, 16, label=0)]),
        item('d', 'val', []),
    ]


def export(name, form, transform=None):
    categories = {AnnotationType.label: LABELS, AnnotationType.mask: COLOURS}
    data = dm.Dataset.from_iterable(items(), categories=categories)
    if transform:
        data.transform(transform)
    shutil.rmtree(HERE / name, ignore_errors=True)
    data.export(str(HERE / name), form, save_media=True, image_ext='.png')


export('datumaro', 'datumaro')
export('datumaro_cvat', 'cvat')
export('datumaro_yolo', 'yolo_ultralytics')
export('datumaro_voc_masks', 'voc_segmentation', transform='polygons_to_masks')
