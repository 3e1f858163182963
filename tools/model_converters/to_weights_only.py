"""Reduce a checkpoint to weights: python tools/model_converters/to_weights_only.py IN OUT."""

import sys

try:
    from mmseg_semi.cli.model_converters.to_weights_only import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
