"""Compare what tools make of an exported model: python tools/analysis/exported_models.py FILE.onnx IMAGES ..."""

import sys

try:
    from mmseg_semi.cli.analysis.exported_models import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    sys.exit(main())
