"""Write docs/reproduction.md, the ledger of constants: python tools/reproduction.py [--out FILE] [--check]."""

import sys

try:
    from mmseg_semi.cli.reproduction import main
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    main()
