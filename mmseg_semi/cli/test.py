"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--out DIR] [--tta] ..."""

import argparse
from contextlib import nullcontext

from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_semi.cli.common import add_config_arguments, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs, devices, stack


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint.')
    parser.add_argument('config', help='a config file')
    parser.add_argument('checkpoint', help='a checkpoint file')
    parser.add_argument('--work-dir', help='folder for the log and the metrics as json')
    parser.add_argument('--out', help='folder for the predicted label maps, one PNG per image')
    parser.add_argument('--show', action='store_true', help='show the predictions in windows')
    parser.add_argument(
        '--show-dir', help='folder for painted predictions, below the folder of this run'
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds a window stays; default 2'
    )
    parser.add_argument('--tta', action='store_true', help='average over scales and flips')
    parser.add_argument(
        '--network',
        choices=('teacher', 'student', 'both'),
        help='which network to evaluate; default both; with --out or --tta the deployed one: the '
        'teacher if it has its own weights, else the student',
    )
    add_config_arguments(parser)
    return parser.parse_args(arguments)


def paint(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Let the visualisation hook draw predictions."""
    hook = cfg.default_hooks.get('visualization') or dict(type='SegVisualizationHook')
    shown = dict(show=True, wait_time=wait_time) if show else {}
    # mmsegmentation draws each interval-th batch, onedl-mmsegmentation all of a test
    cfg.default_hooks.visualization = dict(hook, draw=True, interval=1, **shown)
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def augment(cfg: Config, config: str) -> None:
    """Wrap the model in the config's test-time augmentation.

    Raises:
        SetupError: If the config has no test-time augmentation.
    """
    for key, base in (('tta_model', 'default_runtime.py'), ('tta_pipeline', 'datasets/')):
        if key not in cfg:
            raise SetupError(
                f"--tta: config '{config}' has no key '{key}'; write one, or inherit it from "
                f'configs/_base_/{base}'
            )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)
    # the augmented views of different images differ in size and cannot be batched
    cfg.test_dataloader.batch_size = 1


def write_predictions(cfg: Config, out: str) -> None:
    """Let IoUMetric write the label maps that it evaluates.

    Raises:
        SetupError: If the config has no IoUMetric.
    """
    metrics = (
        cfg.test_evaluator if isinstance(cfg.test_evaluator, list | tuple) else [cfg.test_evaluator]
    )
    for metric in metrics:
        if metric.get('type') == 'IoUMetric':
            metric.output_dir = out
            return
    raise SetupError(
        '--out: test_evaluator has no IoUMetric, which writes the label maps; found '
        f'{[m.get("type") for m in metrics]}'
    )


def choose_network(runner: Runner, name: str | None, single: bool):
    """Choose the networks to evaluate.

    Args:
        runner: The test runner; its loop evaluates both networks by default.
        name: The option ``--network``.
        single: Whether only one network can be evaluated.

    Returns:
        The context to test in.

    Raises:
        SetupError: If the model has no such network, or ``name`` is 'both' and ``single`` is set.
    """
    model = runner.model
    while not hasattr(model, 'predict_with') and hasattr(model, 'module'):
        model = model.module
    if not hasattr(model, 'predict_with'):
        if name:
            raise SetupError(
                f"--network {name}: this config's model is a plain segmentor; leave the option out"
            )
        return nullcontext()
    if single and name == 'both':
        raise SetupError(
            '--network both: --out and --tta take one network per run; give teacher or student'
        )
    if name in ('teacher', 'student') or single:
        name = name or model.predicting_network
        model.network(name)
        if hasattr(runner.test_loop, 'networks'):
            runner.test_loop.networks = [name]
        return model.predict_with(name)
    return nullcontext()


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    cfg = configs.load_config(args.config, args.cfg_options)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        if cfg.get(key) is None:
            raise SetupError(
                f"config '{args.config}' has no key '{key}', so there is nothing to test"
            )
    devices.init_distributed(cfg, args.launcher, args.local_rank)
    configs.set_work_dir(cfg, args.work_dir, args.config)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.show or args.show_dir:
        paint(cfg, args.show, args.show_dir, args.wait_time)
    if args.tta:
        augment(cfg, args.config)
    if args.out:
        write_predictions(cfg, args.out)
    runner = configs.build_runner(cfg)
    with choose_network(runner, args.network, bool(args.out or args.tta)), stack.complete_weights():
        runner.test()
