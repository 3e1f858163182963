"""Run a study, configs x splits x seeds: python tools/analysis/study.py STUDY.py [--jobs 2]"""

import sys

try:
    from mmseg_semi.cli.analysis.study import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
