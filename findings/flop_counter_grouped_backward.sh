#!/usr/bin/env bash
# torch's FlopCounterMode counts the backward pass of a grouped convolution as if it had no groups: the gradient of the weight gets as
# many operations as that of the dense convolution, groups times too many. Forward pass and gradient of the input are right. Of a
# depthwise 3 x 3 convolution of 32 channels the backward pass counts 33 times the forward pass instead of 2 times.
#
# It matters when the training cost of MobileNet, EfficientNet or ConvNeXt is read from this counter: depthwise layers, a few per cent
# of the arithmetic, dominate the sum, and a ratio of two recipes on such a network is that of their backward passes alone.
#
# Seen with torch 2.13.0, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import torch
from torch.utils.flop_counter import FlopCounterMode

for groups in (1, 4, 32):
    x = torch.randn(2, 32, 8, 8, requires_grad=True)
    layer = torch.nn.Conv2d(32, 32, 3, padding=1, groups=groups, bias=False)
    with FlopCounterMode(display=False) as forward:
        y = layer(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    ratio = backward.get_total_flops() / forward.get_total_flops()
    print(f'RESULT {groups} groups: backward / forward {ratio:g}')
PY
"$folder/venv/bin/python" "$folder/run.py" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT 1 groups: backward / forward 2
RESULT 4 groups: backward / forward 5
RESULT 32 groups: backward / forward 33
TXT
echo 'as described'
