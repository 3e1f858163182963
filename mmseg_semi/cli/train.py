"""Train a model: mmseg-semi train CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] ..."""

import argparse

from mmseg_semi.cli.common import add_config_argument, add_config_arguments, tool
from mmseg_semi.runtime import configs, devices, stack


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
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU'
    )
    add_config_arguments(parser)
    return parser.parse_args(arguments)


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    cfg = configs.load_config(args.config, args.cfg_options)
    devices.init_distributed(cfg, args.launcher, args.local_rank)
    devices.set_precision(cfg, args.amp)
    configs.set_work_dir(cfg, args.work_dir, args.config)
    configs.set_resume(cfg, args.resume)
    runner = configs.build_runner(cfg)
    with stack.complete_weights(cfg.get('resume', False)):
        runner.train()
