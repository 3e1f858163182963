"""Draw densities and t-SNE: python tools/analysis/feature_map.py CONFIG CHECKPOINT ..."""

import sys

try:
    from mmseg_semi.cli.analysis.feature_map import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
