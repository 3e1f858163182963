"""Compare configs on label subsets: python tools/analysis/compare.py CONFIG ... --lists ..."""

import sys

try:
    from mmseg_semi.cli.analysis.compare import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
