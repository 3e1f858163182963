"""Rank unlabelled images, which to annotate next: python tools/rank.py MODEL FOLDER"""

import sys

try:
    from mmseg_semi.cli.rank import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    sys.exit(main())
