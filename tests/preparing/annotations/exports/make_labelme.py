"""Write annotation files of labelme 6.3.1 into the folder of this file, and what labelme itself draws of them.

python -m venv /tmp/lm && /tmp/lm/bin/pip install labelme==6.3.1 && QT_QPA_PLATFORM=offscreen /tmp/lm/bin/python make_labelme.py
"""

import io
import shutil
from pathlib import Path

import numpy as np
from labelme import utils
from labelme._label_file import LabelFile
from PIL import Image

HERE = Path(__file__).parent / 'labelme'
shutil.rmtree(HERE, ignore_errors=True)
(HERE / 'deep').mkdir(parents=True)

PAINTED = np.zeros((4, 6), bool)
PAINTED[1:, :4] = True


def shape(label, kind, *points, group=None, **more):
    entry = dict(label=label, points=[list(p) for p in points], group_id=group, shape_type=kind)
    return {**entry, 'description': '', 'flags': {}, 'mask': None, **more}


def save(name, image, shapes, path, data=None):
    width, height = image.size
    LabelFile().save(str(HERE / name), shapes, path, height, width, image_data=data)


image = Image.fromarray(np.full((32, 40, 3), 90, np.uint8))
image.save(HERE / 'all.png')
shapes = [
    shape('leaf', 'polygon', (1, 1), (9, 1), (9, 7), (1, 7), group=1),
    shape('stone', 'rectangle', (16, 8), (6, 4)),  # drawn from its lower right corner
    shape('leaf', 'circle', (30, 8), (30, 14)),
    shape('moss', 'oriented_rectangle', (10, 20), (14, 16), (18, 20), (14, 24)),
    shape('stone', 'mask', (22, 20), (27, 23), mask=utils.img_arr_to_b64(PAINTED.astype(np.uint8))),
    shape('__ignore__', 'rectangle', (32, 24), (40, 32)),
    shape('leaf', 'line', (2, 28), (8, 28)),
    shape('leaf', 'linestrip', (2, 12), (8, 12), (8, 16)),
    shape('leaf', 'point', (3, 25)),
    shape('leaf', 'points', (4, 25), (5, 25)),
]
save('all.json', image, shapes, 'all.png')
drawable = [dict(s, mask=PAINTED if s['shape_type'] == 'mask' else None) for s in shapes]
drawable = [s for s in drawable if 'line' not in s['shape_type'] and 'point' not in s['shape_type']]
values = {'leaf': 1, 'moss': 2, 'stone': 3, '__ignore__': 255}
drawn, _ = utils.shapes_to_label((32, 40), drawable, values)
Image.fromarray(drawn.astype(np.uint8)).save(HERE.parent / 'labelme_drawn.png')

# labelme shows images turned by their EXIF orientation, and writes that size
exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(np.full((12, 20, 3), 90, np.uint8)).save(HERE / 'deep/turned.jpg', exif=exif)
shown = Image.open(io.BytesIO(LabelFile.load_image_file(str(HERE / 'deep/turned.jpg'))))
save('deep/turned.json', shown, [shape('moss', 'rectangle', (0, 0), (4, 10))], 'turned.jpg')

image = Image.fromarray(np.full((6, 8, 3), 30, np.uint8))
content = io.BytesIO()
image.save(content, 'PNG')
save(
    'inside.json',
    image,
    [shape('stone', 'rectangle', (0, 0), (2, 2))],
    '..\\photos\\inside.png',
    content.getvalue(),
)

image.save(HERE / 'empty.png')
save('empty.json', image, [], 'empty.png')
image.save(HERE / 'untouched.png')
