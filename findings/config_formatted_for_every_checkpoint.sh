#!/usr/bin/env bash
# MMEngine lays the whole config out with yapf whenever it is asked for its text, and it asks at the start of a run several times and
# then for every checkpoint, although the text does not change. So the time to save a small model depends on the length of its
# config: seconds for a thousand lines, in the middle of training, on the main process, while the other ranks wait.
#
# Seen with onedl-mmengine 0.10.12, yapf 0.43.0, torch 2.13.0, Python 3.11: one layout at least for each of 4 checkpoints. Fails if
# that changes. The seconds are printed and not compared.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 onedl-mmengine==0.10.12 yapf==0.43.0 \
    opencv-python==5.0.0.93 \
    2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import sys
import time

import torch
import yapf.yapflib.yapf_api as api
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

layouts = []
format_code = api.FormatCode


def counted(text, *args, **options):
    start = time.perf_counter()
    result = format_code(text, *args, **options)
    layouts.append((text, time.perf_counter() - start))
    return result


api.FormatCode = counted


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x, mode):
        return dict(loss=self.layer(x).square().mean())


def save(count):
    """Layouts of a run of `count` iterations that saves each of them."""
    layouts.clear()
    stages = [dict(type='Stage', index=i, sizes=[i, i + 1, i + 2], scale=dict(low=0.5, high=2.0)) for i in range(200)]
    runner = Runner(
        model=Line(),
        work_dir=f'{sys.argv[1]}/run{count}',
        train_dataloader=DataLoader([dict(x=torch.ones(1))] * count),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=count),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        log_level='ERROR',
        experiment_name=f'run{count}',
        cfg=Config(dict(stages=stages)),
    )
    runner.train()
    return list(layouts)


one, five = save(1), save(5)
same = len({text for text, _ in five}) == 1
print(f'RESULT 4 more checkpoints: {len(five) - len(one)} more layouts, of {"one text" if same else "several texts"}')
print(f'one layout took {min(seconds for _, seconds in five):.2f} s', file=sys.stderr)
PY
"$folder/venv/bin/python" "$folder/run.py" "$folder" > "$folder/out" 2> "$folder/run.log" || { tail -20 "$folder/run.log"; exit 1; }
grep '^one layout' "$folder/run.log"
grep '^RESULT' "$folder/out" | tee "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT 4 more checkpoints: 4 more layouts, of one text
TXT
echo 'as described'
