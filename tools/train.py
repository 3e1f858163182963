"""Train a model: python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] [--amp] ..."""

import argparse
import sys

try:
    from mmseg_semi.runtime import launch, stack
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='a config file')
    parser.add_argument(
        '--work-dir',
        help="folder for logs and checkpoints; default work_dirs/<the config's path below configs/>",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the newest whole checkpoint in the work_dir, or from this one',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU'
    )
    launch.add_config_arguments(parser)
    return parser.parse_args()


@launch.tool
def main() -> None:
    args = parse_args()
    cfg = launch.load_config(args.config, args.cfg_options)
    launch.init_distributed(cfg, args.launcher, args.local_rank)
    launch.set_precision(cfg, args.amp)
    launch.set_work_dir(cfg, args.work_dir, args.config)
    launch.set_resume(cfg, args.resume)
    runner = launch.build_runner(cfg)
    with stack.complete_weights(cfg.get('resume', False)):
        runner.train()


if __name__ == '__main__':
    main()
