"""Evaluate a checkpoint: mmseg-semi test CONFIG CHECKPOINT [--pool] [--out DIR] [--tta] ...

The test set of the config is evaluated, or, with --pool, the unlabelled training images that have a
mask. Masks of unlabelled images are opened here, after training, and never in training. With --pool
or --by-clip the scores of each clip and class go to the log and to a JSON file in the work folder:
pool_<checkpoint>.json or test_<checkpoint>.json.
"""

import argparse
import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch import nn

from mmseg_semi.cli.common import (
    add_config_arguments,
    add_run_arguments,
    complete_run,
    tool,
)
from mmseg_semi.data.masked_pool import MaskedPool, find_clips
from mmseg_semi.data.semi_dataset import image_names
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.runtime import clip_scores, configs, devices, stack
from mmseg_semi.runtime.painted_predictions import PaintedPredictionsHook
from mmseg_semi.runtime.refusals import no_traces


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_run_arguments(parser)
    parser.add_argument('--work-dir', help='folder for the log and the metrics as json')
    parser.add_argument('--out', help='folder for the predicted label maps, one PNG per image')
    parser.add_argument('--show', action='store_true', help='show the predictions in windows')
    parser.add_argument(
        '--show-dir', help='new folder for pictures: image, truth and prediction of every image'
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds a window stays; default 2'
    )
    parser.add_argument(
        '--pool',
        action='store_true',
        help='evaluate the unlabelled training images that have a mask, in place of the test set',
    )
    parser.add_argument(
        '--by-clip', action='store_true', help='scores of each clip and class; --pool implies it'
    )
    parser.add_argument(
        '--clips',
        metavar='REGEX',
        help='the clip is what the group of this regex matches in a name; default the folder, or, '
        'where all frames have one folder, the part before the last underscore; implies --by-clip',
    )
    parser.add_argument('--tta', action='store_true', help='average over scales and flips')
    parser.add_argument(
        '--network',
        choices=('teacher', 'student', 'peer', 'both'),
        help='which network to evaluate; default both; with --out or --tta the deployed one: the '
        'teacher if it has its own weights, else the student',
    )
    add_config_arguments(parser)
    return complete_run(parser.parse_args(arguments))


def paint(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Show predictions in windows, by MMSegmentation's hook, or write them as pictures."""
    if show:
        hook = cfg.default_hooks.get('visualization') or dict(type='SegVisualizationHook')
        # mmsegmentation draws each interval-th batch, onedl-mmsegmentation all of a test
        cfg.default_hooks.visualization = dict(
            hook, draw=True, interval=1, show=True, wait_time=wait_time
        )
    if show_dir:
        hooks = cfg.get('custom_hooks') or []
        cfg.custom_hooks = [*hooks, dict(type=PaintedPredictionsHook.__name__, folder=show_dir)]


def check_masks(dataset: Any) -> None:
    """Refuse to score images without masks.

    Raises:
        SetupError: The first image of the test set has none.
    """
    if not len(dataset) or 'seg_map_path' in dataset.get_data_info(0):
        return
    part = getattr(dataset, 'part', None)
    named = (
        f"test_dataloader.dataset.part='{part}' has"
        if part
        else 'the images of test_dataloader have'
    )
    raise SetupError(
        f'{named} no masks, so there is nothing to score; to predict a folder: mmseg-semi predict CHECKPOINT FOLDER '
        '--out DIR'
    )


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


def unwrap(model: nn.Module) -> nn.Module:
    """The segmentor within test-time augmentation or a distributed wrapper."""
    while not hasattr(model, 'predict_with') and hasattr(model, 'module'):
        model = model.module
    return model


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
    model = unwrap(runner.model)
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
    if name not in (None, 'both') or single:
        name = name or model.predicting_network
        model.network(name)
        if hasattr(runner.test_loop, 'networks'):
            runner.test_loop.networks = [name]
        return model.predict_with(name)
    return nullcontext()


class ClipEvaluation:
    """Evaluation of a test set, or of the unlabelled images, by clip.

    Args:
        cfg: The config. Its test pipeline and metrics are used.
        pool: Whether to evaluate the unlabelled training images.
        pattern: The option ``--clips``.

    Raises:
        SetupError: If there are no such images or masks, or a name has no clip.
    """

    def __init__(self, cfg: Config, pool: bool, pattern: str | None) -> None:
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        dataset = cfg.test_dataloader.dataset
        self.kind = 'pool' if pool else 'test'
        if pool:
            sources = (cfg.get('train_dataloader') or {}).get('dataset')
            if sources is None:
                raise SetupError(
                    "--pool: the config has no key 'train_dataloader', so it names no unlabelled "
                    'images; give the config of the training'
                )
            self.dataset = MaskedPool(sources, dataset.pipeline)
            names = self.dataset.names
        else:
            self.dataset = DATASETS.build(dataset)
            names = image_names(self.dataset)
        paths = [self.dataset.get_data_info(i)['img_path'] for i in range(len(self.dataset))]
        self.clips = dict(zip(paths, find_clips(names, pattern), strict=True))
        self.metrics = clip_scores.areas_by_image(cfg.test_evaluator)

    def prepare(self, runner: Runner, cfg: Config) -> None:
        """Give a runner the test loop of this evaluation.

        The runner has written its config by now, so that the config in the work folder, which may be that
        of the training, keeps its own test set.
        """
        loader = {**cfg.test_dataloader, 'dataset': self.dataset}
        loop = {'type': 'TestLoop', **cfg.test_cfg, 'dataloader': loader, 'evaluator': self.metrics}
        runner._test_loop = runner.build_test_loop(loop)

    def write(self, runner: Runner, checkpoint: str, network: str | None) -> None:
        """Log the scores and write them as JSON, on the main process.

        Args:
            runner: The runner, after its test.
            checkpoint: The option of this name.
            network: The option ``--network``, for a loop that evaluates one network.
        """
        loop = runner.test_loop
        evaluators = getattr(loop, 'evaluators', {None: loop.evaluator})
        if not is_main_process():
            return
        network = network or getattr(unwrap(runner.model), 'predicting_network', 'network')
        areas = {
            name or network: find_areas(evaluator.metrics) for name, evaluator in evaluators.items()
        }
        classes = self.dataset.metainfo['classes']
        found = clip_scores.scores_by_clip(areas, self.clips)
        without_mask = getattr(self.dataset, 'without_mask', [])
        stem = Path(checkpoint).stem
        iteration = re.search(r'iter_(\d+)$', stem)
        result = dict(
            images=self.kind,
            checkpoint=str(checkpoint),
            iter=int(iteration[1]) if iteration else None,
            classes=list(classes),
            mean=clip_scores.MEAN,
            without_mask=dict(count=len(without_mask), first=without_mask[:10]),
            **found,
        )
        path = Path(runner.work_dir, f'{self.kind}_{stem}.json')
        write_whole(path, json.dumps(result, indent=1) + '\n')
        what = 'unlabelled training images' if self.kind == 'pool' else 'test images'
        missing = f', {len(without_mask)} more have no mask' if without_mask else ''
        runner.logger.info(
            f'{len(self.clips)} {what}{missing}, by clip, IoU in percent:\n'
            f'{clip_scores.describe(found, classes)}\nwritten to {path}'
        )


def scored_images(cfg: Config, dataset: BaseDataset) -> str:
    """Say which images were scored: those of a test part, or those that validated the training.

    Args:
        cfg: The config.
        dataset: The data set of the test loop.
    """
    count = len(dataset)
    own = getattr(dataset, 'own', None)
    if own is not None and dataset.part == 'test' and own.has_test:
        return f"scored: the {count} images of 'test' in {own.source}"
    validation = f'scored: the {count} validation images, which also chose the best checkpoint'
    if own is not None and dataset.part in ('test', 'val'):
        return f"{validation} ({own.source} has no 'test')" if not own.has_test else validation
    parts = [
        {
            key: value
            for key, value in cfg[f'{name}_dataloader'].dataset.items()
            if key != 'pipeline'
        }
        for name in ('val', 'test')
        if 'dataset' in (cfg.get(f'{name}_dataloader') or {})  # several domains have a loader each
    ]
    if len(parts) == 2 and parts[0] == parts[1]:
        return f'{validation} (test_dataloader names the same images as val_dataloader)'
    return f'scored: the {count} images of test_dataloader'


def find_areas(metrics: Sequence[Any]) -> dict:
    """Areas by image of the one metric that keeps them."""
    return next(m.areas for m in metrics if isinstance(m, clip_scores.AreasByImage))


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
    by_clip = None
    if args.pool or args.by_clip or args.clips:
        by_clip = ClipEvaluation(cfg, args.pool, args.clips)
    with no_traces(cfg.work_dir) as begun:
        runner = configs.build_runner(cfg)
        begun.watch(runner)
        if by_clip:
            by_clip.prepare(runner, cfg)
        check_masks(runner.test_loop.dataloader.dataset)
        single = bool(args.out or args.tta)
        with choose_network(runner, args.network, single), stack.complete_weights():
            runner.test()
    if by_clip:
        by_clip.write(runner, args.checkpoint, args.network)
    else:
        runner.logger.info(scored_images(cfg, runner.test_loop.dataloader.dataset))
