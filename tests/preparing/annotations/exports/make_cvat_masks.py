"""Write masks as CVAT's 'Segmentation mask 1.1' does: it gives its labels and colours to datumaro's VOC writer (here 1.13.12).

python -m venv /tmp/dm && /tmp/dm/bin/pip install datumaro==1.13.12 && /tmp/dm/bin/python make_cvat_masks.py
"""

import shutil
from pathlib import Path

import datumaro as dm
import numpy as np
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories, Polygon
from datumaro.components.media import Image

HERE = Path(__file__).parent
COLOURS = dict(background=(0, 0, 0), water=(0x33, 0xDD, 0xFF), reed=(0x24, 0xB3, 0x53))


def item(name, annotations):
    media = Image.from_numpy(np.full((30, 40, 3), 90, np.uint8), ext='.png')
    return dm.DatasetItem(id=name, media=media, annotations=annotations)


items = [
    item(
        'day 1/a',
        [
            Polygon([4, 4, 20, 4, 20, 16, 4, 16], label=0, z_order=1),
            Bbox(2, 2, 28, 6, label=1, z_order=0),
        ],
    ),
    item('day 1/b', []),
]
labels = LabelCategories.from_iterable(['water', 'reed'])
data = dm.Dataset.from_iterable(items, categories={AnnotationType.label: labels})
for step in ('polygons_to_masks', 'boxes_to_masks', 'merge_instance_segments'):
    data.transform(step)
shutil.rmtree(HERE / 'cvat_masks', ignore_errors=True)
data.export(
    str(HERE / 'cvat_masks'),
    'voc_segmentation',
    save_media=True,
    image_ext='.png',
    apply_colormap=True,
    label_map={name: [colour, [], []] for name, colour in COLOURS.items()},
)
