#!/usr/bin/env bash
# OpenCV's TIFF decoder gives wrong numbers, without an error, for three bands of more than 8 bits that are stored one after the
# other (PlanarConfiguration 2, a usual layout of satellite images). The same image with 8 bits, or stored pixel by pixel, is right.
#
# mmseg_semi/data/decoding/tiff.py reads the header first and gives such files to tifffile.
#
# Seen with opencv-python-headless 5.0.0.93, tifffile 2026.3.3, numpy 2.4.6, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 tifffile==2026.3.3 numpy==2.4.6 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import io

import cv2
import numpy as np
import tifffile

bands = np.random.default_rng(0).integers(0, 200, (16, 20, 3))
for dtype in (np.uint8, np.uint16, np.float32):
    for layout in ('contig', 'separate'):
        image, file = bands.astype(dtype), io.BytesIO()
        stored = image if layout == 'contig' else np.moveaxis(image, 2, 0)
        tifffile.imwrite(file, stored, photometric='rgb', planarconfig=layout)
        found = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
        right = found.shape == image.shape and np.array_equal(found[..., ::-1], image)
        print(f'RESULT {np.dtype(dtype)} {layout}: shape {found.shape}, values as written: {right}')
PY
"$folder/venv/bin/python" "$folder/run.py" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT uint8 contig: shape (16, 20, 3), values as written: True
RESULT uint8 separate: shape (16, 20, 3), values as written: True
RESULT uint16 contig: shape (16, 20, 3), values as written: True
RESULT uint16 separate: shape (16, 20, 3), values as written: False
RESULT float32 contig: shape (16, 20, 3), values as written: True
RESULT float32 separate: shape (16, 20, 3), values as written: False
TXT
echo 'as described'
