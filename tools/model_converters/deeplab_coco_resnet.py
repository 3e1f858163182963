"""Convert a COCO ResNet: python tools/model_converters/deeplab_coco_resnet.py IN OUT."""

import sys

try:
    from mmseg_semi.cli.model_converters.deeplab_coco_resnet import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
