"""What the tools share that time a method beside its authors' code.

Both sides run on the CPU in one process, in interleaved pairs whose order alternates, on the same
inputs. The authors' code is imported from a clone, never copied.
"""

import argparse
import importlib
import json
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor, nn

from mmseg_semi.cli import benchmark
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.measuring import measure_calls
from mmseg_semi.step.objective import Objective

Kind = TypeVar('Kind', bound=Objective)


def make_parser(description: str, config: str, parts: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the arguments of all these tools; ``parts`` are the names of the measurements."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repository', type=Path, required=True, help="the authors' clone")
    parser.add_argument('--config', default=config, help='default: %(default)s')
    parser.add_argument('--measure', nargs='+', choices=parts, default=parts)
    parser.add_argument('--batch-size', type=int, nargs=2, default=[2, 2], metavar='N')
    parser.add_argument('--crop', type=int, default=129, help='side of the images of step')
    parser.add_argument('--iters', type=int, default=5, help='measured pairs; default 5')
    parser.add_argument('--warmup', type=int, default=1, help='pairs before them; default 1')
    parser.add_argument('--threads', type=int, default=1, help="PyTorch's CPU threads; default 1")
    parser.add_argument('--json', metavar='FILE', help='write all numbers, each run included')
    return parser


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


class _StandIn(ModuleType):
    """An empty module."""


def stand_in(name: str, **attributes: Any) -> None:
    """Put an empty module in the place of one that cannot be imported, inside :func:`importable`."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module = _StandIn(name)
        vars(module).update(attributes)
        sys.modules[name] = module


def check_clone(repository: Path, names: Sequence[str], address: str, commit: str) -> None:
    """Check that a folder holds the authors' files.

    Raises:
        SetupError: If one of them is missing.
    """
    for name in names:
        if not (repository / name).is_file():
            raise SetupError(
                f'--repository {repository} has no {name}: clone {address} and check out {commit}'
            )


@contextmanager
def importable(repository: Path) -> Iterator[None]:
    """Let the authors' modules be imported. Stand-ins are taken away again at the end."""
    importlib.invalidate_caches()  # the clone may be younger than what was seen of its folder
    stand_in('tensorboardX', SummaryWriter=None)
    stand_in('skimage')
    stand_in('skimage.measure', label=None, regionprops=None)
    sys.path.insert(0, str(repository.resolve()))
    try:
        yield
    finally:
        sys.path.pop(0)
        # others ask whether they can import torchvision, and would find it
        for name, module in list(sys.modules.items()):
            if isinstance(module, _StandIn):
                del sys.modules[name]


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


# -- our side ------------------------------------------------------------------------------------


def build_step(
    args: argparse.Namespace, crop: int, folder: str, kind: type[Kind]
) -> tuple[Any, Kind]:
    """The config's training step, and its objective of this class.

    Raises:
        SetupError: If there is no such objective, or if the step would run on a GPU.
    """
    options = ['--batch-size', *map(str, args.batch_size), '--crop', str(crop), '--cpu-time']
    own = benchmark.parse_args([args.config, *options])
    step = benchmark.Subject(configs.load_config(args.config, None), own, args.config, folder).step
    if step.device.type != 'cpu':
        raise SetupError('this comparison is one of the CPU: set CUDA_VISIBLE_DEVICES=-1')
    objectives = getattr(step.runner.model, 'objectives', ())
    objective = next((o for o in objectives if isinstance(o, kind)), None)
    if objective is None:
        raise SetupError(f'--config {args.config} has no {kind.__name__}')
    return step, objective


def images_of(step: Any) -> tuple[Tensor, Tensor, Callable[[str], Tensor]]:
    """The images that the step reads.

    Returns:
        The labelled images (N, 3, H, W), roughly normalised; their labels (N, H, W) int64; and a
        function that gives a view of the unlabelled images, (M, 3, H, W).
    """
    items = step.runner.train_dataloader.dataset.items
    labeled, _ = step.about['batch']

    def images(view: str, which: list) -> Tensor:
        return (torch.stack([item['inputs'][view] for item in which]).float() - 118) / 58

    labels = [item['data_samples']['labeled'].gt_sem_seg.data[0] for item in items[:labeled]]
    return (
        images('labeled', items[:labeled]),
        torch.stack(labels).long(),
        lambda view: images(view, items[labeled:]),
    )


# -- pairs ---------------------------------------------------------------------------------------


def time_pair(
    args: argparse.Namespace, ours: Callable[[], object], theirs: Callable[[], object]
) -> dict[str, Any]:
    """Time both sides by the CPU time of this process, see :func:`measure_calls`."""
    calls = dict(ours=ours, theirs=theirs)
    return measure_calls(calls, torch.device('cpu'), args.iters, args.warmup, cpu_time=True)


def report(title: str, result: dict[str, Any], notes: Sequence[str] = ()) -> None:
    """Print medians, quartiles and ratio of one comparison, and what was checked."""
    print(title)
    for who, runs in result['runs'].items():
        low, middle, high = statistics.quantiles(runs, n=4) if len(runs) > 1 else 3 * runs
        print(f'  {who:6s} {middle * 1e3:10.1f} ms, quartiles {low * 1e3:.1f} and {high * 1e3:.1f}')
    print(f'  ours / theirs: {result["ratio_text"]}')
    for note in notes:
        print(f'  {note}')


def run(args: argparse.Namespace, measure: Callable[[], dict[str, Any]]) -> None:
    """Print the machine, measure, and write the file that ``--json`` names."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of autocast and GradScaler without a GPU, in every run
        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
        about = benchmark.machine(argparse.Namespace(cpu_time=True))
        print(', '.join(f'{key} {value}' for key, value in about.items() if value))
        result = dict(machine=about, **measure())
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1))
