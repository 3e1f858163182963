"""A config's training step by MMEngine's own runner, on random images or the config's own."""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import IterBasedTrainLoop
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, HOOKS, LOOPS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.runtime import configs, devices
from mmseg_semi.runtime.benchmarks import method_benchmarks
from mmseg_semi.runtime.measuring import Meter, clock, stored_bytes
from mmseg_semi.step.parts import part
from mmseg_semi.step.views import is_strong

# -- what a config says ------------------------------------------------------------------------


def find_crop(cfg: Config) -> tuple[int, int]:
    """Height and width of the training crops."""

    def search(node: Any) -> tuple[int, int] | None:
        if isinstance(node, dict) and node.get('type') in ('RandomScaleCrop', 'RandomCrop'):
            size = node['crop_size']
            return (size, size) if isinstance(size, int) else tuple(size)
        children = node.values() if isinstance(node, dict) else node
        if not isinstance(node, dict | list | tuple):
            return None
        return next((found for child in children if (found := search(child))), None)

    found = search(cfg.get('train_dataloader'))
    if found is None:
        raise SetupError(
            'train_dataloader has no RandomScaleCrop or RandomCrop: give the side of the images by '
            '--crop'
        )
    return found


def find_strong_views(cfg: Config) -> int:
    """Number of strong views that the pipelines of unlabelled images make; at least 1."""

    def search(node: Any) -> int:
        views = node.get('branch_field', ()) if isinstance(node, dict) else ()
        found = sum(map(is_strong, views))
        children = node.values() if isinstance(node, dict) else node
        if not isinstance(node, dict | list | tuple):
            return 0
        return max([found, *map(search, children)])

    return max(1, search(cfg.get('train_dataloader')))


def find_batch(cfg: Config) -> list[int]:
    """Images of each source in a batch, labelled first."""
    ratio = (cfg.train_dataloader.get('sampler') or {}).get('source_ratio') or [1]
    return [share * cfg.train_dataloader.batch_size // sum(ratio) for share in ratio]


def untrained(node: Any) -> None:
    """Remove every pretrained checkpoint: the cost of a step does not depend on the weights."""
    if isinstance(node, dict):
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            untrained(child)


# -- random images -----------------------------------------------------------------------------


@DATASETS.register_module(force=True)
class RandomImages(Dataset):
    """One batch of random images and labels, packed as the pipelines pack them.

    Labels are uniform over the classes; one in twenty is the ignored label. No unlabelled pixel is
    padding.

    Args:
        batch: Images of each source, labelled first.
        crop: Height and width.
        num_classes: Number of classes.
        plain: Pack for a plain segmentor: an image and a sample, no branches.
        strong_views: Number of strong views of an unlabelled image.
    """

    metainfo = dict(classes=(), palette=[])

    def __init__(
        self,
        batch: list[int],
        crop: tuple[int, int],
        num_classes: int,
        plain: bool = False,
        strong_views: int = 1,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.items = [
            self._item(index < batch[0], crop, num_classes, plain, strong_views, generator)
            for index in range(sum(batch))
        ]

    @staticmethod
    def _item(
        labeled: bool,
        crop: tuple[int, int],
        num_classes: int,
        plain: bool,
        strong_views: int,
        generator: torch.Generator,
    ) -> dict:
        image, *strong = (
            torch.randint(0, 256, (3, *crop), generator=generator, dtype=torch.uint8)
            for _ in range(1 + strong_views)
        )
        metainfo = dict(
            img_path='random', ori_shape=crop, img_shape=crop, pad_shape=crop, scale_factor=1.0
        )
        sample = SegDataSample(metainfo=metainfo)
        if labeled:
            label = torch.randint(0, num_classes, (1, *crop), generator=generator)
            ignored = torch.rand(label.shape, generator=generator) < 0.05
            sample.gt_sem_seg = PixelData(data=label.masked_fill(ignored, IGNORE))
            nothing = [None] * (1 + strong_views)
            images, samples = [image, *nothing], [sample, *nothing]
        else:
            sample.valid_map = PixelData(data=torch.ones(1, *crop, dtype=torch.bool))
            images = [None, image, *strong]
            samples = [None, sample, *(copy.deepcopy(sample) for _ in strong)]
        if plain:
            return dict(inputs=image, data_samples=sample)
        views = ['labeled', 'weak', 'strong', *(f'strong_{i}' for i in range(2, strong_views + 1))]
        return dict(
            inputs=dict(zip(views, images, strict=True)),
            data_samples=dict(zip(views, samples, strict=True)),
        )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        return self.items[index]


# -- a training step ---------------------------------------------------------------------------


@LOOPS.register_module(force=True)
class SteppedLoop(IterBasedTrainLoop):
    """MMEngine's training loop, one iteration at a time: :meth:`step` runs the next one.

    Args:
        start: Number of the first iteration.
        args, kwargs: See MMEngine's ``IterBasedTrainLoop``.
    """

    endless = True
    """Its ``max_iters`` is no length, which schedules would be compared with."""

    def __init__(self, *args, start: int, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.start = start

    def run(self) -> None:
        """Prepare to train, without an iteration."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._iter = self.start

    def step(self) -> None:
        """Run one iteration, as the base class's loop does."""
        self.runner.model.train()
        with part('data'):
            batch = next(self.dataloader_iterator)
        self.run_iter(batch)


def choose_images(cfg: Config, args: argparse.Namespace) -> dict[str, Any]:
    """Put random images into a config, unless ``--data`` keeps its own.

    Returns:
        ``batch``, ``crop`` and ``images`` for the report.
    """
    batch = args.batch_size or find_batch(cfg)
    crop = (args.crop, args.crop) if args.crop else find_crop(cfg)
    if args.data:
        return dict(batch=batch, crop=list(crop), images='of the config')
    plain = cfg.model.type != 'SemiSegmentor'
    batch = batch[: 1 if plain else len(find_batch(cfg))]
    strong_views = find_strong_views(cfg)
    cfg.train_dataloader = dict(
        batch_size=sum(batch),
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=False),
        dataset=dict(
            type='RandomImages',
            batch=batch,
            crop=crop,
            num_classes=(cfg.model if plain else cfg.model.student).decode_head.num_classes,
            plain=plain,
            strong_views=strong_views,
        ),
    )
    images = 'random'
    labeller = cfg.model.get('pseudo_label') or {}
    if labeller.get('type') == 'ConfidenceThreshold':
        labeller.threshold = 0.0
        images = 'random, every unlabelled pixel with a pseudo-label'
    return dict(batch=batch, crop=list(crop), images=images)


class TrainingStep:
    """A config's training step, by MMEngine's own runner with the config's own hooks.

    Validation, checkpoints and pretrained weights are left out.

    Args:
        cfg: A config; not changed.
        args: Options of ``tools/benchmark.py``.
        name: The config's name in the report.
        folder: Work folder of the runner.
    """

    def __init__(self, cfg: Config, args: argparse.Namespace, name: str, folder: str) -> None:
        cfg = copy.deepcopy(cfg)
        untrained(cfg.model)
        self.cpu_time = args.cpu_time
        self.about = dict(config=name, **choose_images(cfg, args))
        total = cfg.train_cfg.get('max_iters', 1000)
        self.about['iteration'] = total // 2 if args.at is None else args.at
        cfg.train_cfg = dict(type='SteppedLoop', max_iters=10**9, start=self.about['iteration'])
        for key in ('val', 'test'):
            for what in ('dataloader', 'evaluator', 'cfg'):
                cfg[f'{key}_{what}'] = None
        cfg.setdefault('default_hooks', {})
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, by_epoch=False)
        cfg.update(load_from=None, resume=False, log_level='ERROR', launcher='none')
        cfg.work_dir = folder
        cfg.experiment_name = '_'.join(Path(folder).parts[-2:])  # one a process, for MMEngine's log
        cfg.visualizer = dict(type='SegLocalVisualizer', name=cfg.experiment_name)
        devices.set_precision(cfg, args.amp)
        self.runner = configs.build_runner(cfg)
        self.runner.train()
        self.loop = self.runner.train_loop
        self.device = next(self.runner.model.parameters()).device
        for benchmarks in method_benchmarks():
            if hasattr(benchmarks, 'prepare'):
                benchmarks.prepare(self.runner.model)
        self._mark_parts()

    def _mark_parts(self) -> None:
        """Mark the parts around ``SemiSegmentor.loss``, which marks its own parts."""
        runner, wrapper = self.runner, self.runner.optim_wrapper
        mark(runner.model.data_preprocessor, 'forward', 'preprocessing')
        mark(runner.model, 'parse_losses', 'log read')
        mark(wrapper, 'backward', 'backward')
        for method in ('step', 'zero_grad'):
            mark(wrapper, method, 'optimiser')
        for hook in runner.hooks:
            ours = type(hook).__module__.startswith('mmseg_semi')
            name = f'hooks: {type(hook).__name__ if ours else "of MMEngine"}'
            for method in ('before_train_iter', 'after_train_iter'):
                mark(hook, method, name)

    def __call__(self) -> None:
        self.loop.step()

    def timed(self) -> dict[str, float]:
        """Seconds of one step by part."""
        with Meter(clock(self.device, self.cpu_time)) as meter:
            self()
        return meter.sums

    def stored(self) -> dict[str, int]:
        """Bytes that stay between steps: weights with their buffers, and the optimisers' state."""
        model = self.runner.model
        student = getattr(model, 'student', model)
        state = [*student.state_dict(keep_vars=True).values()]
        sizes = {'student': stored_bytes(state)}
        if getattr(model, 'teacher', None) is not None:
            both = [*state, *model.teacher.state_dict(keep_vars=True).values()]
            sizes['teacher'] = stored_bytes(both) - sizes['student']
        if hasattr(model, 'objectives'):
            sizes['objectives'] = stored_bytes(model.objectives.state_dict(keep_vars=True).values())
        optimizers = [self.runner.optim_wrapper.optimizer]
        for hook in self.runner.hooks:
            optimizers += getattr(hook, 'optimizers', [])
        sizes['optimisers'] = stored_bytes(
            value
            for optimizer in optimizers
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        )
        return sizes


def mark(owner: Any, method: str, name: str) -> None:
    """Mark every call of an object's method as a part of the step."""
    original: Callable = getattr(owner, method)

    def run(*args, **kwargs):
        with part(name):
            return original(*args, **kwargs)

    object.__setattr__(owner, method, run)


def plain_config(cfg: Config, crop: tuple[int, int]) -> Config:
    """The config's student in plain MMSegmentation: no SemiSegmentor, no hooks of this package.

    Raises:
        SetupError: If the config has other objectives than the supervised one.
    """
    kinds = [objective.type for objective in cfg.model.objectives]
    if kinds != ['SupervisedObjective']:
        raise SetupError(
            f'--measure plain compares supervised training, but model.objectives are {kinds}: '
            'give a config of configs/supervised/'
        )
    cfg = copy.deepcopy(cfg)
    inner = cfg.model.data_preprocessor.data_preprocessor
    if not {'size', 'size_divisor'} & set(inner):
        inner.size = crop
    cfg.model = ConfigDict(cfg.model.student, data_preprocessor=inner)
    cfg.optim_wrapper.pop('constructor', None)
    for name, hook in list(cfg.default_hooks.items()):
        if hook and HOOKS.get(hook.type).__module__.startswith('mmseg_semi.'):
            del cfg.default_hooks[name]
    cfg.custom_hooks = []
    return cfg
