"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--out DIR] [--tta] ..."""

import sys

try:
    from mmseg_semi.cli.test import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
