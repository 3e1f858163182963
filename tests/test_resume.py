"""A run of 2n iterations equals one that was stopped at n and continued, bit for bit in everything it saves."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from tiny_semi import METHODS, tiny_data
from whole_runs import ROOT, assert_same_checkpoint, logged, on_ranks, recorded_samples, train

from mmseg_semi.data.samplers import MultiSourceSampler
from mmseg_semi.runtime import devices
from mmseg_semi.runtime.stopping import StopHook, Stopped, StopRequests

N = 3  # the perturbation of DDFP starts in iteration 4, the density and DGCL's bank in iteration 2


def run_config(folder, method: str, **changes) -> Config:
    return tiny_data(
        folder, method, iterations=2 * N, checkpoint_interval=N, val_interval=N, **changes
    )


def samples_before(cfg: Config, iteration: int, ranks: int = 1) -> set[tuple[int, int]]:
    """(index, seed) of what all ranks read before an iteration, from the sampler alone."""
    init_default_scope('mmseg')
    arguments = {**cfg.train_dataloader.sampler, 'seed': cfg.randomness.seed}
    arguments['batch_size'] *= ranks
    del arguments['type']
    sampler = MultiSourceSampler(DATASETS.build(cfg.train_dataloader.dataset), **arguments)
    count = iteration * arguments['batch_size']
    return {tuple(key) for key in itertools.islice(sampler, count)}


@pytest.mark.usefixtures('shallow')
@pytest.mark.parametrize('method', METHODS)
def test_stopped_and_continued(tmp_path, method):
    """In the process itself or by workers, both times as an uninterrupted run without workers."""
    cfg = run_config(tmp_path, method)
    train(cfg, tmp_path / 'whole')
    for workers in (0, 2):
        cfg.train_dataloader.update(num_workers=workers, persistent_workers=workers > 0)
        check_parts(cfg, tmp_path / 'whole', tmp_path / f'parts{workers}', method)


def check_parts(cfg: Config, whole: Path, parts: Path, method: str) -> None:
    train(cfg, parts, stop=N)
    with recorded_samples(parts / 'samples') as loaded:
        train(cfg, parts, resume=True)
        loaded = set(loaded())

    final = f'iter_{2 * N}.pth'
    state = assert_same_checkpoint(whole / final, parts / final)
    # what was compared is there, and all of it moved
    early = torch.load(parts / f'iter_{N}.pth', weights_only=True)
    assert len(logged(state, 'loss')) == 2 * N and len(set(logged(state, 'loss'))) == 2 * N
    prefix = 'student.decode_head.conv_seg.', 'objectives.1.decoders.'
    moved = [name for name in state['state_dict'] if name.startswith(prefix)]
    assert len(moved) == dict(cct=56).get(method, 2)  # of CCT eight decoders' tensors, in stacks
    for name in moved:
        assert not torch.equal(state['state_dict'][name], early['state_dict'][name]), name
    assert {'optimizer', 'param_schedulers', 'message_hub'} <= state.keys()
    assert ('flow_optimizers' in state) == method.startswith('ddfp')
    results = state['message_hub']['runtime_info']['results']
    assert [entry['iter'] for entry in results] == [N, 2 * N]
    if method.startswith('ddfp'):
        assert logged(state, 'ddfp.loss')[-1] > 0
        name = next(name for name in state['state_dict'] if 'density' in name and 'weight' in name)
        assert not torch.equal(state['state_dict'][name], early['state_dict'][name])

    if 'dgcl' in method:
        assert logged(state, 'dgcl.loss')[-1] > 0
        (name,) = (name for name in state['state_dict'] if name.endswith('bank.counts'))
        assert early['state_dict'][name].any() and not logged(early, 'dgcl.loss')[-1]
        assert (state['state_dict'][name] > early['state_dict'][name]).any()

    before, upto = (samples_before(cfg, i) for i in (N, 2 * N))
    assert not loaded & before
    assert loaded >= upto - before
    # beyond the end only what the workers prefetch: two batches each
    loader = cfg.train_dataloader
    assert len(loaded - upto) <= 2 * loader.num_workers * loader.batch_size


@pytest.mark.usefixtures('shallow')
def test_every_phase_boundary_and_twice_in_a_row(tmp_path):
    """Densities and banks begin in iteration 3, the perturbation in iteration 5: a run goes on from each iteration."""
    cfg = run_config(tmp_path, 'ddfp_dgcl')
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1, save_best=None)
    cfg.train_cfg.val_interval = 2 * N
    train(cfg, tmp_path / 'whole')
    final = f'iter_{2 * N}.pth'
    state = torch.load(tmp_path / 'whole' / final, weights_only=True)
    for phase in ('ddfp.loss', 'dgcl.loss'):  # each is 0 before it begins
        assert 0 in logged(state, phase) and logged(state, phase)[-1] > 0
    for iteration in range(1, 2 * N):
        parts = tmp_path / f'from{iteration}'
        parts.mkdir()
        shutil.copy(tmp_path / 'whole' / f'iter_{iteration}.pth', parts)
        if iteration == 1:  # stopped again after its second start
            train(cfg, parts, resume=True, stop=N)
        train(cfg, parts, resume=True)
        assert_same_checkpoint(tmp_path / 'whole' / final, parts / final)


@pytest.mark.parametrize(
    ('workers', 'dtype', 'amp'),
    [(0, 'bfloat16', False), (0, 'float32', True), (2, 'float32', False)],
)
def test_stopped_and_continued_with_full_banks(tmp_path, workers, dtype, amp):
    """Banks that are full and turn over; as bfloat16 they are half as large in the checkpoint; mixed precision."""
    cfg = run_config(tmp_path, 'dgcl', num_workers=workers)
    # 5 rows a step in banks of 6: full after two steps of contrast, and the next row goes somewhere in their middle
    changes = dict(bank_size=6, rows_per_step=5, density_after=4, bank_dtype=dtype)
    cfg.model.objectives[2].update(changes)
    cfg.train_cfg.update(max_iters=8, val_interval=5)
    cfg.param_scheduler[0].end = 8
    cfg.default_hooks.checkpoint.interval = 5
    devices.set_precision(cfg, amp)
    cfg.dump(cfg.filename)
    train(cfg, tmp_path / 'whole')
    train(cfg, tmp_path / 'parts', stop=5)
    early = torch.load(tmp_path / 'parts' / 'iter_5.pth', weights_only=True)
    bank = {
        name.rpartition('.')[2]: value
        for name, value in early['state_dict'].items()
        if '.bank.' in name
    }
    full = bank['counts'] == 6
    assert full.any() and (bank['heads'][full] > 0).any()
    for name in ('features', 'embeddings'):
        assert bank[name].dtype == getattr(torch, dtype)
        assert bank[name].nbytes == bank[name].numel() * (2 if dtype == 'bfloat16' else 4)
    train(cfg, tmp_path / 'parts', resume=True)
    state = assert_same_checkpoint(tmp_path / 'whole/iter_8.pth', tmp_path / 'parts/iter_8.pth')
    assert all(value > 0 for value in logged(state, 'dgcl.loss')[-3:])
    moved = state['state_dict']['objectives.2.bank.heads'][full] != bank['heads'][full]
    assert moved.any()


def accumulated(folder: Path, method: str = 'fixmatch') -> Config:
    """Three iterations make an update. The interval of two falls into the first and the second one."""
    cfg = tiny_data(folder, method, iterations=8, checkpoint_interval=2, val_interval=8)
    cfg.optim_wrapper.accumulative_counts = 3
    cfg.dump(cfg.filename)
    return cfg


def test_in_the_middle_of_an_accumulated_update(tmp_path):
    """No checkpoint is written there, since it would lack gradients; the run that goes on equals the whole one."""
    cfg = accumulated(tmp_path)
    train(cfg, tmp_path / 'whole')
    saved = {path.name for path in (tmp_path / 'whole').glob('iter_*.pth')}
    assert saved == {'iter_6.pth', 'iter_8.pth'}  # two are kept
    train(cfg, tmp_path / 'killed', stop=5)
    assert {path.name for path in (tmp_path / 'killed').glob('iter_*.pth')} == {'iter_3.pth'}
    train(cfg, tmp_path / 'killed', resume=True)
    assert_same_checkpoint(tmp_path / 'whole/iter_8.pth', tmp_path / 'killed/iter_8.pth')


def asked_to_stop(rank: int, path: str, folder: Path) -> int:
    cfg = Config.fromfile(path)
    devices.init_distributed(cfg, 'pytorch')
    train(cfg, folder / 'whole')
    requests = StopRequests()

    class Ask(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter + 1 == 4:
                requests.signal = signal.SIGTERM

    try:
        train(cfg, folder / 'parts', hooks=(StopHook(requests), Ask()))
    except Stopped as stopped:
        train(cfg, folder / 'parts', resume=True)
        return stopped.iteration
    raise AssertionError('the run was not stopped')


def test_stopped_in_the_middle_of_an_accumulated_update_on_two_ranks(tmp_path):
    cfg = accumulated(tmp_path, 'supervised')
    assert on_ranks(asked_to_stop, 2, cfg.filename, tmp_path) == [6, 6]
    assert_same_checkpoint(tmp_path / 'whole/iter_8.pth', tmp_path / 'parts/iter_8.pth')


def whole_and_parts(rank: int, path: str, folder: Path) -> set[tuple[int, int]]:
    cfg = Config.fromfile(path)
    devices.init_distributed(cfg, 'pytorch')
    train(cfg, folder / 'whole')
    train(cfg, folder / 'parts', stop=N)
    with recorded_samples(folder / f'samples{rank}') as loaded:
        train(cfg, folder / 'parts', resume=True)
        return set(loaded())


@pytest.mark.parametrize('method', METHODS)
def test_stopped_and_continued_on_two_ranks(tmp_path, method):
    workers = 2 if method == 'ddfp' else 0
    cfg = run_config(tmp_path, method, num_workers=workers)
    one, other = on_ranks(whole_and_parts, 2, cfg.filename, tmp_path)
    final = f'iter_{2 * N}.pth'
    assert_same_checkpoint(tmp_path / 'whole' / final, tmp_path / 'parts' / final)
    before, upto = (samples_before(cfg, i, ranks=2) for i in (N, 2 * N))
    assert not one & other and not (one | other) & before
    assert one | other >= upto - before
    assert workers or one | other == upto - before


def test_continued_by_the_command_in_another_process(tmp_path):
    cfg = run_config(tmp_path, 'ddfp')
    train(cfg, tmp_path / 'whole')
    (tmp_path / 'parts').mkdir()
    shutil.copy(tmp_path / 'whole' / f'iter_{N}.pth', tmp_path / 'parts')
    command = [sys.executable, ROOT / 'tools' / 'train.py', cfg.filename]
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    subprocess.run(
        [*command, '--work-dir', tmp_path / 'parts', '--resume'],
        env=os.environ | {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'PYTHONPATH': path},
        check=True,
        capture_output=True,
        timeout=300,
    )
    final = f'iter_{2 * N}.pth'
    assert_same_checkpoint(tmp_path / 'whole' / final, tmp_path / 'parts' / final)
