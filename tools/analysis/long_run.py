"""Observe a long training: python tools/analysis/long_run.py [CONFIG] [--time 30m] ..."""

import sys

try:
    from mmseg_semi.cli.analysis.long_run import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
