"""Measure the input pipeline: python tools/analysis/data_speed.py {pipeline,pool,list} ..."""

import sys

try:
    from mmseg_semi.cli.analysis.data_speed import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
