#!/usr/bin/env bash
# torch fills a channels-last tensor with random numbers in the order of its memory: with one seed, normal_ and dropout give other
# values than for a contiguous tensor of the same shape, and no permutation is undone. So a network that is moved to channels-last
# before its weights are drawn begins as another network, and a comparison of the two memory formats "with the same seed" compares two
# initialisations. Weights that are drawn first and moved afterwards are the same.
#
# Seen with torch 2.13.0, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import torch
from torch import nn


def layer(first: str) -> nn.Conv2d:
    made = nn.Conv2d(8, 16, 3)
    steps = {
        'format': lambda: made.to(memory_format=torch.channels_last),
        'weights': lambda: nn.init.kaiming_normal_(made.weight),
    }
    torch.manual_seed(0)
    for name in (first, *(name for name in steps if name != first)):
        steps[name]()
    return made


plain = nn.Conv2d(8, 16, 3)
torch.manual_seed(0)
nn.init.kaiming_normal_(plain.weight)
for first in ('format', 'weights'):
    print(f'RESULT {first} first: equal to contiguous {torch.equal(layer(first).weight, plain.weight)}')
kept = []
for memory_format in (torch.contiguous_format, torch.channels_last):
    torch.manual_seed(0)
    maps = torch.ones(2, 8, 16, 16).contiguous(memory_format=memory_format)
    kept.append(nn.functional.dropout(maps, 0.5) > 0)
print(f'RESULT dropout: same elements {torch.equal(*kept)}')
PY
"$folder/venv/bin/python" "$folder/run.py" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT format first: equal to contiguous False
RESULT weights first: equal to contiguous True
RESULT dropout: same elements False
TXT
echo 'as described'
