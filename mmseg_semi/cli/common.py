"""What the commands share: how they end, and options that several of them have."""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import PACKAGE
from mmseg_semi.runtime.checkpoints import best_checkpoint
from mmseg_semi.runtime.commands import describe_error, tool
from mmseg_semi.runtime.configs import default_work_dir
from mmseg_semi.runtime.devices import LAUNCHER_VARIABLES

__all__ = [
    'CHECKOUT',
    'CONFIG_HELP',
    'PROJECT_CONFIG',
    'TRAIN',
    'add_config_argument',
    'add_config_arguments',
    'add_options_argument',
    'add_run_arguments',
    'check_seed',
    'complete_run',
    'describe_error',
    'tool',
]

CHECKOUT = PACKAGE.parent
"""The folder that holds mmseg_semi/; for commands that need a checkout. Configs: :mod:`mmseg_semi.packaged`."""

CONFIG_HELP = 'a config file, or one of the package: mmseg_semi::ddfp/voc_732.py'
"""Help of an argument that :func:`mmseg_semi.runtime.configs.load_config` reads."""

PROJECT_CONFIG = 'config.py'
"""The config of a project folder, which commands take if none is given and it lies in the working directory."""

TRAIN = (sys.executable, '-m', 'mmseg_semi.cli', 'train')
"""Beginning of a command that trains in a process of its own."""


def add_config_argument(parser: argparse.ArgumentParser, help: str = CONFIG_HELP) -> None:
    """Add the argument CONFIG, which may be left out in a project folder (:data:`PROJECT_CONFIG`)."""
    if Path(PROJECT_CONFIG).is_file():
        help += f'; default {PROJECT_CONFIG} of this folder'
        parser.add_argument('config', nargs='?', default=PROJECT_CONFIG, help=help)
    else:
        parser.add_argument('config', help=help)


def add_run_arguments(
    parser: argparse.ArgumentParser,
    help: str = CONFIG_HELP,
    checkpoint_help: str = 'a checkpoint file',
) -> None:
    """Add CONFIG and CHECKPOINT. In a project folder either may be left out; :func:`complete_run` fills them in."""
    add_config_argument(parser, help)
    if Path(PROJECT_CONFIG).is_file():
        checkpoint_help += "; default the best one of the config's run"
        parser.add_argument('checkpoint', nargs='?', help=checkpoint_help)
    else:
        parser.add_argument('checkpoint', help=checkpoint_help)


def complete_run(args: argparse.Namespace) -> argparse.Namespace:
    """Fill in what was left out of CONFIG and CHECKPOINT in a project folder.

    Raises:
        SetupError: If the config's run has no checkpoint yet.
    """
    if args.checkpoint is None and args.config.endswith('.pth'):
        args.config, args.checkpoint = PROJECT_CONFIG, args.config
    if args.checkpoint is None:
        folder = Path(getattr(args, 'work_dir', None) or default_work_dir(args.config))
        found = best_checkpoint(folder)
        if found is None:
            raise SetupError(
                f'{folder} has no complete checkpoint of {args.config}; train first, or name a '
                'checkpoint'
            )
        args.checkpoint = str(found)
    return args


class Options(DictAction):
    """MMEngine's ``KEY=VALUE``, with a sentence for a word without '='."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        for word in values:
            if '=' not in word:
                parser.error(
                    f"argument --cfg-options: '{word}' has no '='; write KEY=VALUE, such as train_cfg.max_iters=100"
                )
        super().__call__(parser, namespace, values, option_string)


def add_options_argument(
    parser: argparse.ArgumentParser, help: str = 'override keys of the config, as in train.py'
) -> None:
    """Add ``--cfg-options KEY=VALUE ...``."""
    parser.add_argument('--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help=help)


def check_seed(seed: int | None) -> None:
    """Refuse a negative ``--seed``.

    Raises:
        SetupError: It is one.
    """
    if seed is not None and seed < 0:
        raise SetupError(f'--seed {seed}: expected a whole number of 0 or more')


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
