"""Write COCO and VOC exports of datumaro 1.13.12 into the folder of this file.

python -m venv /tmp/dm && /tmp/dm/bin/pip install datumaro==1.13.12 && /tmp/dm/bin/python make_coco_voc.py
"""

import shutil
from pathlib import Path

import datumaro as dm
import numpy as np
from datumaro.components.annotation import Mask, Polygon
from datumaro.components.media import Image

HERE = Path(__file__).parent


def items():
    painted = np.zeros((12, 16), np.uint8)
    painted[1:5, 3:9] = 1
    annotations = {
        'overlap': [
            Polygon([2, 2, 10, 2, 10, 8, 2, 8], label=0, id=1, group=1, z_order=0),
            Polygon([6, 4, 12, 4, 12, 10, 6, 10], label=1, id=2, group=2, z_order=1),
        ],
        'painted': [Mask(painted, label=1, id=3, group=3)],
        'nothing': [],
    }
    for value, (name, regions) in enumerate(annotations.items()):
        image = Image.from_numpy(data=np.full((12, 16, 3), 60 * value + 60, np.uint8), ext='.png')
        yield dm.DatasetItem(id=name, subset='train', media=image, annotations=regions)


def export(folder, kind, polygons_to_masks=False):
    dataset = dm.Dataset.from_iterable(list(items()), categories=['leaf', 'stone'])
    if polygons_to_masks:
        dataset.transform('polygons_to_masks')
    shutil.rmtree(HERE / folder, ignore_errors=True)
    dataset.export(str(HERE / folder), kind, save_media=True)
    shutil.rmtree(HERE / folder / 'SegmentationObject', ignore_errors=True)


export('datumaro_coco', 'coco_instances')
export('datumaro_coco_masks', 'coco_instances', polygons_to_masks=True)
export('datumaro_voc_dropped', 'voc_segmentation')
export('datumaro_voc_whole', 'voc_segmentation', polygons_to_masks=True)
