"""Write a project of Supervisely and the masks that its SDK draws (supervisely 6.74.51).

python -m venv /tmp/sly && /tmp/sly/bin/pip install supervisely==6.74.51 && /tmp/sly/bin/python make_supervisely.py
"""

import shutil
from pathlib import Path

import numpy as np
import supervisely as sly
from PIL import Image

HERE = Path(__file__).parent
SIZE = 24, 32  # height, width
root = HERE / 'supervisely'
shutil.rmtree(root, ignore_errors=True)

leaf = sly.ObjClass('leaf', sly.AnyGeometry, color=[0, 128, 0])
stone = sly.ObjClass('stone', sly.AnyGeometry, color=[128, 128, 128])
wire = sly.ObjClass('wire', sly.Polyline, color=[0, 0, 255])
meta = sly.ProjectMeta(obj_classes=[leaf, stone, wire])
project = sly.Project(str(root), sly.OpenMode.CREATE)
project.set_meta(meta)


def ring(*points):
    return [sly.PointLocation(row, col) for col, row in points]


def image(path, value):
    Image.fromarray(np.full((*SIZE, 3), value, np.uint8)).save(path)


def bitmap():
    rows, columns = np.mgrid[:7, :9]
    return sly.Bitmap((rows + columns) % 3 > 0, origin=sly.PointLocation(14, 20))


holes = [ring((6, 6), (11, 6), (11, 10), (6, 10))]
labels = [
    sly.Label(sly.Polygon(ring((2, 2), (16, 3), (14, 15), (3, 13)), holes), leaf),
    sly.Label(sly.Rectangle(top=8, left=12, bottom=12, right=22), stone),
    sly.Label(bitmap(), leaf),
    sly.Label(sly.Polyline(ring((0, 20), (10, 20))), wire),
    sly.Label(sly.Point(1, 1), leaf),
]
drawn = {'a.png': labels, 'c.png': []}
for folder, names in dict(train=['a.png', 'b.png'], val=['c.png']).items():
    data = project.create_dataset(folder)
    for name in names:
        image(root / name, 60 + ord(name[0]))
        note = sly.Annotation(SIZE, labels=drawn.get(name, []))
        data.add_item_file(name, str(root / name), ann=note)
        (root / name).unlink()
# an image without a file of annotations
(root / 'train/ann/b.png.json').unlink()

mask = np.zeros(SIZE, np.uint8)
for label in labels[:3]:
    label.geometry.draw(mask, 1 + [leaf, stone].index(label.obj_class))
Image.fromarray(mask).save(HERE / 'supervisely_a.png')
