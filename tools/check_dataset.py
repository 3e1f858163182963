"""Check all images and masks: python tools/check_dataset.py {CONFIG,--labeled DIR DIR} ..."""

import sys

try:
    from mmseg_semi.cli.check_dataset import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
