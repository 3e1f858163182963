#!/usr/bin/env bash
# datumaro: exporters leave out shapes without a word at any log level. An image whose only shape is a polygon has no mask in
# voc_segmentation and stands in none of its lists, unless the transform polygons_to_masks is applied before. In yolo_ultralytics it has
# an empty text file, which means to Ultralytics that nothing is on the image: the exporter writes boxes alone, though the format has
# polygons. CVAT's XML, which has ellipses, comes without them.
#
# mmseg_semi/preparing/annotations reads these exports: voc.py counts images without a mask, and yolo.py refuses boxes.
#
# Seen with datumaro 1.13.12, numpy 2.4.6, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datumaro==1.13.12 numpy==2.4.6 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import logging
import sys
import warnings
from pathlib import Path

import datumaro as dm
import numpy as np
from datumaro.components.annotation import AnnotationType, Bbox, Ellipse, LabelCategories, Mask, Polygon
from datumaro.components.media import Image

root = Path(sys.argv[1])
messages = []


class Keep(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())


logging.getLogger().addHandler(Keep())
logging.getLogger().setLevel(logging.DEBUG)
warnings.showwarning = lambda message, *rest: messages.append(str(message))
mask = np.zeros((24, 32), np.uint8)
mask[4:10, 6:20] = 1
shapes = dict(
    polygon=Polygon([2, 2, 14, 2, 14, 12], label=0),
    ellipse=Ellipse(4, 4, 24, 16, label=0),
    mask=Mask(mask, label=0),
    box=Bbox(8, 6, 16, 10, label=0),
)


def export(form, transform=None):
    items = [
        dm.DatasetItem(name, subset='train', media=Image.from_numpy(np.zeros((24, 32, 3), np.uint8)), annotations=[shape])
        for name, shape in shapes.items()
    ]
    pixels = np.zeros((24, 32, 3), np.uint8)  # YOLO's exporter needs two subsets
    items.append(dm.DatasetItem('other', subset='val', media=Image.from_numpy(pixels)))
    labels = {AnnotationType.label: LabelCategories.from_iterable(['leaf'])}
    data = dm.Dataset.from_iterable(items, categories=labels)
    if transform:
        data.transform(transform)
    messages.clear()
    folder = root / f'{form}_{transform}'
    data.export(str(folder), form, save_media=True)
    said = [text for text in messages if 'Converting item' not in text and any(word in text.lower() for word in ('skip', *shapes))]
    print(f'RESULT {form}, transform {transform}: {len(said)} messages about shapes')
    return folder


for transform in (None, 'polygons_to_masks'):
    folder = export('voc_segmentation', transform)
    masks = sorted(path.stem for path in (folder / 'SegmentationClass').glob('*.png'))
    listed = sorted((folder / 'ImageSets/Segmentation/train.txt').read_text().split())
    print(f'RESULT   masks of {", ".join(masks)}; listed: {", ".join(listed)}')
folder = export('yolo_ultralytics')
for path in sorted(folder.glob('labels/train/*.txt')):
    print(f'RESULT   {path.name}: {path.read_text().strip() or "empty"}')
text = (export('cvat') / 'train.xml').read_text()
print(f'RESULT   ellipses in the XML: {text.count("<ellipse")}, polygons: {text.count("<polygon")}')
PY
"$folder/venv/bin/python" "$folder/run.py" "$folder/out" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT voc_segmentation, transform None: 0 messages about shapes
RESULT   masks of mask; listed: mask
RESULT voc_segmentation, transform polygons_to_masks: 0 messages about shapes
RESULT   masks of ellipse, mask, polygon; listed: ellipse, mask, polygon
RESULT yolo_ultralytics, transform None: 0 messages about shapes
RESULT   box.txt: 0 0.500000 0.458333 0.500000 0.416667
RESULT   ellipse.txt: empty
RESULT   mask.txt: empty
RESULT   polygon.txt: empty
RESULT cvat, transform None: 0 messages about shapes
RESULT   ellipses in the XML: 0, polygons: 1
TXT
echo 'as described'
