"""``tools/benchmarks/gpu.sh``: the published step of every method on the GPU at hand, within a time budget.

The most important combinations of method, precision, layout and compiling come first. What the budget leaves out, what this
machine cannot do and what fails is in the JSON beside the numbers, each with its reason. Numbers are of one process and one GPU.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch.utils.data import DataLoader, Dataset

from mmseg_semi.cli import benchmark
from mmseg_semi.cli.analysis import data_speed
from mmseg_semi.cli.benchmark.training_step import TrainingStep, find_batch
from mmseg_semi.cli.common import CHECKOUT, tool
from mmseg_semi.files import whole_file
from mmseg_semi.methods.cct.perturbations import guided
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.measuring import MIB, timed, trace_memory
from mmseg_semi.runtime.tables import markdown_table
from mmseg_semi.step import segmentor

# method -> config of a run on VOC's 732 labelled images or the nearest published one, and a small one for --toy
METHODS = {
    'fixmatch': ('fixmatch/voc_732', 'quickstart/fixmatch'),
    'ddfp': ('ddfp/voc_732', 'quickstart/ddfp'),
    'dgcl': ('dgcl/voc_732', 'quickstart/dgcl'),
    'supervised': ('supervised/voc_732', 'quickstart/supervised'),
    'unimatch_v2': ('unimatch_v2/voc_732_dinov2_s', 'unimatch_v2/camvid_clips_12_lite0'),
    'unimatch': ('unimatch/voc_732', 'quickstart/unimatch'),
    'cct': ('cct/voc_732', 'quickstart/cct'),
    'mllc': ('mllc/voc_732', 'mllc/camvid_46_small'),
    'u2pl': ('u2pl/voc_732', 'quickstart/u2pl'),
    'augseg': ('augseg/voc_732', 'quickstart/augseg'),
    'cps': ('cps/voc_cps_662', 'quickstart/cps'),
}

LARGEST = 4
"""Labelled and unlabelled images of a step at most; configs with two of each keep them."""

WAITS_ALLOWED = (
    'the log: all its values are read together (step/log_values.py)',
    'CCT: outlines of objects are found on the host (perturbations/guided.py)',
)
TOY = dict(crop=64, batch=2, warmup=1, runs=1)
FULL = dict(crop=None, batch=LARGEST, warmup=3, runs=8)


@dataclass(frozen=True)
class Variant:
    """How a step is computed."""

    precision: str
    """'float32' (no TF32 anywhere), 'tf32', 'float16' or 'bfloat16' (mixed, with PyTorch's defaults for the rest)."""
    layout: str
    """``model.memory_format``: 'contiguous' or 'channels_last'."""
    compiled: bool = False
    """``model.compile``."""

    def __str__(self) -> str:
        return f'{self.precision}, {self.layout}' + (', compiled' if self.compiled else '')


# the order of importance; each is measured for all methods before the next one begins
VARIANTS = (
    Variant('float16', 'channels_last'),
    Variant('tf32', 'contiguous'),
    Variant('bfloat16', 'channels_last'),
    Variant('float16', 'contiguous'),
    Variant('float16', 'channels_last', compiled=True),
    Variant('tf32', 'channels_last'),
    Variant('float32', 'contiguous'),
    Variant('bfloat16', 'contiguous'),
    Variant('bfloat16', 'channels_last', compiled=True),
    Variant('tf32', 'channels_last', compiled=True),
    Variant('float32', 'channels_last'),
    Variant('tf32', 'contiguous', compiled=True),
    Variant('float16', 'contiguous', compiled=True),
    Variant('bfloat16', 'contiguous', compiled=True),
    Variant('float32', 'contiguous', compiled=True),
    Variant('float32', 'channels_last', compiled=True),
)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='tools/benchmarks/gpu.sh',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--out', type=Path, default=Path('gpu.json'), help='default gpu.json')
    parser.add_argument(
        '--minutes', type=float, default=8.0, help='budget for everything; default 8'
    )
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument(
        '--toy', action='store_true', help='tiny networks, 2 + 2 images of 64 pixels, one run'
    )
    args = parser.parse_args(arguments)
    if args.minutes <= 0:
        parser.error('--minutes must be greater than 0')
    return args


# -- one combination -----------------------------------------------------------------------------


def options_of(variant: Variant, on_gpu: bool, toy: bool) -> dict[str, Any]:
    """What ``--cfg-options`` of a training would say for this variant."""
    options: dict[str, Any] = {'model.memory_format': variant.layout}
    if variant.compiled:
        options['model.compile'] = dict(backend='aot_eager') if toy else True
    if variant.precision in ('float16', 'bfloat16'):
        wrapper = dict(type='AmpOptimWrapper', dtype=variant.precision, loss_scale='dynamic')
        wrapper = wrapper if on_gpu else dict(type='CPUAmpOptimWrapper')
        options |= {f'optim_wrapper.{key}': value for key, value in wrapper.items()}
    return options


def refuse(variant: Variant, on_gpu: bool) -> str | None:
    """Why this machine cannot compute a variant; None if it can."""
    if not on_gpu and variant.precision in ('tf32', 'float16'):
        return f'{variant.precision} needs a GPU'
    return None


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """TF32 nowhere, everywhere, or (beside half precision) where PyTorch has it by default, in convolutions."""
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision('high' if precision == 'tf32' else 'highest')
    torch.backends.cudnn.allow_tf32 = precision != 'float32'
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


def step_options(cfg: Config, size: dict[str, Any]) -> argparse.Namespace:
    """Options of ``tools/benchmark.py`` for this config's step."""
    batch = [min(images, size['batch']) for images in find_batch(cfg)]
    return argparse.Namespace(
        batch_size=batch, crop=size['crop'], at=None, data=False, amp=False, cpu_time=False
    )


def build_step(method: str, variant: Variant, toy: bool, folder: str) -> TrainingStep:
    """A method's step in a variant, as its config says it."""
    on_gpu = get_device() == 'cuda'
    name = f'{METHODS[method][toy]}.py'
    cfg = configs.load_config(f'mmseg_semi::{name}', options_of(variant, on_gpu, toy))
    return TrainingStep(cfg, step_options(cfg, TOY if toy else FULL), f'configs/{name}', folder)


def measure(step: TrainingStep, size: dict[str, Any], stop: float) -> dict[str, Any]:
    """Seconds and memory of a step; fewer runs, at least one, if the time is ``stop`` (``time.monotonic``) meanwhile."""
    device = step.device
    first = timed(step, device)
    for _ in range(size['warmup'] - 1):
        step()
    on_gpu = device.type == 'cuda'
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    runs: list[float] = []
    while len(runs) < size['runs'] and (not runs or time.monotonic() < stop):
        runs.append(timed(step, device))
    if on_gpu:
        memory = dict(
            peak=torch.cuda.max_memory_allocated(device),
            reserved=torch.cuda.max_memory_reserved(device),
        )
    else:
        memory = dict(peak=sum(step.stored().values()) + trace_memory(step, device).rise)
    seconds = statistics.median(runs)
    images = sum(step.about['batch'])
    return dict(
        seconds=seconds,
        images_per_second=images / seconds,
        first_step=first,
        runs=runs,
        **{f'{key}_bytes': value for key, value in memory.items()},
    )


def release() -> None:
    """Free what a combination held, also after an error."""
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def describe(error: Exception) -> str:
    """Type and first line of an error."""
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


# -- does the host wait for the device? ----------------------------------------------------------


@contextmanager
def watched(mode: str) -> Iterator[None]:
    """Within it PyTorch reports where the host waits for the GPU, but for :data:`WAITS_ALLOWED`."""

    def allowed(function):
        def run(*args, **kwargs):
            torch.cuda.set_sync_debug_mode('default')
            try:
                return function(*args, **kwargs)
            finally:
                torch.cuda.set_sync_debug_mode(mode)

        return run

    with (
        mock.patch.object(segmentor, 'read_values', allowed(segmentor.read_values)),
        mock.patch.object(guided, 'object_boxes', allowed(guided.object_boxes)),
    ):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode('default')


def find_waits(step: TrainingStep) -> dict[str, Any]:
    """One step under ``torch.cuda.set_sync_debug_mode('error')``; if it waits, all places of another step."""
    try:
        with watched('error'):
            step()
        return dict(free=True, places=[])
    except RuntimeError as error:
        if 'synchroniz' not in str(error):
            raise
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        with watched('warn'):
            step()
    places = {
        f'{Path(w.filename).name}:{w.lineno}' for w in caught if 'synchroniz' in str(w.message)
    }
    return dict(free=False, places=sorted(places))


# -- the input pipeline --------------------------------------------------------------------------


class _Generated(Dataset):
    """VOC's unlabelled images, generated, through the shipped pipeline: weak and strong view of each."""

    def __init__(self, deferred: bool, count: int) -> None:
        self.files, self.count = data_speed.files_of('voc'), count
        self.pipeline, _ = data_speed.shipped_pipeline('voc', deferred)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        np.random.seed(index)
        content = self.files[index % len(self.files)]
        views = self.pipeline(dict(img_path='generated', img_bytes=content, seg_fields=[]))
        return views['inputs']


def measure_input(toy: bool) -> dict[str, Any]:
    """Images a second of data loaders with one worker and with one a core, at VOC's crop of 513 pixels."""
    found: dict[str, Any] = {}
    counts = sorted({1, min(16, os.cpu_count() or 1)})
    for deferred in (False, True):
        for workers in counts[:1] if toy else counts:
            images = 8 if toy else 150 * workers
            loader = DataLoader(
                _Generated(deferred, images + 4 * workers),
                batch_size=4,
                num_workers=workers,
                collate_fn=list,
            )
            iterator = iter(loader)
            for _ in range(workers):
                next(iterator)  # the workers have started
            start = time.perf_counter()
            read = sum(len(batch) for batch in iterator)
            colour = 'colour on the device' if deferred else 'complete'
            found[f'{colour}, workers {workers}'] = read / (time.perf_counter() - start)
    return found


# -- everything ----------------------------------------------------------------------------------


def commit() -> str | None:
    """The commit of this checkout, with '+' if files differ from it; None without git or a checkout."""
    if not (CHECKOUT / '.git').exists():  # an environment may stand inside of another repository
        return None
    command = ('git', '-C', str(CHECKOUT), 'describe', '--always', '--abbrev=40', '--dirty=+')
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def describe_machine() -> dict[str, Any]:
    """Hardware and versions."""
    machine = benchmark.machine(argparse.Namespace(cpu_time=False))
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        machine |= dict(
            gpu_bytes=properties.total_memory,
            capability='.'.join(map(str, torch.cuda.get_device_capability())),
            cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version(),
        )
    return machine


class Session:
    """All measurements of a call, most important first, until the time is spent.

    Args:
        args: The options.
        folder: For the runners' logs.
    """

    def __init__(self, args: argparse.Namespace, folder: str) -> None:
        self.args, self.folder = args, folder
        self.start = time.monotonic()
        self.stop = self.start + 60 * args.minutes
        self.on_gpu = get_device() == 'cuda'
        self.taken: dict[tuple[str, bool], float] = {}  # (method, compiled) -> seconds
        machine = describe_machine()
        self.result: dict[str, Any] = dict(
            machine=machine,
            date=machine.pop('date'),
            commit=commit(),
            minutes=args.minutes,
            toy=args.toy,
            waits_allowed=WAITS_ALLOWED,
            rows=[],
            waits=[],
            input={},
            dropped=[],
        )

    def run(self) -> None:
        """Measure; the file holds what is known after each combination."""
        for variant in VARIANTS:
            for method in self.args.methods:
                self._combination(method, variant)
            if variant is VARIANTS[0]:  # early: what the steps need is read beside what they get
                self._input()
        self.result['spent_minutes'] = (time.monotonic() - self.start) / 60
        self.write()

    def write(self) -> None:
        with whole_file(self.args.out) as path:
            path.write_text(json.dumps(self.result, indent=1))

    def _drop(self, method: str, what: str, why: str) -> None:
        self.result['dropped'].append(dict(method=method, what=what, why=why))
        self.write()

    def _expected(self, method: str, compiled: bool) -> float:
        """Seconds that a combination will take: what it took before, else a guess that errs to the long side."""
        plain = self.taken.get((method, False), 3.0 if self.args.toy else 12.0)
        return self.taken.get((method, compiled), plain * (6 if compiled else 1))

    def _combination(self, method: str, variant: Variant) -> None:
        what = f'{method}: {variant}'
        why = refuse(variant, self.on_gpu)
        left = self.stop - time.monotonic()
        if why is None and self._expected(method, variant.compiled) > left:
            why = f'{max(left, 0):.0f} s of {self.args.minutes:g} minutes are left'
        if why is not None:
            self._drop(method, str(variant), why)
            return
        begun = time.monotonic()
        row = dict(method=method, **asdict(variant))
        try:
            with arithmetic(variant.precision):
                self._measure(row, variant)
        except Exception as error:  # out of memory, or not supported: the rest goes on
            row['error'] = describe(error)
        release()
        self.taken[method, variant.compiled] = time.monotonic() - begun
        self.result['rows'].append(row)
        self.write()
        said = row['error'] if 'error' in row else f'{1e3 * row["seconds"]:.1f} ms'
        print(f'{what}: {said}', flush=True)

    def _measure(self, row: dict[str, Any], variant: Variant) -> None:
        folder = f'{self.folder}/{len(self.result["rows"])}'
        step = build_step(row['method'], variant, self.args.toy, folder)
        row |= dict(step.about, seed=step.runner.seed)
        row |= measure(step, TOY if self.args.toy else FULL, self.stop)
        known = {found['method'] for found in self.result['waits']}
        if self.on_gpu and row['method'] not in known:
            found = dict(method=row['method'], variant=str(variant))
            try:
                found |= find_waits(step)
            except Exception as error:
                found['error'] = describe(error)
            self.result['waits'].append(found)
        if not self.on_gpu and row['method'] not in known:
            self.result['waits'].append(
                dict(method=row['method'], error='the CPU waits for nothing: needs a GPU')
            )

    def _input(self) -> None:
        if self.stop - time.monotonic() < (2 if self.args.toy else 30):
            self._drop('input pipeline', 'images a second', 'the time is spent')
            return
        try:
            self.result['input'] = measure_input(self.args.toy)
        except Exception as error:
            self.result['input'] = dict(error=describe(error))
        self.write()


def report(result: dict[str, Any]) -> str:
    """The tables of a result, in Markdown."""
    machine = ', '.join(f'{key} {value}' for key, value in result['machine'].items() if value)
    rows = []
    for row in result['rows']:
        known = 'crop' in row
        head = [
            row['method'],
            ' + '.join(map(str, row['batch'])) if known else '',
            ' x '.join(map(str, row['crop'])) if known else '',
            row['precision'],
            row['layout'],
            'yes' if row['compiled'] else 'no',
        ]
        if 'error' in row:
            rows.append([*head, row['error'].replace('|', '/'), '', '', ''])
            continue
        rows.append(
            [
                *head,
                f'{1e3 * row["seconds"]:.1f}',
                f'{row["images_per_second"]:.1f}',
                f'{row["peak_bytes"] / MIB:.0f}',
                f'{row["first_step"]:.1f}',
            ]
        )
    header = 'method,images,crop,precision,layout,compiled,ms a step,images a second,peak MiB,first step s'
    parts = [
        f'{machine}; commit {result["commit"]}; {result["date"]}'
        + ('; toy sizes, which say nothing about speed' if result['toy'] else ''),
        markdown_table(header.split(','), rows),
    ]
    waits = [
        [
            found['method'],
            found.get('error')
            or ('waits nowhere else' if found['free'] else ', '.join(found['places'])),
        ]
        for found in result['waits']
    ]
    parts += [
        'Where the host waits for the GPU, apart from: ' + '; '.join(result['waits_allowed']),
        markdown_table(['method', 'places'], waits),
    ]
    images = [
        [name, value if name == 'error' else f'{value:.1f}']
        for name, value in result['input'].items()
    ]
    parts += [
        "Input pipeline (VOC's unlabelled images, crop 513, weak and strong view)",
        markdown_table(['input', 'images a second'], images),
    ]
    if result['dropped']:
        together: dict[tuple[str, str], list[str]] = {}
        for entry in result['dropped']:
            together.setdefault((entry['what'], entry['why']), []).append(entry['method'])
        dropped = [f'- {what}, {why}: {", ".join(m)}' for (what, why), m in together.items()]
        parts += ['Not measured:', '\n'.join(dropped)]
    return '\n\n'.join(parts)


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    warnings.filterwarnings('ignore', category=UserWarning)  # about sizes and hooks, in every run
    configs.share_temporary_folder()
    with tempfile.TemporaryDirectory(prefix='mmseg_semi_') as folder:
        Session(args, folder).run()
    print('\n' + report(json.loads(args.out.read_text())))


if __name__ == '__main__':
    main()
