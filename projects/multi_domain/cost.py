"""Measure the cost of a further domain.

python projects/multi_domain/cost.py CONFIG [--iters N] [--amp] [--cpu-time] [--json FILE]

It compares one joint step with the same domains' steps in separate runs, in interleaved pairs, on
the config's own images: time, memory of weights, gradients, optimiser and teachers, and the most
that a step allocates above it. A further row ('at once') passes all domains forward before one
backward pass through the sum, which gives the same gradient.
"""

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
try:
    from mmengine.config import Config
    from mmengine.device import get_device
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner
    from mmseg.registry import DATASETS, MODELS

    from mmseg_semi.cli.common import tool
    from mmseg_semi.data.randomness import derive_seed
    from mmseg_semi.errors import SetupError
    from mmseg_semi.runtime import configs, devices
    from mmseg_semi.runtime.measuring import Ratio, clock, interleave, stored_bytes, trace_memory
    from mmseg_semi.step.hooks import MeanTeacherHook
    from projects.multi_domain.data import MultiDomainSampler, by_domain, domain_collate
except ValueError as error:  # none or both of the distributions of mmsegmentation are installed
    sys.exit(f'error: {error}')

MIB = 2**20


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config of several domains, schedule joint')
    parser.add_argument('--iters', type=int, default=10, help='measured pairs; default 10')
    parser.add_argument('--at', type=int, help='iteration to measure; default half of the schedule')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--cpu-time', action='store_true', help='CPU time instead of elapsed time')
    parser.add_argument('--threads', type=int, help="PyTorch's CPU threads")
    parser.add_argument('--json', type=Path, help='file that receives all numbers')
    return parser.parse_args()


class Run:
    """Training steps of some of a config's domains on one batch.

    Args:
        cfg: Config of several domains.
        names: Names of the domains to train; a single name gives the step of a separate run.
        batch: Batch of all domains.
        iteration: Iteration that the schedules are evaluated at.
    """

    def __init__(self, cfg: Config, names: list[str], batch: dict, iteration: int) -> None:
        config = cfg.model.to_dict()
        config['domains'] = {name: config['domains'][name] for name in names}
        torch.manual_seed(0)
        model = revert_sync_batchnorm(MODELS.build(config))
        model.init_weights()
        self.model = model.to(get_device()).train()
        # of a runner only what it takes to build the optimiser
        runner = SimpleNamespace(model=self.model, iter=iteration, _randomness_cfg={})
        self.wrapper = Runner.build_optim_wrapper(runner, copy.deepcopy(cfg.optim_wrapper))
        arguments = dict(cfg.default_hooks.get('teacher') or {'type': None})
        arguments.pop('type')
        self.hook, self.runner = MeanTeacherHook(**arguments), runner
        self.hook.before_train(runner)
        parts = by_domain(batch)
        self.parts = {name: parts[name] for name in names}
        self.batch = {
            key: {b: sum((parts[n][key][b] for n in names), []) for b in batch[key]}
            for key in ('inputs', 'data_samples')
        }
        self.iteration = iteration

    def step(self) -> None:
        """Run one iteration as the runner does."""
        self.model.start_step(self.iteration)
        self.model.train_step(copy.deepcopy(self.batch), self.wrapper)
        self.finish()

    def step_at_once(self) -> None:
        """Run the same update with one backward pass through all domains."""
        total, self.model._ran = 0, list(self.parts)
        for index, (name, part) in enumerate(copy.deepcopy(self.parts).items()):
            domain = self.model.domains[name]
            domain.start_step(self.iteration, derive_seed(0, index) if index else 0)
            with self.wrapper.optim_context(self.model):
                losses = domain(**domain.data_preprocessor(part, training=True), mode='loss')
            total = total + domain.sum_losses(losses)[0]
        self.wrapper.update_params(total)
        self.finish()

    def finish(self) -> None:
        self.model.finish_step()
        self.hook.after_train_iter(self.runner, self.iteration)

    def held(self) -> int:
        """Bytes of weights, buffers, gradients and optimiser state between two steps."""
        state = [
            value
            for values in self.wrapper.optimizer.state.values()
            for value in values.values()
            if torch.is_tensor(value)
        ]
        trained = [p for group in self.wrapper.optimizer.param_groups for p in group['params']]
        # gradients are freed after a step, and as large as what is trained during it
        return stored_bytes([*self.model.parameters(), *self.model.buffers(), *state]) + (
            stored_bytes(trained)
        )


def read_batch(cfg: Config) -> dict:
    """The first training batch."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    arguments = {k: v for k, v in cfg.train_dataloader.sampler.items() if k != 'type'}
    sampler = MultiDomainSampler(dataset, **(arguments | {'seed': 0}))
    keys = iter(sampler)
    samples = [dataset[next(keys)] for _ in range(sampler.batch_size)]
    return domain_collate(samples)


def timed(step: Callable[[], None], read: Callable[[], float]) -> Callable[[], float]:
    """Wrap a step so that it returns its duration in seconds."""

    def run() -> float:
        start = read()
        step()
        return read() - start

    return run


def measure(cfg: Config, args: argparse.Namespace) -> dict:
    """Measure seconds of each step, bytes held, and bytes allocated in a step."""
    device = torch.device(get_device())
    names = list(cfg.model.domains)
    iteration = cfg.train_cfg.max_iters // 2 if args.at is None else args.at
    batch = read_batch(cfg)
    joint, at_once = (Run(cfg, names, batch, iteration) for _ in range(2))
    alone = {name: Run(cfg, [name], batch, iteration) for name in names}
    steps: dict[str, tuple[Run, Callable]] = {'joint': (joint, joint.step)}
    steps |= {name: (run, run.step) for name, run in alone.items()}
    steps['at once'] = (at_once, at_once.step_at_once)
    read = clock(device, args.cpu_time)
    times = interleave([timed(step, read) for _, step in steps.values()], args.iters, warmup=2)
    return dict(
        config=args.config,
        device=str(device),
        threads=torch.get_num_threads(),
        seconds=dict(zip(steps, times, strict=True)),
        held={name: run.held() for name, (run, _) in steps.items()},
        step={name: trace_memory(step, device).rise for name, (_, step) in steps.items()},
    )


def show(found: dict, names: list[str]) -> None:
    """Print a table of the numbers, and the ratios of the joint step to the separate ones."""
    print(f'{"":22}{"seconds":>10}{"held, MiB":>12}{"a step, MiB":>13}')
    rows = {'joint': 'joint step'} | {n: f'{n} alone' for n in names} | {'at once': 'at once'}
    for name, title in rows.items():
        seconds = statistics.median(found['seconds'][name])
        held, step = found['held'][name] / MIB, found['step'][name] / MIB
        print(f'{title:22}{seconds:10.3f}{held:12.1f}{step:13.1f}')
    apart = [sum(pair) for pair in zip(*(found['seconds'][name] for name in names), strict=True)]
    print(f'time, joint / sum of the others:  {Ratio.of(found["seconds"]["joint"], apart)}')
    held = sum(found['held'][name] for name in names)
    print(f'held, joint / sum of the others:  {found["held"]["joint"] / held:.3f}')
    largest = max(found['step'][name] for name in names)
    print(f'a step, joint / larger of the others:  {found["step"]["joint"] / largest:.3f}')
    print(f'a step, at once / joint:  {found["step"]["at once"] / found["step"]["joint"]:.3f}')


@tool
def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = configs.load_config(args.config)
    if cfg.model.get('schedule', 'joint') != 'joint' or len(cfg.model.get('domains', [])) < 2:
        raise SetupError(
            f"config '{args.config}' has no joint step of several domains; take one with model.schedule='joint'"
        )
    devices.set_precision(cfg, args.amp)
    init_default_scope('mmseg')
    found = measure(cfg, args)
    show(found, list(cfg.model.domains))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
