"""Pack unlabelled images into tar shards: python tools/shards.py {make,index} ..."""

import sys

try:
    from mmseg_semi.cli.shards import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    sys.exit(f'error: {error}')

if __name__ == '__main__':
    main()
