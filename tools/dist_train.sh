#!/usr/bin/env bash
# tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT on each. Without GPUs: GPUS processes on the CPU.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 CONFIG GPUS [options of tools/train.py]" >&2; exit 2; }
CONFIG=$1
GPUS=$2

TOOLS=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
