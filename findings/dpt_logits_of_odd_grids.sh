#!/usr/bin/env bash
# MMSegmentation's DPTHead gives logits of eight times the grid of patches only if the grid is even. Its coarsest map has ceil(n / 2)
# positions a side, and every fusion doubles the map that it has and resizes the finer one to it, not the other way round: from
# 37 patches a side come 304 positions instead of 296. DPT's own decoder resizes to the finer map.
#
# It matters for ViTs with patches of 14 pixels, whose usual crop of 518 pixels has 37 patches: a loss or a metric that takes the
# logits for 8 n positions fails or is shifted, and weights of another DPT, loaded into this head, see maps of another size. Resized to
# the image, as MMSegmentation does with all logits, they cover it.
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
from mmseg.models.decode_heads import DPTHead

head = DPTHead(
    embed_dims=8,
    post_process_channels=[4, 4, 4, 4],
    in_channels=[8, 8, 8, 8],
    in_index=[0, 1, 2, 3],
    input_transform='multiple_select',
    channels=4,
    num_classes=2,
    norm_cfg=None,
)
for patches in (36, 37):
    # a map and a class token from each of four layers
    levels = [(torch.randn(1, 8, patches, patches), torch.randn(1, 8)) for _ in range(4)]
    with torch.no_grad():
        side = head(levels).shape[-1]
    print(f'RESULT {patches} patches a side: {side} positions a side, 8 n is {8 * patches}')
PY
"$folder/venv/bin/python" "$folder/run.py" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT 36 patches a side: 288 positions a side, 8 n is 288
RESULT 37 patches a side: 304 positions a side, 8 n is 296
TXT
echo 'as described'
