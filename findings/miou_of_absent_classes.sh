#!/usr/bin/env bash
# MMSegmentation's mIoU is the mean over the classes that occur in a mask or in a prediction, not over the classes of the data
# set: a class that occurs in neither has the IoU NaN and is left out (nanmean). So one wrong pixel of a class that the images do
# not show adds an IoU of 0 to the mean. With 3 classes and 10,000 pixels, 9,999 of which are right, mIoU falls from 100 to 66.7.
#
# It matters where few images are scored, a clip, a fold or an image: two networks that differ by one pixel are then averaged over
# different classes, and a network that never predicts a rare class can score higher than one that tries to.
#
# Seen with onedl-mmsegmentation 1.4.2 on torch 2.13.0, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 \
    onedl-mmsegmentation==1.4.2 ftfy==6.3.1 regex==2026.11.15 scipy==1.17.1 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import torch
from mmseg.evaluation import IoUMetric

CLASSES = ('road', 'car', 'bicycle')


def score(prediction, mask):
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=CLASSES)
    sample = dict(pred_sem_seg=dict(data=prediction[None]), gt_sem_seg=dict(data=mask[None]))
    metric.process({}, [sample])
    return metric.evaluate(1)['mIoU']


mask = torch.zeros(100, 100, dtype=torch.long)
mask[:, 50:] = 1  # road and car; there is no bicycle in this image
perfect, one_pixel = mask.clone(), mask.clone()
one_pixel[0, 0] = 2
print(f'RESULT all 10000 pixels right: mIoU {score(perfect, mask):.1f}')
print(f'RESULT 9999 pixels right, one is a bicycle: mIoU {score(one_pixel, mask):.1f}')
PY
"$folder/venv/bin/python" "$folder/run.py" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT all 10000 pixels right: mIoU 100.0
RESULT 9999 pixels right, one is a bicycle: mIoU 66.7
TXT
echo 'as described'
