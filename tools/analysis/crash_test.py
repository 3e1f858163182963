"""Kill a training at random moments: python tools/analysis/crash_test.py [CONFIG] [--kills 20] ..."""

import sys

try:
    from mmseg_semi.cli.analysis.crash_test import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
