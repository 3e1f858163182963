"""python tests/fuzz [--all] [NUMBER ...]: run bad inputs, each in a process of its own."""

import sys
from pathlib import Path


def main() -> int:
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # what the tests share
    from fuzz.command import main

    return main()


if __name__ == '__main__':
    sys.exit(main())
