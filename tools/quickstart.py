"""The demo (`make demo`): python tools/quickstart.py [--seed 0] [--work-dir DIR] ..."""

import sys

try:
    from mmseg_semi.cli.quickstart import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
