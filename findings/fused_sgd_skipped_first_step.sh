#!/usr/bin/env bash
# torch's fused SGD: if the loss scaler skips the first step (a gradient is inf), the momentum stays what torch.empty_like found in memory,
# and the second step applies it. Unfused SGD creates the momentum in the second step. The same optimiser refuses a parameter that gets
# its first gradient after others, and on a CPU it reads gradients in the order of the memory, whatever their strides.
#
# The first step of float16 training is skipped as a rule, because the loss scale begins at 65,536.
# mmseg_semi/runtime/fused_optimisers.py prepares gradients and momentum before each step.
#
# Seen with torch 2.13.0, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/run.py" <<'PY'
import torch

real = torch.empty_like
torch.empty_like = lambda *args, **kwargs: real(*args, **kwargs).fill_(7.0)  # what memory may hold
for fused in (False, True):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=fused)
    scaler = torch.amp.GradScaler('cpu', init_scale=1.0)
    for factor in (float('inf'), 1.0):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    print(f'RESULT fused={fused}: weight after a skipped and a second step {weight[0].item():.2f}')

one, two = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
optimizer = torch.optim.SGD([one, two], lr=0.1, momentum=0.9, fused=True)
one.grad = torch.ones(3)
optimizer.step()
two.grad = torch.ones(3)
try:
    optimizer.step()
    print('RESULT a late gradient is accepted')
except TypeError:
    print('RESULT a late gradient is refused')

for fused in (False, True):
    weight = torch.nn.Parameter(torch.zeros(2, 2, 1, 2).to(memory_format=torch.channels_last))
    weight.grad = torch.arange(8.0).view(2, 2, 1, 2)
    torch.optim.SGD([weight], lr=1.0, fused=fused).step()
    same = torch.equal(weight.detach(), -weight.grad)
    print(f'RESULT fused={fused}: contiguous gradient of a channels_last weight applied element by element: {same}')
PY
"$folder/venv/bin/python" "$folder/run.py" 2> "$folder/run.log" | grep '^RESULT' > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT fused=False: weight after a skipped and a second step 0.90
RESULT fused=True: weight after a skipped and a second step 0.27
RESULT a late gradient is refused
RESULT fused=False: contiguous gradient of a channels_last weight applied element by element: True
RESULT fused=True: contiguous gradient of a channels_last weight applied element by element: False
TXT
echo 'as described'
