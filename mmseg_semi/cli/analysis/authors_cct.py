"""Time CCT beside its authors' code: mmseg-semi authors-cct --repository PATH ...

PATH is a clone of https://github.com/yassouali/CCT at 65d4e5b. In one process and in turn, each
round in the opposite order of the one before, the command runs forward and backward

    ours       CCTObjective, with the released thirty decoders
    authors    their auxiliary decoders, with the same weights, features and predictions
    floor      the matrix products of ours alone, on memory that is there already

and prints medians, quartiles and ratios of the seconds that this process computed. With --step it
also runs training steps: configs/cct/voc_1464_r50.py in MMEngine's loop, and their network, losses
and SGD in a loop of five lines.

Nothing of the repository is changed, and its pretrained weights are not used. Only their trainer
calls CUDA (`.cuda()` on images and labels), and it is not imported, so no CUDA call has to be
replaced. Replaced are the packages `base` (its BaseModel is an nn.Module) and `utils.helpers`
(unused functions), which import torchvision and others. Of `utils/losses.py` the tabs are expanded:
Python 3 refuses their mixture with blanks.

Example:
    mmseg-semi authors-cct --repository ../CCT --rounds 9
"""

import argparse
import importlib
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.cli.benchmark.training_step import TrainingStep
from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.methods.cct import CCTObjective
from mmseg_semi.methods.cct.objective import PUBLISHED, SCORES_AT_A_TIME
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.measuring import Ratio, interleave, timed, trace_memory
from mmseg_semi.step.views import (
    Batch,
    StepViews,
    StudentOutputs,
    StudentViews,
    UnlabeledBatch,
)

COMMIT = '65d4e5b'
UPSCALE = 8
CONFIG = 'mmseg_semi::cct/voc_1464_r50.py'
# the released config.json, in our order of the perturbations
MODEL = dict(
    supervised=False,
    semi=True,
    supervised_w=1,
    sup_loss='CE',
    un_loss='MSE',
    softmax_temp=1,
    aux_constraint=False,
    aux_constraint_w=1,
    confidence_masking=False,
    confidence_th=0.5,
    vat=2,
    xi=1e-6,
    eps=2.0,
    drop=6,
    drop_rate=0.5,
    spatial=True,
    cutout=6,
    erase=0.4,
    context_masking=2,
    object_masking=2,
    feature_drop=6,
    feature_noise=6,
    uniform_range=0.3,
)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--repository', type=Path, required=True, help='a clone of github.com/yassouali/CCT'
    )
    parser.add_argument('--rounds', type=int, default=7, help='measured runs of each; default 7')
    parser.add_argument('--warmup', type=int, default=1, help='runs before them; default 1')
    parser.add_argument('--images', type=int, default=2, help='number of images; default 2')
    parser.add_argument(
        '--channels', type=int, default=512, help='channels of the features; default 512'
    )
    parser.add_argument('--classes', type=int, default=21, help='number of classes; default 21')
    parser.add_argument('--side', type=int, default=41, help='side of the features; default 41')
    parser.add_argument('--chunk', type=int, help='scores that ours computes at a time')
    parser.add_argument('--step', action='store_true', help='whole training steps as well')
    parser.add_argument(
        '--profile',
        action='store_true',
        help="one step of each under torch's profiler, by operation; with --step",
    )
    parser.add_argument('--crop', type=int, default=320, help='side of their images; default 320')
    parser.add_argument('--threads', type=int, default=1, help="PyTorch's threads; default 1")
    args = parser.parse_args(arguments)
    if args.profile and not args.step:
        parser.error('--profile needs --step')
    if min(args.rounds, args.images, args.channels, args.classes, args.side, args.threads) < 1:
        parser.error('every number must be at least 1')
    return args


# -- the authors' code ---------------------------------------------------------------------------


@contextmanager
def authors_modules(repository: Path) -> Iterator[SimpleNamespace]:
    """Import ``models.decoders``, ``models.model`` and ``utils.losses`` of the authors.

    After the block, ``sys.path`` and ``sys.modules`` are as before.

    Raises:
        SetupError: If the folder is no clone of their repository.
    """
    losses = repository / 'utils/losses.py'
    if not losses.is_file() or not (repository / 'models/decoders.py').is_file():
        raise SetupError(
            f"--repository '{repository}': has no models/decoders.py and utils/losses.py; give a "
            'clone of https://github.com/yassouali/CCT'
        )
    before = dict(sys.modules)
    for name in [*sys.modules]:
        if name.partition('.')[0] in ('base', 'models', 'utils'):
            del sys.modules[name]
    base, utils = ModuleType('base'), ModuleType('utils')
    base.BaseModel = nn.Module
    utils.__path__ = [str(repository / 'utils')]
    helpers, own = ModuleType('utils.helpers'), ModuleType('utils.losses')
    helpers.initialize_weights = helpers.set_trainable = None
    sys.path.insert(0, str(repository))
    try:
        sys.modules.update({'base': base, 'utils': utils, 'utils.helpers': helpers})
        exec(compile(losses.read_text().expandtabs(8), losses, 'exec'), own.__dict__)
        sys.modules['utils.losses'] = own
        model = importlib.import_module('models.model')
        yield SimpleNamespace(CCT=model.CCT, decoders=sys.modules['models.decoders'], losses=own)
    finally:
        sys.path.remove(str(repository))
        for name in set(sys.modules) - set(before):
            if name.partition('.')[0] in ('base', 'models', 'utils'):
                del sys.modules[name]
        sys.modules.update(before)


def commit_of(repository: Path) -> str:
    """The commit that is checked out; 'unknown' without git."""
    call = subprocess.run(
        ['git', '-C', repository, 'rev-parse', 'HEAD'], capture_output=True, text=True
    )
    return call.stdout.strip() or 'unknown'


def authors_decoders(authors: SimpleNamespace, channels: int, classes: int) -> nn.ModuleList:
    """Their auxiliary decoders, in the order of :data:`PUBLISHED`."""
    of = authors.decoders
    sizes, conf = (UPSCALE, channels, classes), MODEL
    makers = [
        ('vat', partial(of.VATDecoder, *sizes, xi=conf['xi'], eps=conf['eps'])),
        ('drop', partial(of.DropOutDecoder, *sizes, drop_rate=conf['drop_rate'])),
        ('cutout', partial(of.CutOutDecoder, *sizes, erase=conf['erase'])),
        ('context_masking', partial(of.ContextMaskingDecoder, *sizes)),
        ('object_masking', partial(of.ObjectMaskingDecoder, *sizes)),
        ('feature_drop', partial(of.FeatureDropDecoder, *sizes)),
        ('feature_noise', partial(of.FeatureNoiseDecoder, *sizes)),
    ]
    return nn.ModuleList(make() for name, make in makers for _ in range(conf[name]))


def copy_weights(decoders: nn.ModuleList, objective: CCTObjective) -> None:
    """Give our decoders the weights of theirs."""
    theirs = iter(decoders)
    with torch.no_grad():
        for stack in objective.decoders:
            for k in range(len(stack)):
                first, *shuffles = next(theirs).upsample
                stack.project[k] = first.weight[:, :, 0, 0]
                for level, weight, bias in zip(shuffles, stack.weights, stack.biases, strict=True):
                    weight[k], bias[k] = level.conv.weight[:, :, 0, 0], level.conv.bias


# -- auxiliary decoders --------------------------------------------------------------------------


def random_features(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Features (N, C, h, w) with a gradient; logits of objects of a few cells, (N, K, 8h, 8w)."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(args.images, args.channels, args.side, args.side, generator=generator).abs()
    blocks = args.side // 4 + 1
    logits = torch.randn(args.images, args.classes, blocks, blocks, generator=generator)
    size = (UPSCALE * args.side, UPSCALE * args.side)
    return z.requires_grad_(), F.interpolate(8 * logits, size, mode='bilinear')


def make_objective(args: argparse.Namespace) -> CCTObjective:
    """Our objective with the released thirty decoders."""
    torch.manual_seed(0)
    objective = CCTObjective(upscale=UPSCALE, chunk=args.chunk)
    head = SimpleNamespace(
        fused_channels=args.channels, conv_seg=SimpleNamespace(in_channels=args.channels)
    )
    student = SimpleNamespace(decode_head=head)
    objective.bind(SimpleNamespace(student=student, num_classes=args.classes))
    return objective


def run_ours(objective: CCTObjective, z: Tensor, logits: Tensor) -> float:
    """Forward and backward of the objective; returns the loss."""
    valid = torch.ones(len(z), *logits.shape[2:], dtype=torch.bool)
    batch = Batch(z, valid, UnlabeledBatch(z, z, valid), torch.Generator().manual_seed(0))
    views = StepViews(batch, student=StudentViews(weak=StudentOutputs((), z, z, z, logits)))
    loss = objective.compute(views)['loss']
    loss.backward()
    z.grad = None
    objective.zero_grad(set_to_none=True)
    return loss.item()


def run_authors(
    authors: SimpleNamespace, decoders: nn.ModuleList, z: Tensor, logits: Tensor
) -> float:
    """Forward and backward of their decoders, as in their model's forward; returns the loss."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    targets = F.softmax(logits, dim=1)
    found = [decoder(z, logits) for decoder in decoders]
    mse = authors.losses.softmax_mse_loss
    loss = sum(mse(inputs=scores, targets=targets) for scores in found) / len(found)
    loss.backward()
    z.grad = None
    decoders.zero_grad(set_to_none=True)
    return loss.item()


def floor(args: argparse.Namespace, chunk: int) -> Callable[[], None]:
    """The objective's matrix products alone.

    For every decoder and cell: its four layers, and their gradients with respect to input and
    weights. For I-VAT's decoders another pass and its gradient with respect to the input, a pass
    without gradient, and the product with the noise. Memory is reused, so the products of the
    levels read and write a cache.

    Args:
        args: Sizes.
        chunk: Scores that are computed at a time.
    """
    classes, cells = args.classes, args.side**2
    products: list[tuple[int, Callable[[], object]]] = []

    def add(times: int, a: Tensor, b: Tensor) -> None:
        out = torch.empty(len(a), a.shape[1], b.shape[2])
        products.append((times, partial(torch.bmm, a, b, out=out)))

    z = torch.randn(args.images, args.channels, cells)
    for config in PUBLISHED:
        count, adversarial = config['count'], config['type'] == 'VirtualAdversarial'
        weight = torch.randn(args.images, count * classes, args.channels)
        lifted = torch.randn(args.images, count * classes, cells)
        add(1 + adversarial, weight, z)
        add(1, lifted, z.transpose(1, 2))
        add(1, weight.transpose(1, 2), lifted)
        step = max(1, min(cells, chunk // (count * classes * UPSCALE**2)))
        # a last part of fewer cells counts by its share
        for part, times in ((step, cells // step), (cells % step, 1)):
            for level in range((UPSCALE - 1).bit_length()):
                if not part:
                    continue
                x = torch.randn(count, classes, part * 4**level)
                y = torch.randn(count, 4 * classes, part * 4**level)
                w = torch.randn(count, 4 * classes, classes)
                times_all = args.images * times
                add(times_all * (1 + 2 * adversarial), w, x)
                add(times_all * (1 + adversarial), w.transpose(1, 2), y)
                add(times_all, y, x.transpose(1, 2))

    def run() -> None:
        for times, product in products:
            for _ in range(times):
                product()

    return run


def measure_decoders(authors: SimpleNamespace, args: argparse.Namespace) -> dict[str, list[float]]:
    """Time the three forms of the auxiliary decoders; print their losses and memory."""
    objective = make_objective(args)
    decoders = authors_decoders(authors, args.channels, args.classes)
    copy_weights(decoders, objective)
    z, logits = random_features(args)
    ours = partial(run_ours, objective, z, logits)
    theirs = partial(run_authors, authors, decoders, z, logits)
    # their draws differ, so the losses agree roughly
    print(f'loss: ours {ours():.4g}, authors {theirs():.4g}')
    device = torch.device('cpu')
    for name, run in (('ours', ours), ('authors', theirs)):
        print(f'peak memory of {name}: {trace_memory(run, device).rise / 2**20:.1f} MiB')
    forms = dict(
        ours=ours, authors=theirs, floor=floor(args, args.chunk or SCORES_AT_A_TIME['cpu'])
    )
    steps = [partial(timed, form, device, True) for form in forms.values()]
    return dict(zip(forms, interleave(steps, args.rounds, args.warmup), strict=True))


# -- training steps ------------------------------------------------------------------------------


def authors_step(authors: SimpleNamespace, args: argparse.Namespace) -> Callable[[], None]:
    """A step of their trainer: forward with all losses, backward, SGD."""
    torch.manual_seed(0)
    model = authors.CCT(
        args.classes,
        MODEL,
        sup_loss=authors.losses.CE_loss,
        cons_w_unsup=authors.losses.consistency_weight(30, 100, rampup_ends=8),
        ignore_index=255,
        pretrained=None,  # False would be read as the name of a file
    )
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, weight_decay=1e-4, momentum=0.9)
    x_l, x_ul = torch.randn(2, args.images, 3, args.crop, args.crop)
    labels = torch.randint(args.classes, (args.images, args.crop, args.crop))

    def run() -> None:
        optimizer.zero_grad()
        loss, _, _ = model(x_l=x_l, target_l=labels, x_ul=x_ul, curr_iter=0, epoch=40)
        loss.mean().backward()
        optimizer.step()

    return run


def measure_step(
    authors: SimpleNamespace, args: argparse.Namespace, folder: str
) -> dict[str, list[float]]:
    """Time our training step and theirs."""
    settings = argparse.Namespace(
        batch_size=[args.images] * 2, crop=args.crop, data=False, at=None, amp=False, cpu_time=True
    )
    ours = TrainingStep(configs.load_config(CONFIG, None), settings, CONFIG, folder)
    forms = {'ours': ours, 'authors': authors_step(authors, args)}
    steps = [partial(timed, form, torch.device('cpu'), True) for form in forms.values()]
    if args.profile:
        for name, form in forms.items():
            form()
            print(f'{name}, one step by operation\n{profile(form)}')
    return dict(zip(forms, interleave(steps, args.rounds, args.warmup), strict=True))


def profile(step: Callable[[], None], rows: int = 10) -> str:
    """A table of the operations of one step that compute longest, those inside of them left out."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        step()
    entries = sorted(found.key_averages(), key=lambda entry: -entry.self_cpu_time_total)
    whole = sum(entry.self_cpu_time_total for entry in entries)
    lines = [
        f'{entry.key[:40]:40s} {entry.self_cpu_time_total / 1e3:9.1f} ms  {entry.count:6d} calls'
        for entry in entries[:rows]
    ]
    return '\n'.join([*lines, f'{"complete":40s} {whole / 1e3:9.1f} ms'])


# -- report --------------------------------------------------------------------------------------


def report(title: str, runs: dict[str, list[float]]) -> None:
    """Print medians and quartiles of each form, and the ratio of the first to each other one."""
    print(title)
    for name, own in runs.items():
        low, middle, high = statistics.quantiles(own, n=4) if len(own) > 1 else own * 3
        print(f'{name:8s} {1e3 * middle:9.1f} ms, quartiles {1e3 * low:.1f} and {1e3 * high:.1f}')
    first = next(iter(runs))
    for name in list(runs)[1:]:
        print(f'{first} / {name}: {Ratio.of(runs[first], runs[name])}')


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    commit = commit_of(args.repository)
    print(f'authors: commit {commit}; their behaviour was compared at {COMMIT}')
    try:
        with authors_modules(args.repository) as authors:
            runs = measure_decoders(authors, args)
            size = f'{args.images} x {args.channels} x {args.side} x {args.side}'
            report(
                f'auxiliary decoders, {size}, {args.classes} classes, {args.threads} thread', runs
            )
            if args.step:
                with tempfile.TemporaryDirectory() as folder:
                    runs = measure_step(authors, args, folder)
                report(f'training step, crop {args.crop}, {args.images} + {args.images}', runs)
    finally:
        torch.set_num_threads(threads)
