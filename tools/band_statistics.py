"""Measure the bands of own images: python tools/band_statistics.py DATA.yaml ..."""

import sys

try:
    from mmseg_semi.cli.band_statistics import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
