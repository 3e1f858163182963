"""Prepare PASCAL VOC 2012 with SBD: the command line of mmseg_semi.preparing.converters.voc."""

import sys

try:
    from mmseg_semi.preparing.converters.voc import main
except ValueError as error:  # a SetupError: the installed OpenMMLab stack does not fit
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
