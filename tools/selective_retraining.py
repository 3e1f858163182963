"""Train by ST or ST++, in stages: python tools/selective_retraining.py CONFIG [--work-dir DIR] ..."""

import sys

try:
    from mmseg_semi.cli.selective_retraining import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
