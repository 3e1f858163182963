"""Make the report of a run: python tools/report.py WORK_DIR [--beside WORK_DIR ...]"""

import sys

try:
    from mmseg_semi.cli.report import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
