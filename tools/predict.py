"""Predict masks of images, folders or a video: python tools/predict.py MODEL INPUT --out DIR"""

import sys

try:
    from mmseg_semi.cli.predict import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    sys.exit(main())
