"""Measure label correction: python tools/analysis/label_correction.py CONFIG CHECKPOINT ..."""

import sys

try:
    from mmseg_semi.cli.analysis.label_correction import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
