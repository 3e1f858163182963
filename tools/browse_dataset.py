"""Draw the first training batches: python tools/browse_dataset.py CONFIG [--out DIR] ..."""

import sys

try:
    from mmseg_semi.cli.browse_dataset import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
