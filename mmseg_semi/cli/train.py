"""Train a model: mmseg-semi train CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] ..."""

import argparse
import sys

from mmengine.config import Config

from mmseg_semi.cli.common import add_config_argument, add_config_arguments, tool
from mmseg_semi.cli.next_steps import after_interruption, after_stopping, after_training
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs, devices, stack
from mmseg_semi.runtime.config_checks import check_training
from mmseg_semi.runtime.peers import peer_is_lost, watched_peers
from mmseg_semi.runtime.progress import ProgressHook
from mmseg_semi.runtime.refusals import Begun, no_traces
from mmseg_semi.runtime.run_lock import hold
from mmseg_semi.runtime.stopping import (
    Interrupted,
    StopHook,
    Stopped,
    StopRequests,
    parse_time,
    stop_requests,
)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model.')
    add_config_argument(parser)
    parser.add_argument(
        '--work-dir',
        help='folder for logs and checkpoints; default work_dirs/ and the path below configs/',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from the newest complete checkpoint in the work_dir, or from this one',
    )
    parser.add_argument(
        '--load-from',
        metavar='CHECKPOINT',
        help='begin a new run from the weights of this checkpoint',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU'
    )
    parser.add_argument(
        '--time',
        metavar='DURATION',
        help='end after this time with a checkpoint to resume from: 45s, 90m, 2h, 1h30m',
    )
    parser.add_argument(
        '--early-stop',
        nargs='?',
        const=5,
        type=int,
        metavar='N',
        help='end when the mIoU of the network that predicts has not improved in N validations (5)',
    )
    add_config_arguments(parser)
    args = parser.parse_args(arguments)
    args.words = sys.argv[1:] if arguments is None else arguments
    return args


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    seconds = None if args.time is None else parse_time(args.time)
    with stop_requests(seconds) as requests:
        try:
            train(args, requests)
        except Interrupted as interruption:
            after_interruption(interruption, args)
            sys.exit(interruption.status)


def train(args: argparse.Namespace, requests: StopRequests) -> None:
    """Train as the options say, and say what to do next.

    Raises:
        SystemExit: A signal ended the run; its checkpoint is written.
    """
    cfg = configs.load_config(args.config, args.cfg_options)
    check_training(cfg, args.config)
    devices.init_distributed(cfg, args.launcher, args.local_rank)
    devices.set_precision(cfg, args.amp)
    configs.set_work_dir(cfg, args.work_dir, args.config)
    devices.join_processes(cfg)
    with watched_peers(), hold(cfg.work_dir):
        requests.is_ending = peer_is_lost
        train_in_folder(cfg, args, requests)


def train_in_folder(cfg: Config, args: argparse.Namespace, requests: StopRequests) -> None:
    """:func:`train` with the final config, in a work folder that no other run uses."""
    if args.load_from is not None:
        if args.resume is not None:
            raise SetupError(
                '--resume goes on with a run and --load-from begins another one; give one of the two'
            )
        cfg.load_from, cfg.resume = args.load_from, False
    configs.set_resume(cfg, args.resume)
    if args.early_stop is not None:
        add_early_stopping(cfg, args.early_stop)
    with no_traces(cfg.work_dir) as begun:
        run(cfg, args, requests, begun)


def run(cfg: Config, args: argparse.Namespace, requests: StopRequests, begun: Begun) -> None:
    """Run the training of a config that has all options."""
    runner = configs.build_runner(cfg)
    begun.watch(runner)
    runner.register_hook(StopHook(requests))
    progress = [hook for hook in runner.hooks if isinstance(hook, ProgressHook)]
    for hook in progress:
        hook.end_with(requests.time_left)
    try:
        with stack.complete_weights(cfg.get('resume', False)):
            runner.train()
    except Stopped as stopped:
        for hook in progress:
            hook.close()
        runner.call_hook('after_run')  # closes the files of trackers
        after_stopping(stopped, runner, args)
        if stopped.status:
            sys.exit(stopped.status)
    else:
        after_training(runner, args)
    finally:
        for hook in progress:
            hook.close()


def add_early_stopping(cfg: Config, patience: int) -> None:
    """Add the hook of ``--early-stop``.

    Args:
        cfg: Changed in place.
        patience: Validations without an improvement.

    Raises:
        SetupError: The number is below 1, or the config has such a hook already.
    """
    if patience < 1:
        raise SetupError(f'--early-stop {patience}: expected a number of validations of 1 or more')
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    if any('EarlyStoppingHook' in str(hook and hook.get('type')) for hook in hooks):
        raise SetupError(
            '--early-stop: the config has an EarlyStoppingHook of its own; give one of the two'
        )
    hook = dict(type='SemiEarlyStoppingHook', monitor='mIoU', rule='greater', patience=patience)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
