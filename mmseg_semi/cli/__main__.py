"""``python -m mmseg_semi.cli COMMAND ...`` is ``mmseg-semi COMMAND ...``."""

import sys

from mmseg_semi.cli import main

sys.exit(main())
