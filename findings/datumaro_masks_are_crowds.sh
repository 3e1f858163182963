#!/usr/bin/env bash
# datumaro writes every painted mask into COCO files with iscrowd 1, and every polygon with iscrowd 0. COCO uses iscrowd for coarse
# outlines of many objects, which evaluation ignores. So a data set whose objects were painted with a brush, exported as COCO and given
# to COCOeval, has no object to find: predictions that equal the annotations get an average precision of -1, "nothing to evaluate",
# while the same objects as polygons get 1. A converter that ignores crowds, as COCO means them, ignores all painted annotations.
#
# It matters for semantic segmentation, too: a reader must decide what iscrowd means in the file at hand. mmseg-semi init takes it for
# a crowd only where it is rare.
#
# Seen with datumaro 1.13.12 and pycocotools 2.0.11, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datumaro==1.13.12 pycocotools==2.0.11 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import contextlib
import io
import json
import sys

import datumaro as dm
import numpy as np
from datumaro.components.annotation import Mask, Polygon
from datumaro.components.media import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

mask = np.zeros((100, 100), np.uint8)
mask[20:70, 10:80] = 1
shapes = dict(
    polygon=Polygon([10, 20, 80, 20, 80, 70, 10, 70], label=0, id=1, group=1),
    mask=Mask(mask, label=0, id=1, group=1),
)
for name, shape in shapes.items():
    image = Image.from_numpy(data=np.zeros((100, 100, 3), np.uint8), ext='.png')
    item = dm.DatasetItem(id='a', subset='train', media=image, annotations=[shape])
    dm.Dataset.from_iterable([item], categories=['leaf']).export(f'{sys.argv[1]}/{name}', 'coco_instances')
    path = f'{sys.argv[1]}/{name}/annotations/instances_train.json'
    with open(path) as file:
        (found,) = json.load(file)['annotations']
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        perfect = truth.loadRes([dict(
            image_id=found['image_id'], category_id=found['category_id'], score=1.0, segmentation=truth.annToRLE(found),
        )])
        evaluation = COCOeval(truth, perfect, 'segm')
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    print(f'RESULT {name}: {int(found["area"])} pixels, iscrowd {found["iscrowd"]}, AP of a perfect prediction {evaluation.stats[0]:.1f}')
PY
"$folder/venv/bin/python" "$folder/run.py" "$folder" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT polygon: 3500 pixels, iscrowd 0, AP of a perfect prediction 1.0
RESULT mask: 3500 pixels, iscrowd 1, AP of a perfect prediction -1.0
TXT
echo 'as described'
