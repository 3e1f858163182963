"""Whole runs as users start them, on one process or on several, and what two of them have in common."""

import contextlib
import gc
import multiprocessing
import os
import runpy
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import base_dataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models.backbones import ResNet
from tiny_semi import tiny_runner

from mmseg_semi.runtime import configs, devices, stack

ROOT = Path(__file__).resolve().parents[1]


class Stopped(Exception):
    """What a :class:`Stop` ends a run with."""


class Stop(Hook):
    """Ends a run in front of an iteration, as a user's interrupt would; not part of any config."""

    priority = 'HIGHEST'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.iteration:
            raise Stopped


def train(
    cfg: Config, work_dir: Path, resume: bool = False, stop: int | None = None, hooks: tuple = ()
) -> Runner:
    """What ``tools/train.py CFG --work-dir WORK_DIR [--resume]`` does, in this process.

    Args:
        cfg: Left as it is.
        work_dir: Folder of the run.
        resume: Whether to go on from its newest checkpoint.
        stop: Iteration in front of which the run is stopped; None runs it to its end.
        hooks: Observers to be registered beside the config's own.
    """
    cfg = cfg.copy()
    configs.set_work_dir(cfg, str(work_dir), cfg.filename)
    configs.set_resume(cfg, 'auto' if resume else None)
    runner = tiny_runner(cfg)
    for hook in hooks if stop is None else (*hooks, Stop(stop)):
        runner.register_hook(hook)
    ending = contextlib.nullcontext() if stop is None else pytest.raises(Stopped)
    with ending, stack.complete_weights(cfg.resume):
        runner.train()
    devices.end_workers()
    return runner


def call_tool(name: str, *arguments: Any) -> None:
    """A tool of ``tools/`` in this process: the import of the stack takes most of a short run."""
    script = str(ROOT / 'tools' / f'{name}.py')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [script, *map(str, arguments)])
        runpy.run_path(script, run_name='__main__')


# -- several processes -----------------------------------------------------------------------------


# What every run imports sooner or later: two seconds that its processes would spend anew.
_PRELOAD = [
    'mmseg_semi',
    'mmseg.apis',
    'matplotlib.pyplot',
    'torch._dynamo',
    'torch.utils.cpp_extension',
]


@contextlib.contextmanager
def forkserver() -> Iterator[Any]:
    """A multiprocessing context whose processes are forked from one that has imported the package and computed nothing."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(_PRELOAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CUDA_VISIBLE_DEVICES', '')  # looked at when the package is imported
        patch.setenv('OMP_NUM_THREADS', '1')
        yield context


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def take_rank(rank: int, world_size: int, port: int) -> None:
    """Give this process the environment of a launcher, as the rank of one machine."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )


def on_ranks(function: Callable, world_size: int, *arguments: Any, timeout: float = 120) -> list:
    """``[function(rank, *arguments) for rank in range(world_size)]``, each in a process of its own.

    The processes have a launcher's environment, so that ``devices.init_distributed(cfg, 'pytorch')`` works there.

    Args:
        function: Of a module, not of a function.
        world_size: Number of processes.
        arguments: Pickled.
        timeout: In seconds.
    """
    port = free_port()
    with forkserver() as context:
        queue = context.Queue()
        processes = [
            context.Process(target=_rank, args=(queue, function, rank, world_size, port, arguments))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
    results: dict[int, Any] = {}
    try:
        while len(results) < world_size:
            rank, result, error = queue.get(timeout=timeout)
            assert error is None, f'rank {rank}:\n{error}'
            results[rank] = result
    finally:
        for process in processes:
            process.join(10 if len(results) == world_size else 0)
            process.kill()
    return [results[rank] for rank in range(world_size)]


def whole_and_in_parts(rank: int, path: str, folder: Path, stop: int) -> None:
    """On a rank: the run of a config in ``folder/whole``, and in ``folder/parts`` stopped in front of an iteration and resumed."""
    cfg = Config.fromfile(path)
    devices.init_distributed(cfg, 'pytorch')
    train(cfg, folder / 'whole')
    train(cfg, folder / 'parts', stop=stop)
    train(cfg, folder / 'parts', resume=True)


def make_light() -> None:
    """What ``conftest.py`` does for the whole suite, in a process of :func:`forkserver`."""
    import yapf.yapflib.yapf_api

    torch.set_num_threads(1)
    gc.freeze()
    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)
    base_dataset.gc = SimpleNamespace(collect=lambda: 0)


def one_block_a_stage(patch: pytest.MonkeyPatch) -> None:
    """ResNets have one block a stage: for what depth adds only time to."""
    one = {depth: (block, (1, 1, 1, 1)) for depth, (block, _) in ResNet.arch_settings.items()}
    patch.setattr(ResNet, 'arch_settings', one)


def _rank(queue, function, rank: int, world_size: int, port: int, arguments: tuple) -> None:
    take_rank(rank, world_size, port)
    make_light()
    try:
        queue.put((rank, function(rank, *arguments), None))
    except BaseException:
        queue.put((rank, None, traceback.format_exc()))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


# -- comparing -------------------------------------------------------------------------------------

# Of a checkpoint: what is not the run's state but says when, where and under which name it ran.
_CIRCUMSTANCES = (
    'meta.time',
    'meta.experiment_name',
    'meta.mmengine_version',  # with the commit of the working directory
    'meta.cfg',
    'message_hub.runtime_info.cfg',
    'message_hub.runtime_info.experiment_name',
    'message_hub.runtime_info.mmengine_version',  # likewise: a commit between two runs changes it
    'message_hub.resumed_keys',
    *(
        f'message_hub.log_scalars.{stage}/{what}'
        for stage in ('train', 'val')
        for what in ('time', 'data_time', 'memory')
    ),
)


def assert_same_checkpoint(one: Path, other: Path) -> dict:
    """Two checkpoints hold the same state, bit for bit; returns it."""
    one, other = (torch.load(path, weights_only=True) for path in (one, other))
    assert_same(one, other)
    return one


def assert_same(one: Any, other: Any, place: str = '') -> None:
    """Equal types, shapes and bits, all the way down."""
    if place in _CIRCUMSTANCES:
        return
    assert type(one) is type(other), place
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and one.shape == other.shape, place
        assert one.stride() == other.stride(), place
        one, other = (x.contiguous().view(-1).view(torch.uint8) for x in (one, other))
        assert torch.equal(one, other), place
    elif isinstance(one, Mapping):
        assert list(one) == list(other), place
        for key in one:
            assert_same(one[key], other[key], f'{place}.{key}' if place else str(key))
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_same(mine, theirs, f'{place}.{index}')
    elif isinstance(one, float):
        assert np.float64(one).tobytes() == np.float64(other).tobytes(), place
    else:
        assert one == other, place


def logged(checkpoint: Mapping, name: str) -> list[float]:
    """A quantity of every iteration so far, from the message hub of a checkpoint."""
    history = checkpoint['message_hub']['log_scalars'][f'train/{name}']['__history__']
    return history['values']['__ndarray__'].tolist()


@contextlib.contextmanager
def recorded_samples(file: Path) -> Iterator[Callable[[], list[tuple[int, int]]]]:
    """Within it, every sample that a ``SemiDataset`` loads is noted, workers included.

    Yields a function that returns the (index, seed) of the samples so far.
    """
    from mmseg_semi.data.semi_dataset import SemiDataset

    load = SemiDataset.__getitem__

    def note(self, key):
        with open(file, 'a') as notes:  # one short write: workers do not mix their lines
            notes.write(f'{key.index} {key.seed}\n')
        return load(self, key)

    def read() -> list[tuple[int, int]]:
        lines = file.read_text().splitlines() if file.exists() else []
        return [tuple(map(int, line.split())) for line in lines]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SemiDataset, '__getitem__', note)
        yield read
