"""Write polygons as Cityscapes has them, and the masks that its own scripts draw from them (cityscapesScripts 2.3.0).

python -m venv /tmp/cs && /tmp/cs/bin/pip install cityscapesscripts==2.3.0 && /tmp/cs/bin/python make_cityscapes.py
"""

import json
import shutil
from pathlib import Path

from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image

HERE = Path(__file__).parent
SIZE = 40, 30


def polygon(label, points, **more):
    return dict(label=label, polygon=[list(point) for point in points], **more)


OBJECTS = [
    polygon('sky', [(0, 0), (39, 0), (39, 9), (0, 12)]),
    polygon('road', [(0, 18), (20, 14), (44, 20), (39, 33), (-3, 33)]),
    polygon('ego vehicle', [(0, 26), (39, 26), (39, 29), (0, 29)]),
    polygon('car', [(4, 15), (14, 11), (17, 20), (9, 23), (5, 21)]),
    polygon('license plate', [(8, 19), (11, 19), (11, 20), (8, 20)]),
    polygon('cargroup', [(24, 12), (33, 12), (33, 19), (24, 19)]),
    polygon('person', [(20, 5), (23, 5), (23, 25), (20, 25)], deleted=1),
    polygon('pole', [(30, 4), (30, 28), (31, 28), (31, 4)], deleted=0),
    polygon('static', [(26, 14), (28, 14), (28, 16), (26, 16)]),
]


root = HERE / 'cityscapes'
shutil.rmtree(root, ignore_errors=True)
fine, images = root / 'gtFine/train/bonn', root / 'leftImg8bit/train/bonn'
fine.mkdir(parents=True)
images.mkdir(parents=True)
for number in (0, 1):
    Image.new('RGB', SIZE, (90, 90, 90)).save(images / f'bonn_00000{number}_000019_leftImg8bit.png')
name = 'bonn_000000_000019_gtFine'
text = json.dumps(dict(imgHeight=SIZE[1], imgWidth=SIZE[0], objects=OBJECTS))
(fine / f'{name}_polygons.json').write_text(text)
json2labelImg(
    str(fine / f'{name}_polygons.json'), str(fine / f'{name}_labelTrainIds.png'), 'trainIds'
)
