#!/usr/bin/env bash
# tools/benchmarks/gpu.sh [--out FILE.json] [--minutes N] [--methods NAME ...] [--toy]
# Every method's published step on the GPU at hand, in all precisions and layouts: one JSON file and its table. --toy is small enough for a CPU.
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
export KINETO_LOG_LEVEL="${KINETO_LOG_LEVEL:-6}"
PYTHONPATH="$ROOT:${PYTHONPATH:-}" exec "${PYTHON:-python}" -m mmseg_semi.cli.benchmark.gpu "$@"
