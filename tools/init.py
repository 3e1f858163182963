"""Make a project folder from an annotation tool's export: python tools/init.py EXPORT --unlabeled FOLDER ..."""

import sys

try:
    from mmseg_semi.cli.init import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
