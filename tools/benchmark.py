"""Measure time and memory of training: python tools/benchmark.py CONFIG [CONFIG_B] ..."""

import os
import sys

# the profiler reads it when torch is imported: no messages of its own
os.environ.setdefault('KINETO_LOG_LEVEL', '6')

try:
    from mmseg_semi.cli.benchmark import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
