"""Time DDFP beside its authors' code: python tools/analysis/authors_ddfp.py --repository PATH ..."""

import sys

try:
    from mmseg_semi.cli.analysis.authors_ddfp import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
