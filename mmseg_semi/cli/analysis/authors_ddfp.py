"""Time DDFP beside its authors' code: mmseg-semi authors-ddfp --repository PATH ...

PATH is a clone of https://github.com/Gavinwxy/DDFP at 7956c72; its flow needs `pip install FrEIA`.
Both run on the CPU in one process, in interleaved pairs whose order alternates, on equal inputs:

    flow          likelihood and gradient of 20,480 features of 256 channels under 21 components
    perturbation  the move down the density of 2 x 304 x 65 x 65 decoder inputs, a quarter of the
                  pixels without a pseudo-label. Ours is given the output of the decoder's first
                  convolution, which a step has already; theirs computes it again
    step          a training step of 2 + 2 images of 129 x 129, all objectives at work: teacher,
                  mixing, student, losses, backward, optimiser, flow, teacher's update. Theirs is
                  their function train() with their networks, ours is the iteration of the config,
                  hooks included; weights are random, and every unlabelled pixel has a pseudo-label

In flow and perturbation both sides have the same weights, and what they return is compared, without
dropout. In step each side draws its own weights and boxes of CutMix, so only images, labels and the
number of samples of the flow are equal: as many to the batch's feature pixels as the recipe's
20,480 are to those of 4 + 4 images of 513 x 513.

Theirs expects GPUs and several processes. Replaced while it runs: Tensor.cuda and Module.cuda return
their object; torch.distributed is that of one process; iterators of the loaders have next(); the
draw of the flow's samples ends at the number above, which is a literal in their code; no weights are
read from files; the threshold is 0. What a step does not use is an empty module if it cannot be
imported: tensorboardX, skimage, torchvision, and their loaders. Their autocast and GradScaler switch
themselves off without a GPU. Nothing else is changed.
"""

import argparse
import importlib
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
import yaml
from torch import Tensor, nn

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
from mmseg_semi.cli.benchmark.training_step import mark
from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.ddfp.mixture import UNLABELED, MixtureDensity
from mmseg_semi.methods.ddfp.objective import DDFPObjective
from mmseg_semi.runtime.measuring import Meter, clock, count_flops, in_order
from mmseg_semi.step.parts import part
from mmseg_semi.step.pixels import nearest

CONFIG = 'mmseg_semi::ddfp/voc_732.py'
SETTINGS = 'exp/pascal/732/exp/config.yaml'
PARTS = ('flow', 'perturbation', 'step')
THEIR_UNLABELED = 300
RECIPE_SAMPLES, RECIPE_PIXELS = 20480, (4 + 4) * 129 * 129


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, CONFIG, PARTS)
    parser.add_argument('--samples', type=int, default=20480, help='those of flow')
    parser.add_argument('--map-side', type=int, default=65, help='side of the maps of perturbation')
    parser.add_argument(
        '--by-part', action='store_true', help='also take one more step of each side by part'
    )
    return parser.parse_args(arguments)


# -- the authors' code ---------------------------------------------------------------------------


class Authors:
    """The authors' modules.

    Args:
        repository: Folder of their clone.

    Raises:
        SetupError: If the folder does not hold their code, or without FrEIA.
    """

    def __init__(self, repository: Path) -> None:
        check_clone(
            repository,
            ('train_ddfp_pascal.py', 'model/flow/model.py', SETTINGS),
            'https://github.com/Gavinwxy/DDFP',
            '7956c72',
        )
        with importable(repository):
            stand_in('torchvision', transforms=None)
            stand_in('dataset.builder', get_loader=None)
            try:
                self.flows = importlib.import_module('model.flow.model')
            except ModuleNotFoundError as error:
                if error.name != 'FrEIA':
                    raise
                raise SetupError("the authors' flow needs FrEIA: pip install FrEIA") from error
            self.priors = importlib.import_module('model.flow.distributions')
            self.losses = importlib.import_module('model.flow.loss')
            self.decoders = importlib.import_module('model.model.decoder')
            self.networks = importlib.import_module('model.model.model_helper')
            self.training = importlib.import_module('train_ddfp_pascal')
        self.settings = yaml.safe_load((repository / SETTINGS).read_text())
        self.settings['trainer']['thresh'] = 0.0

    def build_flow(self, density: MixtureDensity) -> tuple[nn.Module, nn.Module]:
        """Their flow and its loss, with the weights of our density."""
        flow = density.flow
        self.settings['flow'].update(
            input_dims=density.channels,
            layer_dims=flow.blocks[0].subnet_first[0].out_features,
            n_blocks=len(flow.blocks),
            n_components=density.num_components,
        )
        state = np.random.get_state()  # their permutations reseed NumPy's global generator
        theirs = self.flows.RNVP(self.settings, density.means.clone(), learnable_mean=True)
        np.random.set_state(state)
        couplings = [module for module in theirs.modules() if hasattr(module, 'subnet1')]
        for ours, block in zip(flow.blocks, couplings, strict=True):
            # the first of our subnets moves the first half, like the second of theirs
            block.subnet2.load_state_dict(ours.subnet_first.state_dict())
            block.subnet1.load_state_dict(ours.subnet_second.state_dict())
        with one_cpu_process():
            return theirs, self.losses.FlowLoss(self.priors.FastGMM(theirs.means))

    def build_classifier(self, head: nn.Module) -> nn.Module:
        """Their decoder's last stage with the weights of our head."""
        decoder = self.decoders.dec_deeplabv3_plus(
            in_planes=head.in_channels[1], num_classes=head.num_classes
        )
        stage = decoder.classifier
        for index in (1, 2):
            convolution, norm = stage[4 * (index - 1)], stage[4 * (index - 1) + 1]
            convolution.load_state_dict(getattr(head, f'conv{index}').state_dict())
            auxiliary = getattr(head, f'aux_norm{index}')
            norm.aux_bn.load_state_dict(auxiliary.state_dict(), strict=False)  # no statistics
        return stage

    def build_network(self, num_classes: int) -> nn.Module:
        plain = partial(self.networks.resnet101, pretrained=False)
        with mock.patch.object(self.networks, 'resnet101', plain):
            return self.networks.ModelBuilder(num_classes)

    def build_step(
        self, density: MixtureDensity, loaders: tuple, samples: int
    ) -> Callable[[], None]:
        """A call of their ``train()`` for one iteration, half-way through their schedule."""
        self.training.cfg = cfg = self.settings
        num_classes = density.num_components
        model, teacher = self.build_network(num_classes), self.build_network(num_classes)
        teacher.requires_grad_(False)
        flow, flow_loss = self.build_flow(density)
        sgd = cfg['trainer']['optimizer']['kwargs']
        groups = [
            dict(params=model.encoder.parameters(), lr=sgd['lr']),
            dict(params=model.decoder.parameters(), lr=10 * sgd['lr']),
        ]
        adam = torch.optim.Adam(flow.parameters(), lr=cfg['flow']['lr'], betas=(0.5, 0.9))
        arguments = dict(
            model=model,
            model_teacher=teacher,
            nf_model=flow,
            optimizer=torch.optim.SGD(groups, **sgd),
            optimizer_nf=adam,
            lr_scheduler=SimpleNamespace(get_lr=lambda: [0.0], step=lambda: None),
            lr_scheduler_nf=SimpleNamespace(step=lambda: None),
            loss_flow=flow_loss,
            sup_loss_fn=self.training.get_criterion(cfg),
            loader_l=loaders[0],
            loader_u=loaders[1],
            epoch=cfg['trainer']['epochs'] // 2,
            tb_logger=mock.Mock(),
            logger=mock.Mock(),
            scaler=self.training.GradScaler(),
            scaler_nf=self.training.GradScaler(),
        )

        mark(model, 'forward', 'student')
        mark(teacher, 'forward', 'teacher')
        mark(flow, 'forward', 'flow')
        mark(flow_loss, 'forward', 'flow')
        mark(arguments['optimizer'], 'step', 'optimiser')
        mark(adam, 'step', 'flow')
        mark_backward(arguments['scaler'], 'backward')
        mark_backward(arguments['scaler_nf'], 'flow')
        attack = self.decoders.attack

        def direction(*args: Any) -> Tensor:
            with part('direction'):
                return attack(*args)

        def choose(number: int, size: int, replace: bool) -> np.ndarray:
            return np.random.choice(number, min(size, samples), replace)

        numpy = SimpleNamespace(random=SimpleNamespace(choice=choose))

        def step() -> None:
            with (
                one_cpu_process(),
                mock.patch.object(self.training, 'np', numpy),
                mock.patch.object(self.decoders, 'attack', direction),
            ):
                self.training.train(**arguments)

        return step


def mark_backward(scaler: Any, name: str) -> None:
    """Mark the backward pass of what a GradScaler returns as a part of the step."""
    scale = scaler.scale

    def marked(loss: Tensor) -> Tensor:
        loss = scale(loss)
        mark(loss, 'backward', name)
        return loss

    scaler.scale = marked


# -- pairs ---------------------------------------------------------------------------------------


def flow_of(
    authors: Authors, objective: DDFPObjective, args: argparse.Namespace
) -> tuple[Callable, Callable, list[str]]:
    """Likelihood and gradient on the same features, half of them labelled; and how they differ."""
    density = objective.density
    theirs, flow_loss = authors.build_flow(density)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(args.samples, density.channels, generator=generator)
    components = torch.randint(0, density.num_components, (args.samples,), generator=generator)
    components[args.samples // 2 :] = UNLABELED
    labels = components.masked_fill(components == UNLABELED, THEIR_UNLABELED)

    def our_fit() -> tuple[Tensor, Tensor]:
        with density.trainable():
            nll = density.nll(x, components)
            means, *_ = torch.autograd.grad(nll, [density.means, *density.flow.parameters()])
        return nll.detach(), means

    def their_fit() -> tuple[Tensor, Tensor]:
        theirs.zero_grad()
        z, logdet = theirs(x)
        nll, _, _ = flow_loss(z, sldj=logdet, y=labels)
        nll.backward()
        return nll.detach(), theirs.means.grad

    (ours, gradient), (other, expected) = our_fit(), their_fit()
    off = (gradient - expected).norm() / expected.norm()
    return (
        our_fit,
        their_fit,
        [
            f'negative log-likelihood: ours {ours:.6f}, theirs {other:.6f}',
            f'gradient of the means: relative difference {off:.1e}',
        ],
    )


def perturbation_of(
    authors: Authors, step: Any, objective: DDFPObjective, args: argparse.Namespace
) -> tuple[Callable, Callable, list[str]]:
    """The perturbation of the same decoder inputs; and how the results differ."""
    head = step.runner.model.student.decode_head
    classifier = authors.build_classifier(head)
    flow, flow_loss = authors.build_flow(objective.density)
    generator = torch.Generator().manual_seed(0)
    side = args.map_side
    shape = args.batch_size[1], head.fused_channels, side, side
    fused = torch.randn(shape, generator=generator).relu_()
    labels = torch.randint(0, head.num_classes, (shape[0], 4 * side, 4 * side), generator=generator)
    labels[:, :, :side] = IGNORE
    # as in a step: in our memory format, and behind the first convolution
    own = fused.contiguous(memory_format=torch.channels_last)
    lifted = head.lift(own).detach()

    def ours() -> Tensor:
        confident = nearest(labels, lifted.shape[2:]) != IGNORE
        return objective.perturbation(own, lifted, confident)

    def theirs() -> Tensor:
        return authors.decoders.attack(
            fused, labels, classifier, None, flow, flow_loss, authors.settings, objective.eps
        )

    dropouts = [module for module in classifier if isinstance(module, nn.Dropout2d)]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(head, 'dropout_ratio', 0.0))
        for module in dropouts:
            stack.enter_context(mock.patch.object(module, 'p', 0.0))
        found, expected = ours(), theirs()
    off = (found - expected).norm(dim=1) / objective.eps
    return (
        ours,
        theirs,
        [
            'perturbation, difference over its length: '
            f'median {off.median():.1e}, largest {off.max():.1e}'
        ],
    )


def step_of(
    authors: Authors, step: Any, objective: DDFPObjective
) -> tuple[Callable, Callable, list[str]]:
    """A whole step on the same images and labels."""
    labeled, labels, unlabeled = images_of(step)
    weak, strong = unlabeled('weak'), unlabeled('strong')
    padding = torch.zeros(len(weak), *weak.shape[2:], dtype=torch.long)  # nothing is padding
    pixels = (len(labeled) + len(weak)) * int(np.prod([-(-n // 4) for n in weak.shape[2:]]))
    objective.samples = round(RECIPE_SAMPLES * pixels / RECIPE_PIXELS)
    loaders = OneBatch(labeled, labels), OneBatch(weak, strong, padding)
    theirs = authors.build_step(objective.density, loaders, objective.samples)
    return step, theirs, [f'{objective.samples} samples of the flow of {pixels} pixels']


def by_part(step: Callable[[], object]) -> dict[str, dict[str, float]]:
    """Seconds and GFLOP of two further steps by part."""
    with Meter(clock(torch.device('cpu'), cpu_time=True)) as meter:
        step()
    flops = count_flops(step)
    return {
        name: dict(seconds=meter.sums.get(name, 0.0), gflop=flops.get(name, 0) / 1e9)
        for name in in_order([meter.sums, flops])
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time what the arguments ask for."""
    authors = Authors(args.repository)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix='mmseg_semi_') as folder:
        step, objective = build_step(args, args.crop, folder, DDFPObjective)
        batch = ' + '.join(map(str, args.batch_size))
        titles = dict(
            flow=f'flow: {args.samples} features',
            perturbation=f'perturbation: maps of {args.map_side} x {args.map_side}',
            step=f'step: {batch} images of {args.crop} pixels',
        )
        for name in args.measure:
            if name == 'flow':
                ours, theirs, notes = flow_of(authors, objective, args)
            elif name == 'perturbation':
                ours, theirs, notes = perturbation_of(authors, step, objective, args)
            else:
                ours, theirs, notes = step_of(authors, step, objective)
            result[name] = dict(time_pair(args, ours, theirs), notes=notes)
            report(titles[name], result[name], notes)
            if name == 'step' and args.by_part:
                result['parts'] = dict(ours=by_part(ours), theirs=by_part(theirs))
                for who, parts in result['parts'].items():
                    print(f'  {who}, one step by part')
                    for which, own in parts.items():
                        print(
                            f'    {which:28s} {own["seconds"] * 1e3:8.0f} ms {own["gflop"]:8.1f} GFLOP'
                        )
    return result


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    run(args, lambda: measure(args))
