"""Rename the tensors of DINOv2, ConvNeXt or MiT: python tools/model_converters/backbone_keys.py IN OUT."""

import sys

try:
    from mmseg_semi.cli.model_converters.backbone_keys import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
