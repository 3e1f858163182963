"""What takes days, a GPU or a download, made small while the documented commands stay as they are.

A config is made small when it is read; a training begins in front of its last iteration, so that its checkpoint has the documented
name and all phases of its method are on; processes that a command would start are this one.
"""

import contextlib
import functools
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import published
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop
from shipped import read_once
from whole_runs import forkserver, make_light, one_block_a_stage

from mmseg_semi import cli
from mmseg_semi.backbones import efficientnet_lite
from mmseg_semi.cli import quickstart, train
from mmseg_semi.cli.analysis import crash_test, long_run, runs
from mmseg_semi.cli.benchmark import gpu
from mmseg_semi.data import splits
from mmseg_semi.preparing import conversion, published_splits
from mmseg_semi.preparing import quickstart as scenes
from mmseg_semi.preparing.converters import cityscapes, sun_rgbd, voc
from mmseg_semi.runtime import configs

SIDE = 65
IMAGES = 2
"""Of each kind in a step: more than one, for batch norms of pooled features."""

_names = itertools.count()


def small(cfg: Config) -> Config:
    """A config of the same recipe with small crops and batches, without workers and without pretrained weights; changed in place."""
    for node in _nodes(cfg._cfg_dict):
        for key in ('crop_size', 'scale', 'frame_size'):
            if isinstance(node.get(key), tuple | list):
                node[key] = tuple(min(side, SIDE) for side in node[key])
        if (node.get('init_cfg') or {}).get('type') == 'Pretrained':
            node['init_cfg'] = None
        backbone = node.get('backbone') or {}
        if backbone.get('depth', 0) >= 50 and 'base_channels' not in backbone:
            thin(node)
        if 'num_workers' in node:
            node.update(num_workers=0, persistent_workers=False)
        if 'source_ratio' in node:
            node.update(
                source_ratio=[IMAGES] * len(node['source_ratio']),
                batch_size=IMAGES * len(node['source_ratio']),
            )
        if 'samplers' in node:  # of several domains
            sizes = [sampler['batch_size'] for sampler in node['samplers'].values()]
            node['batch_size'] = (max if node['schedule'] == 'alternate' else sum)(sizes)
        if 'batch_size' in (node.get('sampler') or {}):
            node['batch_size'] = node['sampler']['batch_size']
    if 'train_cfg' in cfg:  # runs of one process must not have one name
        cfg.experiment_name = f'page_{next(_names)}'
        cfg.visualizer.name = cfg.experiment_name
    return cfg


def thin(network: dict) -> None:
    """A ResNet-50 or -101 of an eighth of its width, with the heads on it; changed in place."""
    network['backbone'].update(base_channels=8, stem_channels=8)
    for head in (network.get('decode_head'), network.get('auxiliary_head'), network):
        found = (head or {}).get('in_channels')
        if found:
            sides = (one // 8 for one in found) if isinstance(found, tuple | list) else found // 8
            head['in_channels'] = sides if isinstance(sides, int) else tuple(sides)
        for key, most in dict(channels=32, low_channels=8).items():
            if head and head.get(key):
                head[key] = min(head[key], most)


def _nodes(node: Any) -> Iterator[dict]:
    """All dicts in a part of a config, the outer ones last."""
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list | tuple):
            yield from _nodes(child)
    if isinstance(node, dict):
        yield node


def jump(run_iter) -> Any:
    """Wraps ``IterBasedTrainLoop.run_iter``: of all iterations, the last one and those after which ST++ keeps the weights.

    Runs of at most ten iterations are left as they are.
    """

    @functools.wraps(run_iter)
    def wrapped(loop, data_batch) -> None:
        if loop._max_iters <= 10:
            run_iter(loop, data_batch)
            return
        kept = (getattr(hook, 'iterations', ()) for hook in loop.runner.hooks)
        stops = {loop._max_iters, *itertools.chain(*kept)}
        following = min((stop for stop in stops if stop > loop._iter), default=loop._iter + 1)
        # domains that alternate do so by the number of the iteration
        alternate = hasattr(loop.dataloader.sampler, 'turns')
        loop._iter += (
            (following - 1 - loop._iter) // 2 * 2 if alternate else following - 1 - loop._iter
        )
        run_iter(loop, data_batch)

    return wrapped


class AnyNumber(dict):
    """Takes the place of the published numbers of images: any are right."""

    def __ne__(self, other) -> bool:
        return False


def one_training(finish_all) -> Any:
    """Wraps ``runs.finish_all``: the first run of a study is trained and tested.

    Of each other method, one run is checked as all are, its config is read with the run's options, and the first one's results stand
    for its own.
    """

    @functools.wraps(finish_all)
    def wrapped(listed, *arguments) -> None:
        methods: dict[str, runs.Run] = {}
        for run in listed:
            methods.setdefault(run.method, run)
        first, *others = methods.values()
        finish_all([first], *arguments)
        for run in others:
            runs.check(run)
            words = [run.config, '--cfg-options', *run.cfg_options]
            configs.load_config(run.config, train.parse_args(words).cfg_options)
            shutil.copytree(first.folder, run.folder, ignore=shutil.ignore_patterns('*.pth'))

    return wrapped


def here(command, log: Path) -> int:
    """Takes the place of ``runs.start``: a command of a study in this process."""
    with runs._READING:  # one at a time
        try:
            cli.main(list(command))
        except SystemExit as end:
            log.write_text('error: see the output\n')
            return end.code or 0
    return 0


def popen_here(command, **_) -> SimpleNamespace:
    """Takes the place of ``subprocess.Popen`` for ``[*TRAIN, ...]``."""
    cli.main([str(word) for word in command[3:]])
    return SimpleNamespace(poll=lambda: 0, returncode=0, terminate=lambda: None)


def forked(config: str, work_dir: Path, options: list[str]):
    """Takes the place of ``crash_test.Forked``, with the processes of the other tests."""
    words = [config, '--work-dir', str(work_dir), '--resume', '--cfg-options', *options]
    with forkserver() as context:
        process = context.Process(target=train_apart, args=(words, f'{work_dir}.log'))
        process.start()
    return process


def train_apart(words: list[str], log: str) -> None:
    """The training of a :func:`forked` process."""
    make_light()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    train.main(words)


def observed(start, folder, seconds: float, note) -> list[long_run.Sample]:
    """Takes the place of half an hour's observation of a training."""
    steady = dict(memory=600.0, files=40, threads=8, processes=3, temporary=2, disk=1.0)
    samples = [
        long_run.Sample(seconds=60.0 * i, iteration=i, step=0.1, processor=0.08, **steady)
        for i in range(30)
    ]
    for sample in samples:
        note(sample)
    return samples


@contextlib.contextmanager
def shortened(archives: Path) -> Iterator[pytest.MonkeyPatch]:
    """All that is made small.

    Args:
        archives: Folder with what would be downloaded.
    """
    load, small_run = configs.load_config, crash_test.small_run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(read_once))
        patch.setattr(configs, 'load_config', lambda *args, **kw: small(load(*args, **kw)))
        one_block_a_stage(patch)
        patch.setitem(efficientnet_lite.MULTIPLIERS, 'lite0', (1.0, 0.1))  # likewise
        patch.setattr(IterBasedTrainLoop, 'run_iter', jump(IterBasedTrainLoop.run_iter))
        # processes
        patch.setattr(torch, 'set_num_threads', lambda number: None)  # see conftest.py
        patch.setattr(runs, 'start', here)
        for module in ('study', 'compare'):
            target = f'mmseg_semi.cli.analysis.{module}.finish_all'
            patch.setattr(target, one_training(runs.finish_all))
        patch.setattr(quickstart, 'subprocess', SimpleNamespace(Popen=popen_here, STDOUT=None))
        patch.setattr(conversion, 'available_cores', lambda: 1)
        # measurements
        patch.setattr(gpu, 'VARIANTS', (gpu.Variant('float32', 'contiguous'),))
        patch.setattr(gpu, 'METHODS', {name: gpu.METHODS[name] for name in ('ddfp', 'fixmatch')})
        patch.setattr(gpu, 'measure_input', lambda toy: {'complete, workers 1': 10.0})
        patch.setattr(crash_test, 'small_run', lambda folder, iterations: small_run(folder, 3))
        patch.setattr(crash_test, 'Forked', forked)
        patch.setattr(crash_test, '_sleep', lambda seconds, training: None)
        patch.setattr(long_run, 'observe', observed)
        # data
        few = ('data/quickstart', 0, 8, 8, 4, (112, 112), False)
        patch.setattr(scenes.generate, '__defaults__', few)
        for converter in (voc, cityscapes, sun_rgbd):
            patch.setattr(converter, 'COUNTS', AnyNumber())

        def download(archive, folder: Path, mirror: str | None = None) -> Path:
            folder.mkdir(parents=True, exist_ok=True)
            return Path(shutil.copy(archives / archive.name, folder))

        def fetch(address: str, path: Path) -> bool:
            return bool(shutil.copy(archives / 'lists.zip', path))

        patch.setattr(conversion, 'download_archive', download)
        patch.setattr(published_splits, '_fetch', fetch)
        lists = published.protocols()
        for module in (splits, published_splits):
            patch.setattr(module, 'load_protocols', lambda: lists)
        yield patch
