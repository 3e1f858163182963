"""Time and memory of training and inference: python tools/benchmark.py CONFIG [CONFIG_B] [--measure WHAT] ...

    step       a training step by part: data, teacher, mixing, student, each objective, backward,
               optimiser, hooks; with its arithmetic and its peak memory
    plain      the supervised step of CONFIG against the same network in plain MMSegmentation
    inference  images a second of the deployed network
    teacher    MeanTeacherHook's update against one fused lerp over the same tensors
    flow       likelihood of the flow and its gradient on one step's samples
    auxiliary  CCT's auxiliary decoders, forward and backward, against the plain loop over them
    contrast   DGCL's density, loss with its gradient, and bank update on one step's maps
    graphs     a round of label correction with its backward pass, beside its dense N x N form

Two configs (or a part and what it is measured against) run in interleaved pairs in one process; the
ratio is the median of the pairs. Images are random and weights untrained unless --data is given; the
teacher then labels every pixel, which is the most that a step can have to do. Without a GPU, or with
CUDA_VISIBLE_DEVICES=-1, everything runs on the CPU.
"""

import argparse
import copy
import json
import os
import platform
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # the profiler's own messages

import torch
import torch.nn.functional as F

try:
    from mmengine.config import Config, ConfigDict, DictAction
    from mmengine.device import get_device
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmengine.runner import IterBasedTrainLoop
    from mmengine.structures import PixelData
    from mmseg.registry import DATASETS, LOOPS, MODELS
    from mmseg.structures import SegDataSample
    from torch import Tensor, nn
    from torch.nn import functional as F
    from torch.utils.data import Dataset

    from mmseg_semi import __version__
    from mmseg_semi.errors import SetupError
    from mmseg_semi.labels import IGNORE
    from mmseg_semi.methods.cct.objective import CCTObjective
    from mmseg_semi.methods.cct.perturbations.guided import Guidance
    from mmseg_semi.methods.cct.perturbations.modules import VirtualAdversarial
    from mmseg_semi.methods.ddfp.mixture import UNLABELED
    from mmseg_semi.methods.dgcl.knn import knn_density
    from mmseg_semi.methods.dgcl.objective import DGCLObjective
    from mmseg_semi.methods.mllc.graphs import GraphRound, Level, to_maps, to_nodes
    from mmseg_semi.runtime import launch
    from mmseg_semi.runtime.measuring import (
        Memory,
        Meter,
        Ratio,
        clock,
        count_flops,
        interleave,
        stored_bytes,
        trace_memory,
    )
    from mmseg_semi.step.hooks import MeanTeacherHook
    from mmseg_semi.step.parts import part
    from mmseg_semi.step.views import (
        Batch,
        StepViews,
        StudentOutputs,
        StudentViews,
        TeacherOutputs,
        TeacherViews,
        UnlabeledBatch,
    )
except ValueError as error:  # none or both of the distributions of mmsegmentation are installed
    sys.exit(f'error: {error}')

MIB = 2**20


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config file')
    parser.add_argument('other', nargs='?', metavar='CONFIG_B', help='a second one to compare with')
    parser.add_argument(
        '--measure',
        choices=(
            'step',
            'plain',
            'inference',
            'teacher',
            'flow',
            'contrast',
            'auxiliary',
            'graphs',
        ),
        default='step',
    )
    parser.add_argument('--iters', type=int, default=10, help='measured runs of each; default 10')
    parser.add_argument('--warmup', type=int, default=2, help='runs before them; default 2')
    parser.add_argument(
        '--batch-size',
        type=int,
        nargs='+',
        metavar='N',
        help="labelled and unlabelled images; default the config's",
    )
    parser.add_argument('--crop', type=int, help="side of the images; default the config's crop")
    parser.add_argument(
        '--at', type=int, metavar='ITER', help='iteration to measure; default half of the schedule'
    )
    parser.add_argument(
        '--grid',
        type=int,
        nargs=2,
        default=(33, 65),
        metavar='N',
        help='--measure graphs: nodes, down and across; default 33 65',
    )
    parser.add_argument('--data', action='store_true', help="the config's images, not random ones")
    parser.add_argument(
        '--present',
        type=int,
        metavar='N',
        help='--measure contrast: classes in the label map; default all of them',
    )
    parser.add_argument(
        '--alone', action='store_true', help='--measure auxiliary: without the plain loop beside it'
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU'
    )
    parser.add_argument('--threads', type=int, help="PyTorch's CPU threads")
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='on a CPU: seconds that this process computed, for a machine that others use as well',
    )
    parser.add_argument('--json', metavar='FILE', help='write all numbers, each run included')
    for name, config in (('--cfg-options', 'CONFIG'), ('--cfg-options-b', 'CONFIG_B')):
        parser.add_argument(
            name,
            nargs='+',
            action=DictAction,
            metavar='KEY=VALUE',
            help=f'override keys of {config}',
        )
    args = parser.parse_args(arguments)
    if args.iters < 1 or args.warmup < 1:
        parser.error('--iters and --warmup must be at least 1')
    if args.other and args.measure not in ('step', 'inference'):
        parser.error(f'--measure {args.measure} takes one config')
    if args.data and (args.crop or args.batch_size or args.measure != 'step'):
        parser.error('--data is for --measure step, with the crop and batch of the config')
    return args


# -- what a config says ------------------------------------------------------------------------


def find_crop(cfg: Config) -> tuple[int, int]:
    """Height and width of the training crops."""

    def search(node: Any) -> tuple[int, int] | None:
        if isinstance(node, dict) and node.get('type') in ('RandomScaleCrop', 'RandomCrop'):
            size = node['crop_size']
            return (size, size) if isinstance(size, int) else tuple(size)
        children = (
            node.values()
            if isinstance(node, dict)
            else node
            if isinstance(node, list | tuple)
            else ()
        )
        return next((found for child in children if (found := search(child))), None)

    found = search(cfg.get('train_dataloader'))
    if found is None:
        raise SetupError(
            'train_dataloader has no RandomScaleCrop or RandomCrop: give the side of the images, --crop'
        )
    return found


def find_batch(cfg: Config) -> list[int]:
    """Images of each source in a batch, labelled first."""
    ratio = (cfg.train_dataloader.get('sampler') or {}).get('source_ratio') or [1]
    return [part * cfg.train_dataloader.batch_size // sum(ratio) for part in ratio]


def untrained(node: Any) -> None:
    """Drop every pretrained checkpoint: what weights hold does not change what a step costs."""
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
    """One batch of random images and labels, as the pipelines would pack them.

    Args:
        batch: Images of each source, labelled first.
        crop: Height and width.
        num_classes: Labels are uniform in [0, num_classes), one in twenty is IGNORE. No unlabelled pixel is padding.
        plain: Pack for a plain segmentor: an image and a sample, no branches.
    """

    metainfo = dict(classes=(), palette=[])

    def __init__(
        self, batch: list[int], crop: tuple[int, int], num_classes: int, plain: bool = False
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.items = []
        for index in range(sum(batch)):
            image, strong = (
                torch.randint(0, 256, (3, *crop), generator=generator, dtype=torch.uint8)
                for _ in range(2)
            )
            sample = SegDataSample(
                metainfo=dict(
                    img_path='random',
                    ori_shape=crop,
                    img_shape=crop,
                    pad_shape=crop,
                    scale_factor=1.0,
                )
            )
            if index < batch[0]:
                label = torch.randint(0, num_classes, (1, *crop), generator=generator)
                ignored = torch.rand(label.shape, generator=generator) < 0.05
                sample.gt_sem_seg = PixelData(data=label.masked_fill(ignored, IGNORE))
                images, samples = (image, None, None), (sample, None, None)
            else:
                sample.valid_map = PixelData(data=torch.ones(1, *crop, dtype=torch.bool))
                images, samples = (None, image, strong), (None, sample, copy.deepcopy(sample))
            views = ('labeled', 'weak', 'strong')
            self.items.append(
                dict(inputs=image, data_samples=sample)
                if plain
                else dict(
                    inputs=dict(zip(views, images, strict=True)),
                    data_samples=dict(zip(views, samples, strict=True)),
                )
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        return self.items[index]


# -- a training step ---------------------------------------------------------------------------


@LOOPS.register_module(force=True)
class SteppedLoop(IterBasedTrainLoop):
    """MMEngine's training loop, stopped before its first iteration; :meth:`step` runs one of them.

    Args:
        start: Iteration that the first step takes itself to be.
    """

    def __init__(self, *args, start: int, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.start = start

    def run(self) -> None:
        """Prepare to train."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._iter = self.start

    def step(self) -> None:
        """One iteration, as in the body of the base class's loop."""
        self.runner.model.train()
        with part('data'):
            batch = next(self.dataloader_iterator)
        self.run_iter(batch)


def choose_images(cfg: Config, args: argparse.Namespace) -> dict[str, Any]:
    """Put random images into a config unless it is to use its own; returns what to say about them."""
    batch = args.batch_size or find_batch(cfg)
    crop = (args.crop, args.crop) if args.crop else find_crop(cfg)
    if args.data:
        return dict(batch=batch, crop=list(crop), images='of the config')
    plain = cfg.model.type != 'SemiSegmentor'
    batch = batch[: 1 if plain else len(find_batch(cfg))]
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

    What is left out of a real run: validation, checkpoints, pretrained weights.
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
        launch.set_precision(cfg, args.amp)
        self.runner = launch.build_runner(cfg)
        self.runner.train()
        self.loop = self.runner.train_loop
        self.device = next(self.runner.model.parameters()).device
        for objective in getattr(self.runner.model, 'objectives', ()):
            if isinstance(objective, DGCLObjective):
                fill_bank(objective.bank)
        self._mark_parts()

    def _mark_parts(self) -> None:
        """Mark what the runner and MMEngine do around ``SemiSegmentor.loss``, which marks its own parts."""
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
        """Bytes that live from step to step: weights with their buffers, and the optimisers' state."""
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


def fill_bank(bank: nn.Module) -> None:
    """Random rows: half-way through a run the banks are full."""
    bank.features.copy_(F.normalize(torch.rand_like(bank.features, dtype=torch.float32), dim=2))
    bank.embeddings.normal_()
    bank.densities.uniform_()
    bank.counts.fill_(bank.size)


def mark(owner: Any, method: str, name: str) -> None:
    """Run one object's method as a part of the step."""
    original: Callable = getattr(owner, method)

    def run(*args, **kwargs):
        with part(name):
            return original(*args, **kwargs)

    object.__setattr__(owner, method, run)


def plain_config(cfg: Config, crop: tuple[int, int]) -> Config:
    """The config's student in plain MMSegmentation: no SemiSegmentor, no hooks of ours."""
    kinds = [objective.type for objective in cfg.model.objectives]
    if kinds != ['SupervisedObjective']:
        raise SetupError(
            f'--measure plain compares supervised training, but model.objectives are {kinds}: give a config of '
            'configs/supervised/'
        )
    cfg = copy.deepcopy(cfg)
    inner = cfg.model.data_preprocessor.data_preprocessor
    if not {'size', 'size_divisor'} & set(inner):
        inner.size = crop
    cfg.model = ConfigDict(cfg.model.student, data_preprocessor=inner)
    cfg.optim_wrapper.pop('constructor', None)
    for name in ('step', 'teacher', 'flow', 'results'):
        cfg.default_hooks.pop(name, None)
    cfg.custom_hooks = []
    return cfg


def measure_steps(steps: list[TrainingStep], args: argparse.Namespace) -> dict:
    """Time, arithmetic and memory of one or two training steps."""
    on_gpu = steps[0].device.type == 'cuda'
    runs = interleave([step.timed for step in steps], args.iters, args.warmup)
    totals = [[sum(run.values()) for run in own] for own in runs]
    if (
        on_gpu
    ):  # reading the clock at every part keeps the host from running ahead: totals without it
        totals = interleave([partial(timed, step, step.device) for step in steps], args.iters, 1)
    result: dict[str, Any] = {'steps': []}
    for step, own, total in zip(steps, runs, totals, strict=True):
        names = in_order(own)
        memory = trace_memory(step, step.device)
        result['steps'].append(
            dict(
                step.about,
                seconds=statistics.median(total),
                parts={n: statistics.median(run.get(n, 0.0) for run in own) for n in names},
                flops=count_flops(step),
                stored=step.stored(),
                memory=asdict(memory),
                runs=own,
                totals=total,
            )
        )
    for own in result['steps']:
        own['peak'] = sum(own['stored'].values()) + own['memory']['rise']
    if len(steps) == 2:
        a, b = result['steps']
        result['ratio'] = asdict(Ratio.of(*totals))
        result['ratio_text'] = str(Ratio.of(*totals))
        result['ratio_flops'] = sum(a['flops'].values()) / sum(b['flops'].values())
        result['ratio_peak'] = a['peak'] / b['peak']
    return result


def in_order(runs: Iterable[dict]) -> list[str]:
    """All parts as a step comes to them, then the rest."""
    names = dict.fromkeys(name for own in runs for name in own)
    names.pop('other', None)
    return [*names, 'other']


def print_steps(result: dict) -> None:
    for letter, own in zip('AB', result['steps'], strict=False):
        print(
            f'{letter}: {own["config"]}; batch {" + ".join(map(str, own["batch"]))}, crop {own["crop"][0]} x '
            f'{own["crop"][1]}, iteration {own["iteration"]}; images {own["images"]}'
        )
    letters = 'AB'[: len(result['steps'])]
    names = in_order(own['parts'] for own in result['steps'])
    print()
    print(
        f'{"part":32s}'
        + ''.join(f'{f"{x} ms":>12s}{f"{x} GFLOP":>12s}{f"{x} MiB":>10s}' for x in letters)
    )
    for name in names:
        print(f'{name:32s}' + ''.join(row(own, name) for own in result['steps']))
    print(f'{"step":32s}' + ''.join(row(own) for own in result['steps']))
    print()
    print(
        'ms: medians over the runs, each part by itself; MiB: peak above what is stored, while in the part'
    )
    for letter, own in zip('AB', result['steps'], strict=False):
        stored = ', '.join(f'{name} {size / MIB:.1f}' for name, size in own['stored'].items())
        memory = own['memory']
        largest = (
            ''
            if memory['largest'] is None
            else f', largest allocation {memory["largest"] / MIB:.1f}'
        )
        print(
            f'{letter} peak memory {own["peak"] / MIB:.1f} MiB = stored ({stored}) + step {memory["rise"] / MIB:.1f}'
            f'{largest}; kept after the step {memory["kept"] / MIB:.2f}'
        )
    if 'ratio' in result:
        print(f'A / B: time {result["ratio_text"]}')
        print(
            f'A / B: arithmetic {result["ratio_flops"]:.3f}, peak memory {result["ratio_peak"]:.3f}'
        )


def row(own: dict, name: str | None = None) -> str:
    """One config's columns of the table."""
    if name is None:
        flops, rise = sum(own['flops'].values()), own['memory']['rise']
        return f'{own["seconds"] * 1e3:12.1f}{flops / 1e9:12.1f}{rise / MIB:10.1f}'
    time, flops = own['parts'].get(name), own['flops'].get(name, 0)
    rise = own['memory']['parts'].get(name)
    return (
        f'{"" if time is None else f"{time * 1e3:.1f}":>12s}'
        f'{f"{flops / 1e9:.1f}" if flops else "":>12s}'
        f'{"" if rise is None else f"{rise / MIB:.1f}":>10s}'
    )


# -- the other measurements --------------------------------------------------------------------


def timed(step: Callable[[], object], device: torch.device, cpu_time: bool = False) -> float:
    """Seconds of one call."""
    read = clock(device, cpu_time)
    start = read()
    step()
    return read() - start


def measure_pair(
    names: tuple[str, ...],
    steps: list[Callable[[], object]],
    device: torch.device,
    args: argparse.Namespace,
) -> dict:
    """Seconds of one or two calls, interleaved."""
    runs = interleave(
        [partial(timed, step, device, args.cpu_time) for step in steps], args.iters, args.warmup
    )
    result: dict[str, Any] = {
        'seconds': {name: statistics.median(own) for name, own in zip(names, runs, strict=True)},
        'runs': dict(zip(names, runs, strict=True)),
    }
    if len(runs) == 2:
        result['ratio'], result['ratio_text'] = asdict(Ratio.of(*runs)), str(Ratio.of(*runs))
    return result


def measure_inference(cfgs: list[Config], args: argparse.Namespace) -> dict:
    """Images a second of the network that answers, pre- and postprocessing included."""
    device = torch.device(get_device())
    steps, about = [], []
    for cfg in cfgs:
        cfg = copy.deepcopy(cfg)
        untrained(cfg.model)
        init_default_scope('mmseg')
        model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(device).eval()
        crop = (args.crop, args.crop) if args.crop else find_crop(cfg)
        count = args.batch_size[0] if args.batch_size else 1
        items = RandomImages([count], crop, model.num_classes, plain=True).items
        batch = {key: [item[key] for item in items] for key in ('inputs', 'data_samples')}

        def answer(model: nn.Module = model, batch: dict = batch) -> None:
            with torch.no_grad():
                model.test_step(copy.copy(batch))

        steps.append(answer)
        about.append(f'{cfg.filename}; batch {count}, {crop[0]} x {crop[1]}')
    result = measure_pair(('A', 'B')[: len(steps)], steps, device, args)
    result['about'] = about
    result['images_per_second'] = {
        name: count / seconds for name, seconds in result['seconds'].items()
    }
    result['memory'] = [asdict(trace_memory(step, device)) for step in steps]
    return result


def print_inference(result: dict) -> None:
    for (letter, speed), about, memory in zip(
        result['images_per_second'].items(), result['about'], result['memory'], strict=True
    ):
        print(
            f'{letter}: {about}: {speed:.3f} images a second, {memory["rise"] / MIB:.1f} MiB above the weights'
        )
    if 'ratio' in result:
        print(f'A / B: time {result["ratio_text"]}')


def measure_teacher(step: TrainingStep, args: argparse.Namespace) -> dict:
    """The teacher's update against one fused lerp over its parameters and its floating-point buffers."""
    runner, model = step.runner, step.runner.model
    hook = next((hook for hook in runner.hooks if isinstance(hook, MeanTeacherHook)), None)
    if hook is None or model.teacher is None or model.recipe.weights != 'ema':
        raise SetupError(
            "--measure teacher needs a config with model.teacher.weights='ema' and MeanTeacherHook"
        )
    into, source = (
        [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]
        for network in (model.teacher, model.student)
    )

    def fused() -> None:
        with torch.no_grad():
            torch._foreach_lerp_(into, source, 0.001)

    result = measure_pair(
        ('hook', 'lerp'),
        [lambda: MeanTeacherHook.after_train_iter(hook, runner, 0), fused],
        step.device,
        args,
    )
    result.update(config=step.about['config'], tensors=len(into), bytes=stored_bytes(into))
    return result


def print_teacher(result: dict) -> None:
    hook, lerp = (result['seconds'][name] * 1e3 for name in ('hook', 'lerp'))
    print(
        f'{result["config"]}: {result["tensors"]} tensors, {result["bytes"] / MIB:.1f} MiB\n'
        f'MeanTeacherHook {hook:.2f} ms, one fused lerp {lerp:.2f} ms\n'
        f'hook / lerp: {result["ratio_text"]}'
    )


def measure_flow(step: TrainingStep, args: argparse.Namespace) -> dict:
    """Negative log-likelihood and its gradient on the samples of one step, half of them labelled."""
    objective = next((o for o in step.runner.model.objectives if hasattr(o, 'estimator')), None)
    if objective is None:
        raise SetupError(
            '--measure flow needs a config with a density, such as those of configs/ddfp/'
        )
    density, count = objective.density, objective.samples
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, density.channels, generator=generator).to(step.device)
    components = torch.randint(0, density.num_components, (count,), generator=generator)
    components[count // 2 :] = UNLABELED
    components = components.to(step.device)

    def fit() -> None:
        with density.trainable():
            torch.autograd.grad(density.nll(x, components), [*density.parameters()])

    result = measure_pair(('flow',), [fit], step.device, args)
    result.update(
        config=step.about['config'],
        size=[count, density.num_components, density.channels],
        memory=asdict(trace_memory(fit, step.device)),
        bytes_nkc=4 * count * density.num_components * density.channels,
        flops=sum(count_flops(fit).values()),
    )
    return result


def print_flow(result: dict) -> None:
    n, k, c = result['size']
    memory = Memory(**result['memory'])
    largest = (
        '' if memory.largest is None else f'largest allocation {memory.largest / MIB:.1f} MiB, '
    )
    print(
        f'{result["config"]}: {n} features of {c} channels, {k} components\n'
        f'likelihood and gradient {result["seconds"]["flow"] * 1e3:.1f} ms, {result["flops"] / 1e9:.1f} GFLOP; {largest}'
        f'peak {memory.rise / MIB:.1f} MiB above the samples\n'
        f'(one N x K x C tensor would have {result["bytes_nkc"] / MIB:.1f} MiB)'
    )


def contrast_views(step: TrainingStep, args: argparse.Namespace) -> StepViews:
    """Random maps at a quarter of the crop, and a label map in which the present classes are equally frequent."""
    model = step.runner.model
    objective = next(o for o in model.objectives if isinstance(o, DGCLObjective))
    (number_l, number_u), crop = step.about['batch'], step.about['crop']
    side = tuple(-(-length // 4) for length in crop)
    generator = torch.Generator().manual_seed(0)
    present = args.present or model.num_classes

    def maps(number: int, channels: int) -> Tensor:
        return torch.randn(number, channels, *side, generator=generator).to(step.device)

    def outputs(number: int) -> StudentOutputs:
        empty = torch.empty(0)
        features = maps(number, objective.bank.features.shape[2]).relu_()
        projection = maps(number, objective.bank.embeddings.shape[2]).requires_grad_()
        return StudentOutputs((), empty, empty, features, empty, projection=projection)

    logits = maps(number_u, model.num_classes)
    logits[:, present:] -= 100
    label = torch.randint(0, present, (number_l, *crop), generator=generator)
    valid = torch.ones(number_u, *crop, dtype=torch.bool, device=step.device)
    batch = Batch(
        img_l=torch.empty(0),
        label_l=label.to(step.device),
        unlabeled=UnlabeledBatch(torch.empty(0), torch.empty(0), valid),
        iteration=step.about['iteration'],
        time=step.about['iteration'] / model.iters_per_epoch,
        generator=generator,
    )
    return StepViews(
        batch,
        TeacherViews(TeacherOutputs(logits)),
        StudentViews(labeled=outputs(number_l), weak=outputs(number_u)),
    )


def measure_contrast(step: TrainingStep, args: argparse.Namespace) -> dict:
    """Everything that DGCL's objective does in a step, with full banks."""
    model = step.runner.model
    objective = next((o for o in model.objectives if isinstance(o, DGCLObjective)), None)
    if objective is None:
        raise SetupError(
            '--measure contrast needs a config with a DGCLObjective, such as those of configs/dgcl/'
        )
    views = contrast_views(step, args)
    maps = (views.student.labeled, views.student.weak)

    def contrast() -> None:
        for rows in maps:
            rows.projection.grad = None
        with part('loss'):
            loss = objective.compute(views)['loss']
        with part('backward'):
            loss.backward()
        objective.after_step(views)
        for rows in maps:
            rows.projection.grad = None

    def timed() -> dict[str, float]:
        with Meter(clock(step.device, args.cpu_time)) as meter:
            contrast()
        return meter.sums

    (runs,) = interleave([timed], args.iters, args.warmup)
    labels = objective.label_map(views)
    pixels = torch.bincount(labels[labels != IGNORE], minlength=model.num_classes)
    bank = objective.bank
    return dict(
        config=step.about['config'],
        seconds=statistics.median(sum(run.values()) for run in runs),
        parts={name: statistics.median(run[name] for run in runs) for name in in_order(runs)},
        flops=sum(count_flops(contrast).values()),
        memory=asdict(trace_memory(contrast, step.device)),
        bank=[*bank.features.shape],
        bytes_bank=stored_bytes(bank.state_dict().values()),
        grid=[*views.student.labeled.features.shape[2:]],
        batch=step.about['batch'],
        present=int((pixels > 0).sum()),
        labeled_pixels=int(pixels.sum()),
        bfloat16_error=bfloat16_error(objective, views),
        runs=runs,
    )


@torch.no_grad()
def bfloat16_error(objective: nn.Module, views: StepViews, count: int = 1000) -> dict[str, float]:
    """What rounding the bank's rows to bfloat16 changes in the densities of one class's features."""
    rows = views.student.labeled.features[0].flatten(1).T[:count].contiguous()
    bank = objective.bank.features[-1].float()
    exact, rounded = (
        knn_density(rows, own, objective.bank.scales) for own in (bank, bank.bfloat16())
    )
    sparse = min(objective.anchors, len(rows))
    sets = [set(d.argsort()[:sparse].tolist()) for d in (exact, rounded)]
    return dict(
        largest=float((exact - rounded).abs().max()),
        spread=float(exact.std()),
        same_anchors=len(sets[0] & sets[1]) / sparse,
    )


def print_contrast(result: dict) -> None:
    memory, (k, m, c) = Memory(**result['memory']), result['bank']
    print(
        f'{result["config"]}: {k} classes x {m} x {c}, {result["bytes_bank"] / MIB:.1f} MiB; maps of '
        f'{" + ".join(map(str, result["batch"]))} x {result["grid"][0]} x {result["grid"][1]}, '
        f'{result["labeled_pixels"]} pixels of {result["present"]} classes\n'
        f'{result["seconds"] * 1e3:.1f} ms, {result["flops"] / 1e9:.1f} GFLOP: '
        + ', '.join(f'{name} {value * 1e3:.1f}' for name, value in result['parts'].items())
        + f'\npeak {memory.rise / MIB:.1f} MiB above banks and maps'
    )
    error = result['bfloat16_error']
    print(
        f'bank in bfloat16: densities off by at most {error["largest"]:.1e} (their deviation: {error["spread"]:.1e}), '
        f'{100 * error["same_anchors"]:.1f} % of the anchors the same'
    )


def measure_auxiliary(step: TrainingStep, args: argparse.Namespace) -> dict:
    """CCT's consistency on random features and predictions, with its backward pass, in both forms.

    The plain loop runs each decoder by itself on its own copy of the features, and one backward pass behind them all.
    """
    model = step.runner.model
    objective = next((o for o in model.objectives if isinstance(o, CCTObjective)), None)
    if objective is None:
        raise SetupError(
            '--measure auxiliary needs a config with a CCTObjective, such as those of configs/cct/'
        )
    count, crop = step.about['batch'][-1], step.about['crop']
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.eval()
        probe = model.student.extract_feat(torch.zeros(1, 3, 64, 64, device=step.device))
        fused = model.stages.embed(probe)
        answer = model.stages.finish(model.stages.lift(fused)).logits
        model.train()
    cells = [-(-side * fused.shape[2] // 64) for side in crop]
    pixels = [side * answer.shape[2] // fused.shape[2] for side in cells]
    z = torch.randn(count, fused.shape[1], *cells, generator=generator).abs().to(step.device)
    # blocks of a few cells, as a network's answer has
    blocks = torch.randn(
        count, answer.shape[1], *(side // 4 + 1 for side in cells), generator=generator
    )
    logits = F.interpolate(8 * blocks, pixels, mode='bilinear').to(step.device)
    z.requires_grad_()
    valid = torch.ones(count, *crop, dtype=torch.bool, device=step.device)

    def views() -> StepViews:
        batch = Batch(
            img_l=z,
            label_l=valid,
            unlabeled=UnlabeledBatch(z, z, valid),
            generator=torch.Generator().manual_seed(0),
        )
        return StepViews(batch, student=StudentViews(weak=StudentOutputs((), z, z, z, logits)))

    def finish(loss: Tensor) -> None:
        loss.backward()
        z.grad = None
        objective.zero_grad(set_to_none=True)

    def ours() -> None:
        finish(objective.compute(views())['loss'])

    def loop() -> None:
        finish(plain_loop(objective, views(), tuple(crop)))

    forms = {'objective': ours} if args.alone else {'objective': ours, 'plain loop': loop}
    result = measure_pair(tuple(forms), [*forms.values()], step.device, args)
    result.update(
        config=step.about['config'],
        images=count,
        crop=crop,
        decoders=sum(objective.counts),
        memory={name: asdict(trace_memory(run, step.device)) for name, run in forms.items()},
        flops={name: sum(count_flops(run).values()) for name, run in forms.items()},
    )
    return result


def plain_loop(objective: CCTObjective, views: StepViews, crop: tuple[int, int]) -> Tensor:
    """CCT's loss as the paper writes it, for MSE without a mask: K decoders on K perturbed copies of the features."""
    outputs, generator = views.student.weak, views.batch.generator
    z, target = outputs.fused, outputs.logits.softmax(dim=1)
    guidance = Guidance(outputs.logits, generator, crop, objective.background_classes)
    total = 0.0
    for module, decoders in zip(objective.perturbations, objective.decoders, strict=True):
        draw = None
        if not isinstance(module, VirtualAdversarial):
            draw = module.draw(z, guidance, len(decoders))
        for k in range(len(decoders)):

            def decode(x: Tensor, decoders=decoders, k: int = k) -> Tensor:
                x = F.conv2d(x, decoders.project[k, :, :, None, None])
                for weight, bias in zip(decoders.weights, decoders.biases, strict=True):
                    x = F.pixel_shuffle(F.conv2d(x, weight[k, :, :, None, None], bias[k]).relu(), 2)
                return x

            guidance.decode = decode
            moved = module(z, guidance) if draw is None else draw.apply(z, k)
            scores = decode(moved)
            if scores.shape[2:] != target.shape[2:]:
                target = F.interpolate(target, scores.shape[2:], mode='bilinear')
            total = total + F.mse_loss(scores.softmax(dim=1), target)
    return total / sum(objective.counts)


def print_auxiliary(result: dict) -> None:
    print(
        f'{result["config"]}: {result["decoders"]} decoders, {result["images"]} images, crop '
        f'{result["crop"][0]} x {result["crop"][1]}'
    )
    for name, seconds in result['seconds'].items():
        rise = result['memory'][name]['rise'] / MIB / result['images']
        print(
            f'{name:11s} {seconds * 1e3:10.1f} ms, {result["flops"][name] / 1e9:8.1f} GFLOP, peak {rise:8.1f} MiB an image'
        )
    if 'ratio' in result:
        print(f'objective / plain loop: time {result["ratio_text"]}')


def measure_graphs(cfg: Config, args: argparse.Namespace) -> dict:
    """One round with its backward pass on random logits and features of one image, in both forms."""
    device = torch.device(get_device())
    init_default_scope('mmseg')
    head = revert_sync_batchnorm(MODELS.build(cfg.model.student.decode_head)).to(device)
    if not len(getattr(head, 'rounds', ())):
        raise SetupError(
            '--measure graphs needs a config with rounds of label correction, such as those of configs/mllc/'
        )
    one, (height, width) = head.rounds[0], args.grid
    generator = torch.Generator().manual_seed(0)
    # blocks of a few cells, as the answers of a network have
    small = height // 4 + 1, width // 4 + 1
    level = Level(
        *(
            F.interpolate(
                torch.randn(1, channels, *small, generator=generator),
                (height, width),
                mode='nearest',
            )
            .add(0.3 * torch.randn(1, channels, height, width, generator=generator))
            .to(device)
            .requires_grad_()
            for channels in (head.num_classes, head.embedding_channels)
        )
    )
    thresholds = torch.full((head.num_classes,), 0.5, dtype=torch.float64, device=device)

    def run(form: Callable) -> None:
        out = form(one, level, thresholds)
        with part('backward'):
            (out.logits.sum() + out.features.sum()).backward()
        for tensor in level:
            tensor.grad = None
        head.zero_grad()

    forms = {'lists': GraphRound.forward, 'dense': dense_round}
    steps = [partial(run, form) for form in forms.values()]
    result = measure_pair(tuple(forms), steps, device, args)
    result.update(
        config=cfg.filename,
        grid=[height, width],
        top_k=one.top_k,
        memory={n: asdict(trace_memory(s, device)) for n, s in zip(forms, steps, strict=True)},
        flops={n: sum(count_flops(s).values()) for n, s in zip(forms, steps, strict=True)},
    )
    return result


def dense_round(one: GraphRound, level: Level, thresholds: Tensor) -> Level:
    """A round as the released code of MLLC computes it: square matrices, sorted whole and multiplied with diagonal ones."""
    size = level.logits.shape[2:]
    p, f = (to_nodes(maps)[0] for maps in level)

    def normalised(a: Tensor) -> Tensor:
        root = torch.diag((a.sum(dim=1) + 1e-10) ** -0.5)
        return root @ a @ root

    with torch.no_grad():
        confidence, own = p.softmax(dim=1).max(dim=1)
        sure = confidence >= thresholds[own]
        unit = f / (f.norm(dim=1, keepdim=True) + 1e-9)
        similarity = (unit @ unit.T).clamp(min=0)
        cut = similarity.sort(dim=1, descending=True).values[:, one.top_k]
        kept = torch.where(similarity >= cut[:, None], similarity, 0.0)
        semantic = normalised(kept + kept.T)
    share = torch.where(sure, one.blend_reliable, one.blend_unreliable)[:, None]
    blended = share * (semantic @ p) + (1 - share) * p
    refined = one.class_layer(to_maps(blended[None], size))
    with torch.no_grad():
        q = to_nodes(refined)[0].softmax(dim=1)
        q = q / (q.norm(dim=1, keepdim=True) + 1e-9)
        hot = F.one_hot(own, p.shape[1]).to(q.dtype)
        classes = normalised((q @ q.T) * (hot @ hot.T))
    return Level(refined, one.feature_layer(to_maps((classes @ f)[None], size)))


def print_graphs(result: dict) -> None:
    height, width = result['grid']
    print(
        f'{result["config"]}: a round on {height} x {width} nodes, {result["top_k"]} neighbours, with its backward pass'
    )
    for name, seconds in result['seconds'].items():
        memory = Memory(**result['memory'][name])
        print(
            f'{name:5s} {seconds * 1e3:10.1f} ms, {result["flops"][name] / 1e9:9.2f} GFLOP, peak {memory.rise / MIB:8.1f} MiB'
        )
    print(f'lists / dense: time {result["ratio_text"]}')


# -- main --------------------------------------------------------------------------------------


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """Where and with what the numbers came about."""
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith('model name')]
        cpu = lines[0].partition(':')[2].strip() if lines else cpu
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return dict(
        cpu=cpu,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=gpu,
        torch=torch.__version__,
        mmseg_semi=__version__,
        python=platform.python_version(),
        seconds='computed' if args.cpu_time else 'passed',
        date=date.today().isoformat(),
    )


def run(args: argparse.Namespace) -> dict:
    """Measure what the arguments ask for, print it, and return every number."""
    warnings.filterwarnings('ignore', category=UserWarning)  # of sizes and hooks, in every run
    if args.threads:
        torch.set_num_threads(args.threads)
    configs = [args.config, *([args.other] if args.other else [])]
    options = (args.cfg_options, args.cfg_options_b)
    cfgs = [launch.load_config(path, own) for path, own in zip(configs, options, strict=False)]
    names = [*configs]
    if args.measure == 'plain':
        crop = (args.crop, args.crop) if args.crop else find_crop(cfgs[0])
        cfgs.append(plain_config(cfgs[0], crop))
        names.append('the same network in plain MMSegmentation')
    result: dict[str, Any] = {'machine': machine(args), 'measure': args.measure}
    print(', '.join(f'{key} {value}' for key, value in result['machine'].items() if value))
    if args.measure == 'inference':
        result |= measure_inference(cfgs, args)
        print_inference(result)
        return result
    if args.measure == 'graphs':
        result |= measure_graphs(cfgs[0], args)
        print_graphs(result)
        return result
    with tempfile.TemporaryDirectory(prefix='mmseg_semi_') as folder:
        steps = [
            TrainingStep(cfg, args, name, f'{folder}/{letter}')
            for cfg, name, letter in zip(cfgs, names, 'ab', strict=False)
        ]
        if args.measure == 'teacher':
            result |= measure_teacher(steps[0], args)
            print_teacher(result)
        elif args.measure == 'flow':
            result |= measure_flow(steps[0], args)
            print_flow(result)
        elif args.measure == 'auxiliary':
            result |= measure_auxiliary(steps[0], args)
            print_auxiliary(result)
        elif args.measure == 'contrast':
            result |= measure_contrast(steps[0], args)
            print_contrast(result)
        else:
            result |= measure_steps(steps, args)
            print_steps(result)
    return result


@launch.tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    result = run(args)
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
