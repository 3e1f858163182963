"""Turn a semi-supervised checkpoint into a plain one: python tools/publish.py CONFIG CHECKPOINT."""

import sys

try:
    from mmseg_semi.cli.publish import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
