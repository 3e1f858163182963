"""What the commands share: how they end, and options that several of them have."""

import argparse
import sys

from mmengine.config import DictAction

from mmseg_semi.packaged import PACKAGE
from mmseg_semi.runtime.commands import describe_error, tool
from mmseg_semi.runtime.devices import LAUNCHER_VARIABLES

__all__ = [
    'CHECKOUT',
    'CONFIG_HELP',
    'TRAIN',
    'add_config_arguments',
    'add_options_argument',
    'describe_error',
    'tool',
]

CHECKOUT = PACKAGE.parent
"""The folder that holds mmseg_semi/; for commands that need a checkout. Configs: :mod:`mmseg_semi.packaged`."""

CONFIG_HELP = 'a config file, or one of the package: mmseg_semi::ddfp/voc_732.py'
"""Help of an argument that :func:`mmseg_semi.runtime.configs.load_config` reads."""

TRAIN = (sys.executable, '-m', 'mmseg_semi.cli', 'train')
"""Beginning of a command that trains in a process of its own."""


def add_options_argument(
    parser: argparse.ArgumentParser, help: str = 'override keys of the config, as in train.py'
) -> None:
    """Add ``--cfg-options KEY=VALUE ...``."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=help
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, ``--launcher`` and ``--local_rank``, as in MMSegmentation's tools."""
    add_options_argument(
        parser,
        'override keys of the config, such as optim_wrapper.optimizer.lr=0.01; lists are written '
        'key="[a,b]" or key=a,b, without blanks',
    )
    parser.add_argument(
        '--launcher', choices=('none', *LAUNCHER_VARIABLES), default='none', help='job launcher'
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by old launchers'
    )
