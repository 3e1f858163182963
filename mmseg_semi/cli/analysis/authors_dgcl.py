"""Time DGCL beside its authors' code: mmseg-semi authors-dgcl --repository PATH ...

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
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import yaml
from torch import nn

from mmseg_semi.cli.analysis.authors import (
    OneBatch,
    build_step,
    check_clone,
    images_of,
    importable,
    make_parser,
    one_cpu_process,
    report,
    run,
    stand_in,
    time_pair,
)
from mmseg_semi.cli.common import tool
from mmseg_semi.methods.dgcl.benchmarks.contrast import contrast_views
from mmseg_semi.methods.dgcl.class_order import order_by_class
from mmseg_semi.methods.dgcl.objective import DGCLObjective
from mmseg_semi.step.pixels import rows_of

CONFIG = 'mmseg_semi::dgcl/reference/voc_732.py'
SETTINGS = 'experiments/pascal/732/dgcl/config.yaml'
PARTS = ('loss', 'bank', 'step')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, CONFIG, PARTS)
    parser.add_argument('--map-crop', type=int, default=513, help='side of those of loss and bank')
    return parser.parse_args(arguments)


# -- the authors' code ---------------------------------------------------------------------------


class Authors:
    """The authors' modules.

    Args:
        repository: Folder of their clone.

    Raises:
        SetupError: If the folder does not hold their code.
    """

    def __init__(self, repository: Path) -> None:
        check_clone(
            repository,
            ('train_semi.py', 'dgcl/dgcl.py', SETTINGS),
            'https://github.com/Gavinwxy/DGCL',
            '1f3ea3f',
        )
        with importable(repository):
            stand_in('dgcl.dataset.builder', get_loader=None)
            self.contrast = importlib.import_module('dgcl.dgcl')
            self.training = importlib.import_module('train_semi')
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


# -- pairs ---------------------------------------------------------------------------------------


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
    labeled, labels, unlabeled = images_of(step)
    weak = unlabeled('weak')
    loaders = (
        OneBatch(labeled, labels),
        OneBatch(weak, torch.zeros(len(weak), *weak.shape[2:])),  # nothing is padding
    )
    theirs = authors.build_step(objective.bank, loaders, len(objective.bank.counts))
    return dict(ours=step, theirs=theirs)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time what the arguments ask for."""
    authors = Authors(args.repository)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix='mmseg_semi_') as folder:
        for name in args.measure:
            crop = args.crop if name == 'step' else args.map_crop
            step, objective = build_step(args, crop, f'{folder}/{name}', DGCLObjective)
            found = (
                step_of(authors, step, objective)
                if name == 'step'
                else parts_of(authors, step, objective)[name]
            )
            values = found.pop('values', {})
            batch = step.about['batch']
            result[name] = dict(time_pair(args, **found), batch=batch, crop=crop, values=values)
            last = ', '.join(f'{who} {value:.4f}' for who, value in values.items())
            report(
                f'{name}: {" + ".join(map(str, batch))} images of {crop} pixels',
                result[name],
                [f'last loss: {last}'] if last else [],
            )
    return result


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    run(args, lambda: measure(args))
