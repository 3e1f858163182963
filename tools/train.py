"""Train a model: python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] ..."""

import sys

try:
    from mmseg_semi.cli.train import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
