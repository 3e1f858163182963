"""``tools/benchmark.py``: time and memory of training and inference.

The step, inference and the teacher are measured here; what belongs to one method is declared in the
method's own folder, see :mod:`mmseg_semi.runtime.benchmarks`.
"""

import argparse
import json
import os
import platform
import tempfile
import warnings
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction

from mmseg_semi import __version__
from mmseg_semi.cli.benchmark import copies, teacher
from mmseg_semi.cli.benchmark.inference import measure_inference, print_inference
from mmseg_semi.cli.benchmark.steps import measure_steps, print_steps
from mmseg_semi.cli.benchmark.training_step import TrainingStep, find_crop, plain_config
from mmseg_semi.cli.common import CONFIG_HELP, tool
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.benchmarks import Benchmark, method_benchmarks

DESCRIPTION = """\
Time and memory of training and inference:
mmseg-semi benchmark CONFIG [CONFIG_B] [--measure WHAT] ...

{benchmarks}

Two configs (or a part and its plain form) run in interleaved pairs in one process; the ratio is the
median of the pairs. Weights are untrained. Images are random unless --data is given. Every
unlabelled pixel of a random image has a pseudo-label, the most work that a step can have. Without
a GPU, or with CUDA_VISIBLE_DEVICES=-1, everything runs on the CPU.
"""

# Measurements of whole configs. All others take the parts of one config.
WHOLE = {
    'step': 'a training step by part: data, teacher, mixing, student, each objective, backward,\n'
    'optimiser, hooks; with its arithmetic and its peak memory',
    'plain': 'the supervised step of CONFIG against the same network in plain MMSegmentation',
    'inference': 'images a second of the deployed network',
}


def find_benchmarks() -> dict[str, Benchmark]:
    """The benchmarks of parts: those of the teacher and of copies, and those that the methods declare."""
    found = {'teacher': teacher.BENCHMARK, 'copies': copies.BENCHMARK}
    for package in method_benchmarks():
        found |= package.BENCHMARKS
    return found


def describe() -> str:
    """The description for ``--help``, with one entry per measurement."""
    lines = WHOLE | {name: benchmark.summary for name, benchmark in find_benchmarks().items()}
    entries = [
        f'    {name:10} ' + line.replace('\n', '\n' + 15 * ' ') for name, line in lines.items()
    ]
    return DESCRIPTION.format(benchmarks='\n'.join(entries))


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    benchmarks = find_benchmarks()
    parser = argparse.ArgumentParser(
        description=describe(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help=CONFIG_HELP)
    parser.add_argument('other', nargs='?', metavar='CONFIG_B', help='a second one to compare with')
    parser.add_argument('--measure', choices=(*WHOLE, *benchmarks), default='step')
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
    parser.add_argument('--data', action='store_true', help="the config's images, not random ones")
    for benchmark in benchmarks.values():
        if benchmark.add_arguments is not None:
            benchmark.add_arguments(parser)
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


class Subject:
    """One config that a benchmark measures, see :class:`mmseg_semi.runtime.benchmarks.Subject`.

    Args:
        cfg: The config.
        args: The options.
        name: The config's name in the report.
        folder: Work folder of its training step.
    """

    def __init__(self, cfg: Config, args: argparse.Namespace, name: str, folder: str) -> None:
        self.cfg, self.args = cfg, args
        self._name, self._folder = name, folder

    @cached_property
    def step(self) -> TrainingStep:
        """The training step; built at the first access."""
        return TrainingStep(self.cfg, self.args, self._name, self._folder)


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """Hardware, versions and date of the measurement."""
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
    warnings.filterwarnings('ignore', category=UserWarning)  # about sizes and hooks, in every run
    if args.threads:
        torch.set_num_threads(args.threads)
    paths = [args.config, *([args.other] if args.other else [])]
    options = (args.cfg_options, args.cfg_options_b)
    cfgs = [configs.load_config(path, own) for path, own in zip(paths, options, strict=False)]
    names = [*paths]
    if args.measure == 'plain':
        crop = (args.crop, args.crop) if args.crop else find_crop(cfgs[0])
        cfgs.append(plain_config(cfgs[0], crop))
        names.append('the same network in plain MMSegmentation')
    result: dict[str, Any] = {'machine': machine(args), 'measure': args.measure}
    print(', '.join(f'{key} {value}' for key, value in result['machine'].items() if value))
    with tempfile.TemporaryDirectory(prefix='mmseg_semi_') as folder:
        subjects = [
            Subject(cfg, args, name, f'{folder}/{letter}')
            for cfg, name, letter in zip(cfgs, names, 'ab', strict=False)
        ]
        if args.measure == 'inference':
            result |= measure_inference(cfgs, args)
            print_inference(result)
        elif args.measure in WHOLE:
            result |= measure_steps([subject.step for subject in subjects], args)
            print_steps(result)
        else:
            benchmark = find_benchmarks()[args.measure]
            result |= benchmark.measure(subjects[0])
            benchmark.report(result)
    return result


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    result = run(args)
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1))
