"""Write docs/model_zoo.md, the table of all configs: python tools/model_zoo.py [--out FILE]."""

import sys

try:
    from mmseg_semi.cli.model_zoo import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
