"""Rank unlabelled images: python tools/rank.py MODEL FOLDER [--n 20]"""

import sys

try:
    from mmseg_semi.cli.rank import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
