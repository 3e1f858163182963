"""Time DGCL beside its authors' code: python tools/analysis/authors_dgcl.py --repository PATH ...

PATH is a clone of https://github.com/Gavinwxy/DGCL at 1f3ea3f. Both run on the CPU in one process,
in interleaved pairs whose order alternates, on the same maps, class maps and images:

    loss   densities, loss and gradient on the maps of 2 + 2 images of 513 x 513 with full banks
    bank   one update of these banks
    step   a training step of 2 + 2 images of 129 x 129 with full banks: teacher, mixing, student,
           all losses, backward, optimiser, banks. Theirs is their function train() with their
           networks, ours is the iteration of the config, hooks included; weights are random

Theirs expects GPUs and several processes. Replaced while it runs: Tensor.cuda and Module.cuda return
their object; torch.distributed is that of one process; iterators of the loaders have next(). What
a step does not use is an empty module if it cannot be imported: tensorboardX, skimage, and their
loaders, which need torchvision. Their autocast and GradScaler switch themselves off without a GPU.
Nothing else is changed.
"""

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
import yaml
from torch import Tensor, nn

from mmseg_semi.cli import benchmark
from mmseg_semi.cli.common import CHECKOUT, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.methods.dgcl.benchmarks.contrast import contrast_views
from mmseg_semi.methods.dgcl.class_order import order_by_class
from mmseg_semi.methods.dgcl.objective import DGCLObjective
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.measuring import measure_calls
from mmseg_semi.step.pixels import rows_of

CONFIG = CHECKOUT / 'configs/dgcl/reference/voc_732.py'
SETTINGS = 'experiments/pascal/732/dgcl/config.yaml'
PARTS = ('loss', 'bank', 'step')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repository', type=Path, required=True, help="the authors' clone")
    parser.add_argument('--config', default=str(CONFIG), help='default: %(default)s')
    parser.add_argument('--measure', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--batch-size', type=int, nargs=2, default=[2, 2], metavar='N')
    parser.add_argument('--crop', type=int, default=129, help='side of the images of step')
    parser.add_argument('--map-crop', type=int, default=513, help='side of those of loss and bank')
    parser.add_argument('--iters', type=int, default=5, help='measured pairs; default 5')
    parser.add_argument('--warmup', type=int, default=1, help='pairs before them; default 1')
    parser.add_argument('--threads', type=int, default=1, help="PyTorch's CPU threads; default 1")
    parser.add_argument('--json', metavar='FILE', help='write all numbers, each run included')
    return parser.parse_args(arguments)


# -- the authors' code ---------------------------------------------------------------------------


@contextmanager
def one_cpu_process() -> Iterator[None]:
    """Replace what the authors' code asks of GPUs and of other processes."""
    alone = dict(
        get_rank=lambda: 0,
        get_world_size=lambda: 1,
        barrier=lambda: None,
        all_reduce=lambda tensor: None,
        all_gather=lambda tensors, tensor: tensors[0].copy_(tensor),
    )
    with ExitStack() as stack:
        for owner in (Tensor, nn.Module):
            stack.enter_context(mock.patch.object(owner, 'cuda', lambda self, *args: self))
        stack.enter_context(mock.patch.multiple(torch.distributed, **alone))
        yield


def stand_in(name: str, **attributes: Any) -> None:
    """Put an empty module in the place of one that cannot be imported."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module = ModuleType(name)
        vars(module).update(attributes)
        sys.modules[name] = module


class Authors:
    """The authors' modules.

    Args:
        repository: Folder of their clone.

    Raises:
        SetupError: If the folder does not hold their code.
    """

    def __init__(self, repository: Path) -> None:
        for name in ('train_semi.py', 'dgcl/dgcl.py', SETTINGS):
            if not (repository / name).is_file():
                raise SetupError(
                    f'--repository {repository} has no {name}: clone '
                    'https://github.com/Gavinwxy/DGCL and check out 1f3ea3f'
                )
        stand_in('tensorboardX', SummaryWriter=None)
        stand_in('skimage')
        stand_in('skimage.measure', label=None, regionprops=None)
        sys.path.insert(0, str(repository.resolve()))
        try:
            stand_in('dgcl.dataset.builder', get_loader=None)
            self.contrast = importlib.import_module('dgcl.dgcl')
            self.training = importlib.import_module('train_semi')
        finally:
            sys.path.pop(0)
        self.settings = yaml.safe_load((repository / SETTINGS).read_text())

    def fill(self, bank: nn.Module) -> Any:
        """Their memory with the rows of one of our banks."""
        classes, size, channels = bank.features.shape
        with one_cpu_process():
            memory = self.contrast.FeatureMemory(
                size, classes, channels, bank.embeddings.shape[2], list(bank.scales)
            )
        memory.fts_memory = [rows.float().clone() for rows in bank.features]
        memory.proj_memory = [rows.float().clone() for rows in bank.embeddings]
        memory.feat_density = [values.clone() for values in bank.densities]
        return memory

    def build_step(self, bank: nn.Module, loaders: tuple, num_classes: int) -> Callable[[], None]:
        """A call of their ``train()`` for one iteration, half-way through their schedule."""
        cfg = self.settings
        cfg['net'].update(num_classes=num_classes, sync_bn=False)
        cfg['net']['encoder']['kwargs']['pretrained'] = False
        self.training.cfg = cfg
        builder = importlib.import_module('dgcl.models.model_helper').ModelBuilder
        model, teacher = builder(cfg['net']), builder(cfg['net']).requires_grad_(False)
        optimizer = torch.optim.SGD(model.parameters(), **cfg['trainer']['optimizer']['kwargs'])
        memory = self.fill(bank)
        arguments = dict(
            model=model,
            model_teacher=teacher,
            optimizer=optimizer,
            lr_scheduler=SimpleNamespace(get_lr=lambda: [0.0], step=lambda: None),
            sup_loss_fn=self.training.get_criterion(cfg),
            loader_l=loaders[0],
            loader_u=loaders[1],
            epoch=cfg['trainer']['epochs'] // 2,
            tb_logger=mock.Mock(),
            logger=mock.Mock(),
            memobank=memory,
            scaler=self.training.GradScaler(),
        )

        def step() -> None:
            with one_cpu_process():
                self.training.train(**arguments)

        return step


class OneBatch:
    """A loader and its own iterator: always the same batch.

    Args:
        batch: What its iterator returns.
    """

    def __init__(self, *batch: Tensor) -> None:
        self.batch = batch
        self.sampler = SimpleNamespace(set_epoch=lambda epoch: None)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> 'OneBatch':
        return self

    def __next__(self) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in self.batch)

    next = __next__


# -- pairs ---------------------------------------------------------------------------------------


def build(args: argparse.Namespace, crop: int, folder: str) -> tuple[Any, DGCLObjective]:
    """The config's training step with full banks, and its objective."""
    options = ['--batch-size', *map(str, args.batch_size), '--crop', str(crop), '--cpu-time']
    own = benchmark.parse_args([args.config, *options])
    step = benchmark.Subject(configs.load_config(args.config, None), own, args.config, folder).step
    if step.device.type != 'cpu':
        raise SetupError('this comparison is one of the CPU: set CUDA_VISIBLE_DEVICES=-1')
    model = step.runner.model
    objective = next(
        (o for o in getattr(model, 'objectives', ()) if isinstance(o, DGCLObjective)), None
    )
    if objective is None:
        raise SetupError(f'--config {args.config} has no DGCLObjective')
    return step, objective


def parts_of(authors: Authors, step: Any, objective: DGCLObjective) -> dict[str, dict]:
    """Loss with gradient and bank update, both on the same maps and class map."""
    own = argparse.Namespace(present=None)
    views = contrast_views(step, own)
    student = (views.student.labeled, views.student.weak)
    labels = objective.label_map(views)
    features = torch.cat([maps.features for maps in student])
    projection = torch.cat([maps.projection.detach() for maps in student]).requires_grad_()
    grid = labels.view(len(features), *features.shape[2:])
    memory = authors.fill(objective.bank)
    losses: dict[str, float] = {}

    def our_loss() -> None:
        for maps in student:
            maps.projection.grad = None
        loss = objective.compute(views)['loss']
        loss.backward()
        losses['ours'] = float(loss)

    def their_loss() -> None:
        projection.grad = None
        with one_cpu_process():
            loss = authors.contrast.compute_dgcl_loss(
                projection,
                features,
                memory,
                grid,
                k_den_cal=list(objective.bank.scales),
                k_high_thresh=objective.positives,
                k_low_thresh=objective.anchors,
            )
            loss.backward()
        losses['theirs'] = float(loss)

    def our_update() -> None:
        pixels = order_by_class(labels, len(objective.bank.counts))
        rows = (
            rows_of(*(getattr(m, n).detach() for m in student)) for n in ('features', 'projection')
        )
        objective._keep_rows(pixels, *rows)
        objective.after_step(views)

    def their_update() -> None:
        with one_cpu_process():
            memory.update(features, projection.detach(), grid)

    return {
        'loss': dict(ours=our_loss, theirs=their_loss, values=losses),
        'bank': dict(ours=our_update, theirs=their_update),
    }


def step_of(authors: Authors, step: Any, objective: DGCLObjective) -> dict[str, Any]:
    """A whole step on the same images and labels."""
    items = step.runner.train_dataloader.dataset.items
    labeled, unlabeled = step.about['batch']

    def images(view: str, which: list) -> Tensor:
        return (torch.stack([item['inputs'][view] for item in which]).float() - 118) / 58

    labels = [item['data_samples']['labeled'].gt_sem_seg.data[0] for item in items[:labeled]]
    weak = images('weak', items[labeled:])
    loaders = (
        OneBatch(images('labeled', items[:labeled]), torch.stack(labels).long()),
        OneBatch(weak, torch.zeros(unlabeled, *weak.shape[2:])),  # nothing is padding
    )
    theirs = authors.build_step(objective.bank, loaders, len(objective.bank.counts))
    return dict(ours=step, theirs=theirs)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time what the arguments ask for."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    authors = Authors(args.repository)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix='mmseg_semi_') as folder:
        for name in args.measure:
            crop = args.crop if name == 'step' else args.map_crop
            step, objective = build(args, crop, f'{folder}/{name}')
            found = (
                step_of(authors, step, objective)
                if name == 'step'
                else parts_of(authors, step, objective)[name]
            )
            values = found.pop('values', {})
            result[name] = dict(
                measure_calls(found, step.device, args.iters, args.warmup, cpu_time=True),
                batch=step.about['batch'],
                crop=crop,
                values=values,
            )
            report(name, result[name])
    return result


def report(name: str, result: dict[str, Any]) -> None:
    """Print one comparison."""
    print(f'{name}: {" + ".join(map(str, result["batch"]))} images of {result["crop"]} pixels')
    for who, runs in result['runs'].items():
        low, middle, high = statistics.quantiles(runs, n=4) if len(runs) > 1 else 3 * runs
        print(f'  {who:6s} {middle * 1e3:10.1f} ms, quartiles {low * 1e3:.1f} and {high * 1e3:.1f}')
    print(f'  ours / theirs: {result["ratio_text"]}')
    if result['values']:
        print('  last loss: ' + ', '.join(f'{k} {v:.4f}' for k, v in result['values'].items()))


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of autocast and GradScaler without a GPU, in every run
        machine = argparse.Namespace(cpu_time=True)
        torch.set_num_threads(args.threads)
        about = benchmark.machine(machine)
        print(', '.join(f'{key} {value}' for key, value in about.items() if value))
        result = dict(machine=about, **measure(args))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1))
