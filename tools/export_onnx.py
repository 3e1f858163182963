"""Write a network as ONNX: python tools/export_onnx.py CONFIG CHECKPOINT OUT.onnx ..."""

import sys

try:
    from mmseg_semi.cli.export_onnx import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
