"""``python -m mmseg_semi COMMAND ...`` is ``mmseg-semi COMMAND ...``."""

import sys

from mmseg_semi.cli import main

if __name__ == '__main__':
    sys.exit(main())
