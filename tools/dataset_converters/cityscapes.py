"""Prepare Cityscapes: the command line of mmseg_semi.preparing.converters.cityscapes."""

import sys

try:
    from mmseg_semi.preparing.converters.cityscapes import main
except ValueError as error:  # a SetupError: the installed OpenMMLab stack does not fit
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
