#!/usr/bin/env bash
# tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT on each. Without GPUs: GPUS processes on the CPU.
set -eu
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT GPUS [options of tools/test.py]" >&2; exit 2; }
CONFIG=$1
CHECKPOINT=$2
GPUS=$3

TOOLS=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
