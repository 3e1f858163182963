"""Two processes equal one that works group by group on the same groups of images.

A group is what one rank holds. The one process takes the loss of group 0 and of group 1, averages their gradients, steps
once, averages the flow's gradients of the two groups, pushes a sample of both groups' features into DGCL's banks, adds up
MLLC's counts and class sums, and moves the teacher once; each group draws from its rank's
stream. Norms see one image at a time (GroupNorm) or nothing (frozen BN), and there is no dropout.

Tolerance: 1e-5, relative to the largest value of a tensor, on every loss of six steps and on all weights after them. The
six steps pass through all phases of DDFP; sums of two gradients may round differently, nothing else.
"""

import contextlib
import copy
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from tiny_semi import CROP, ITERS_PER_EPOCH, tiny_data
from whole_runs import ROOT, assert_same_checkpoint, call_tool, on_ranks, recorded_samples, train

from mmseg_semi.data.samplers import MultiSourceSampler
from mmseg_semi.methods.dgcl.objective import DGCLObjective
from mmseg_semi.methods.mllc.objective import MLLCObjective
from mmseg_semi.methods.u2pl import U2PLObjective
from mmseg_semi.runtime import devices

STEPS = 6  # two of each phase
WORLD = 2
TOLERANCE = 1e-5
CASES = {
    'supervised': dict(method='supervised', diff_rank_seed=True),
    'fixmatch, frozen BN': dict(method='fixmatch', frozen_bn=True),
    'ddfp': dict(method='ddfp'),
    'ddfp_reference': dict(method='ddfp_reference'),
    'dgcl': dict(method='dgcl'),
    'cct': dict(method='cct'),
    'mllc': dict(method='mllc'),
    'unimatch': dict(method='unimatch'),
    'cps': dict(method='cps'),
    'u2pl': dict(method='u2pl'),
    'u2pl_dgcl': dict(method='u2pl_dgcl'),
}


def run_config(
    folder: Path,
    method: str,
    frozen_bn: bool = False,
    diff_rank_seed: bool = False,
    **changes,
) -> Config:
    cfg = tiny_data(
        folder, method, iterations=STEPS, checkpoint_interval=STEPS, **{'model': {}} | changes
    )
    cfg.param_scheduler = None
    if method == 'mllc':
        # neighbours of untrained features are almost equally near: kernels that sum two images in another order than four, as
        # channels-last and fused ones do, let some of them change places
        cfg.model.memory_format = 'contiguous'
        cfg.optim_wrapper.optimizer.fused = False
    cfg.randomness.diff_rank_seed = diff_rank_seed
    if frozen_bn:
        cfg.model.student.backbone.norm_cfg = dict(type='BN', requires_grad=True)
        cfg.model.student.backbone.norm_eval = True
    cfg.dump(cfg.filename)
    return Config.fromfile(cfg.filename)


# -- the ranks -------------------------------------------------------------------------------------


class Observer(Hook):
    """Notes what a rank starts from, its losses, and the parameters that got no gradient."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.wrapper, model = runner.model, runner.model.module
        self.initial = {name: value.clone() for name, value in model.state_dict().items()}
        self.losses, self.without_gradient, self.sent = [], [], []
        self.trained = {n for n, p in model.named_parameters() if p.requires_grad}
        self.reached = set()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(
                    lambda _, name=name: self.reached.add(name)
                )

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.sent.append(0)

    @contextlib.contextmanager
    def counting(self):
        """Bytes that this rank hands to collectives, other than the reducer's of the student's gradients."""
        with pytest.MonkeyPatch.context() as patch:
            for name, place in (('all_reduce', 0), ('all_gather', 1), ('broadcast', 0)):
                own = getattr(torch.distributed, name)

                def counted(*args, own=own, place=place, **kwargs):
                    if getattr(self, 'sent', None):
                        self.sent[-1] += args[place].nbytes
                    return own(*args, **kwargs)

                patch.setattr(torch.distributed, name, counted)
            yield

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(dict(outputs))
        self.without_gradient.append(sorted(self.trained - self.reached))
        self.reached.clear()


def observed_rank(rank: int, path: str, folder: Path) -> None:
    cfg = Config.fromfile(path)
    devices.init_distributed(cfg, 'pytorch')
    observer = Observer()
    with recorded_samples(folder / f'samples{rank}'), observer.counting():
        runner = train(cfg, folder / 'ranks', hooks=(observer,))
    notes = dict(
        initial=observer.initial,
        final=runner.model.module.state_dict(),
        losses=observer.losses,
        without_gradient=observer.without_gradient,
        sent=observer.sent,
        find_unused_parameters=observer.wrapper.find_unused_parameters,
    )
    torch.save(notes, folder / f'rank{rank}.pth')


# -- the one process -------------------------------------------------------------------------------


class Groups:
    """The batches of all ranks, read in one process."""

    def __init__(self, cfg: Config) -> None:
        self.size = cfg.train_dataloader.batch_size
        self.dataset = DATASETS.build(cfg.train_dataloader.dataset)
        self.streams = [iter(self.sampler(cfg, rank, WORLD)) for rank in range(WORLD)]

    def sampler(self, cfg: Config, rank: int, world: int, times: int = 1) -> MultiSourceSampler:
        arguments = {**cfg.train_dataloader.sampler, 'seed': cfg.randomness.seed}
        arguments['batch_size'] *= times
        del arguments['type']
        sampler = MultiSourceSampler(self.dataset, **arguments)
        sampler.rank, sampler.world_size = rank, world
        return sampler

    def next(self, rank: int) -> dict:
        keys = itertools.islice(self.streams[rank], self.size)
        return pseudo_collate([self.dataset[key] for key in keys])


def joined(kept: list[tuple], width: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Of all groups' candidates for the banks, each class's with the smallest random numbers."""
    _, *rows, counts = kept[0]
    classes = len(counts)
    rows = [x.new_zeros(classes, width, x.shape[2]) for x in rows]
    counts = torch.zeros_like(counts)
    for c in range(classes):
        candidates = [
            (keys[c, i].item(), [x[c, i] for x in theirs])
            for keys, *theirs, number in kept
            for i in range(number[c])
        ]
        for i, (_, found) in enumerate(sorted(candidates, key=lambda row: row[0])[:width]):
            counts[c] = i + 1
            for x, row in zip(rows, found, strict=True):
                x[c, i] = row
    return rows, counts


class Collectives:
    """What the ranks of one segmentor exchange beside the student's gradients, between the passes of one process.

    Args:
        model: A ``SemiSegmentor``.
        epochs: Of the flow's hook, where there is one.
    """

    def __init__(self, model, epochs: int | None) -> None:
        self.model, self.epochs = model, epochs
        objectives = model.objectives
        (self.ddfp,) = [o for o in objectives if hasattr(o, 'density')] or [None]
        (self.dgcl,) = [o for o in objectives if isinstance(o, DGCLObjective)] or [None]
        (self.mllc,) = [o for o in objectives if isinstance(o, MLLCObjective)] or [None]
        (self.u2pl,) = [o for o in objectives if isinstance(o, U2PLObjective)] or [None]
        if self.ddfp is not None:
            self.flow = list(self.ddfp.density.parameters())
            self.adam = torch.optim.Adam(self.flow, betas=(0.5, 0.9))
            self.nll = [self.ddfp.nll.clone() for _ in range(WORLD)]
        self.flow_gradients, self.kept, self.prototypes, self.keys = [], [], [], []
        negatives = getattr(self.u2pl, 'negatives', None)
        self.negatives = getattr(self.dgcl, 'unreliable_negatives', negatives)

    def before_pass(self, rank: int) -> None:
        if self.ddfp is not None:
            self.ddfp.nll.copy_(self.nll[rank])  # logged one step later, by the rank that had it

    def after_pass(self, rank: int) -> None:
        """Takes what the rank would send."""
        if self.mllc is not None:
            self.prototypes.append(self.mllc._kept)
        if self.ddfp is not None:
            with self.ddfp.density.trainable():
                value = self.ddfp.estimator_loss()
                if value is not None:
                    self.flow_gradients.append(torch.autograd.grad(value, self.flow))
            self.nll[rank] = self.ddfp.nll.clone()
        if self.dgcl is not None and self.dgcl._kept is not None:
            self.kept.append(self.dgcl._kept)
            self.dgcl._kept = None
        if self.negatives is not None and self.negatives._kept is not None:
            self.keys.append(self.negatives._kept)
            self.negatives._kept = None

    def finish_step(self, step: int) -> None:
        """Moves flow, banks, counts and prototypes by what all ranks have sent, behind the optimiser's step."""
        if self.kept:
            rows, counts = joined(self.kept, self.dgcl.rows_per_step)
            self.dgcl.bank.push(*rows, counts)
        if self.keys:
            (rows,), counts = joined(self.keys, self.negatives.keys_per_step)
            self.negatives.queue.push(rows, counts)
        if self.keys and self.u2pl is not None:
            now = SimpleNamespace(time=step / ITERS_PER_EPOCH, iteration=step)
            self.u2pl.after_step(SimpleNamespace(batch=now))  # moves the averaged projection
        if self.flow_gradients:
            mean = [sum(parts) / WORLD for parts in zip(*self.flow_gradients, strict=True)]
            norm = torch.cat([gradient.flatten() for gradient in mean]).norm()
            for parameter, gradient in zip(self.flow, mean, strict=True):
                parameter.grad = gradient * min(1.0, 50.0 / (norm.item() + 1e-6))
            epoch = step // ITERS_PER_EPOCH
            self.adam.param_groups[0]['lr'] = 1e-3 * 0.01 ** (epoch / self.epochs)
            self.adam.step()
        if self.prototypes:
            self.model.pseudo_label.after_step()  # has seen both groups
            self.mllc._kept = [
                tuple(sum(part.double() for part in parts) for parts in zip(*level, strict=True))
                for level in zip(*self.prototypes, strict=True)
            ]
            self.mllc.after_step(None)
        self.flow_gradients, self.kept, self.prototypes, self.keys = [], [], [], []


def one_process(cfg: Config, initial: dict) -> tuple[list[list[dict]], dict]:
    """Losses by rank and step, and the final state dict."""
    init_default_scope('mmseg')
    groups = Groups(cfg)
    model = MODELS.build(cfg.model).train()
    model.load_state_dict(initial)
    trained = [*model.student.parameters(), *model.objectives.parameters()]
    if model.peer is not None:
        trained += model.peer.student.parameters()
    sgd = torch.optim.SGD(
        [p for p in trained if p.requires_grad], lr=0.02, momentum=0.9, weight_decay=1e-4
    )
    collectives = Collectives(model, cfg.default_hooks.get('flow', {}).get('epochs'))
    losses = [[] for _ in range(WORLD)]
    for step in range(cfg.train_cfg.max_iters):
        batches = [groups.next(rank) for rank in range(WORLD)]
        if collectives.mllc is not None:
            share_omega(model, collectives.mllc, batches, step, cfg.randomness.seed)
        for rank in range(WORLD):
            model.start_step(step, cfg.randomness.seed, rank)
            collectives.before_pass(rank)
            data = model.data_preprocessor(batches[rank], training=True)
            loss, log = model.parse_losses(model.loss(**data))
            losses[rank].append(log)
            (loss / WORLD).backward()
            collectives.after_pass(rank)
        sgd.step()
        sgd.zero_grad()
        collectives.finish_step(step)
        if model.recipe is not None and model.recipe.weights == 'ema':
            move_teacher(model, step)
    return losses, model.state_dict()


@torch.no_grad()
def move_teacher(model, step: int) -> None:
    start = ITERS_PER_EPOCH  # of averaging; the step in front of it copies
    if step + 1 < start:
        return
    decay = min(1 - 1 / max(step - start + 1, 1), 0.9)
    for mine, theirs in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)
    for mine, theirs in zip(model.teacher.buffers(), model.student.buffers(), strict=True):
        mine.copy_(theirs)


def share_omega(model, mllc, batches: list[dict], step: int, seed: int) -> None:
    """MLLC's weight of the strong view is that of the certain pixels of all groups: counts them in a pass beforehand."""
    counts = []
    mllc._over_ranks = lambda own: counts.append(own) or own
    with torch.no_grad():
        for rank, batch in enumerate(batches):
            model.start_step(step, seed, rank)
            model.loss(**model.data_preprocessor(copy.deepcopy(batch), training=True))
            model.pseudo_label.thresholds._new = None
    mllc._over_ranks = lambda own: sum(counts)


def assert_close(one: torch.Tensor, other: torch.Tensor, name: str) -> None:
    scale = max(one.abs().max().item(), 1e-3)
    assert (one - other).abs().max().item() <= TOLERANCE * scale, name


@pytest.fixture(scope='module', params=CASES)
def ranks(request, tmp_path_factory):
    """A run on two ranks: its config, its folder, and what each rank noted."""
    folder = tmp_path_factory.mktemp('distributed')
    cfg = run_config(folder, **CASES[request.param], model=dict(norm='GN', dropout=0.0))
    on_ranks(observed_rank, WORLD, cfg.filename, folder)
    return cfg, folder, [torch.load(folder / f'rank{rank}.pth') for rank in range(WORLD)]


def test_two_processes_equal_one(ranks):
    cfg, _, notes = ranks
    losses, final = one_process(cfg, notes[0]['initial'])
    for rank in range(WORLD):
        assert len(notes[rank]['losses']) == cfg.train_cfg.max_iters
        for step in range(cfg.train_cfg.max_iters):
            mine, theirs = losses[rank][step], notes[rank]['losses'][step]
            assert mine.keys() == theirs.keys()
            for name in mine:
                values = [torch.tensor(float(log[name])) for log in (mine, theirs)]
                if name.endswith('acc_seg'):
                    # counts pixels: of classes that are equal but for rounding, one pixel can change (seen with AVX-512)
                    assert abs(values[0] - values[1]) <= 100 / CROP**2, (
                        f'rank {rank}, step {step}: {name}'
                    )
                    continue
                assert_close(*values, f'rank {rank}, step {step}: {name}')
    # the groups are not the same
    assert losses[0] != losses[1]
    assert losses[0][-1].get('dgcl.loss', 1) > 0 and losses[0][-1].get('dgcl.full', 1) > 0
    moved = set()
    for name, tensor in final.items():
        if name.endswith('.nll'):  # for the log, a rank's own
            continue
        for rank in range(WORLD):
            assert_close(tensor.double(), notes[rank]['final'][name].double(), name)
        if not torch.equal(tensor, notes[0]['initial'][name]):
            moved.add(name.partition('.')[0] + ('.density' if 'density' in name else ''))
    expected = {
        'supervised': {'student'},
        'fixmatch': {'student', 'teacher'},
        'ddfp': {'student', 'teacher', 'objectives.density'},
        'ddfp_reference': {'student', 'teacher', 'objectives.density'},
        'dgcl': {'student', 'teacher', 'objectives'},
        'cct': {'student', 'objectives'},
        'mllc': {'student', 'teacher', 'objectives', 'pseudo_label'},
        'unimatch': {'student'},
        'cps': {'student', 'peer'},
        'u2pl': {'student', 'teacher', 'objectives'},
        'u2pl_dgcl': {'student', 'teacher', 'objectives'},
    }
    assert moved == expected[Path(cfg.filename).stem.removeprefix('tiny_')]


def test_every_parameter_gets_a_gradient_in_every_phase(ranks):
    cfg, _, notes = ranks
    for note in notes:
        assert note['find_unused_parameters'] is False
        assert note['without_gradient'] == [[]] * cfg.train_cfg.max_iters


def test_banks_are_one_and_what_is_sent_for_them_is_bounded(ranks):
    """Rows are drawn first and sent then: bytes depend on the bank's rows a step, not on the maps or the pixels."""
    cfg, _, notes = ranks
    own = cfg.model.objectives[-1]
    if own.type != 'DGCLObjective':
        pytest.skip('no banks')
    one, other = (
        {name: value for name, value in note['final'].items() if '.bank.' in name} for note in notes
    )
    assert len(one) == 5 and all(torch.equal(one[name], other[name]) for name in one)
    assert one['objectives.2.bank.counts'].max() == own.bank_size
    (classes, _, channels), width = one['objectives.2.bank.features'].shape, own.projection_channels
    # a random number in float64 for every row that a rank could give, and once the rows in float32
    bound = classes * own.rows_per_step * (8 + 4 * channels + 4 * width)
    for note in notes:
        # the last step is followed by a validation; a CPU sends the rows that are there
        sent = note['sent'][ITERS_PER_EPOCH:-1]
        assert len(sent) == STEPS - ITERS_PER_EPOCH - 1
        assert all(8 * classes * own.rows_per_step < number <= bound for number in sent)
        assert sent == notes[0]['sent'][ITERS_PER_EPOCH:-1]
        assert not any(note['sent'][:ITERS_PER_EPOCH])


def test_ranks_read_what_one_process_with_a_larger_batch_reads(ranks):
    cfg, folder, _ = ranks
    size = cfg.train_dataloader.batch_size
    read = [
        [
            tuple(map(int, line.split()))
            for line in (folder / f'samples{r}').read_text().split('\n')[:-1]
        ]
        for r in range(WORLD)
    ]
    stream = iter(Groups(cfg).sampler(cfg, 0, 1, times=WORLD))
    for step in range(cfg.train_cfg.max_iters):
        one = [tuple(key) for key in itertools.islice(stream, WORLD * size)]
        two = [key for keys in read for key in keys[step * size : (step + 1) * size]]
        assert sorted(one) == sorted(two) and len(set(two)) == WORLD * size
    assert all(len(keys) == cfg.train_cfg.max_iters * size for keys in read)


def left_by_the_command(rank: int, path: str, work_dir: Path) -> tuple[set[str], list]:
    sync_bn = '--cfg-options', 'model.student.decode_head.norm_cfg.type=SyncBN'
    call_tool('train', path, '--work-dir', work_dir, '--launcher', 'pytorch', *sync_bn)
    tasks = Path('/proc/self/task').iterdir()
    threads = {task.joinpath('comm').read_text().strip() for task in tasks}
    return threads, [process.name for process in multiprocessing.active_children()]


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='lists threads in /proc')
def test_the_command_leaves_no_thread_of_the_group_and_no_worker(tmp_path):
    """A thread that frees a tensor while Python shuts down aborts its rank, and with it the others."""
    cfg = run_config(tmp_path, 'supervised', num_workers=1)
    cfg.default_hooks.report = dict(type='ReportHook')
    cfg.dump(cfg.filename)
    for threads, workers in on_ranks(left_by_the_command, WORLD, cfg.filename, tmp_path / 'run'):
        assert not any('gloo' in name for name in threads), threads
        assert not workers
    # the shipped configs have SyncBN, which processes on CPUs train with, too
    assert (tmp_path / 'run/last_checkpoint').read_text() == f'iter_{STEPS}.pth'
    # each rank has validated one of two images, whose void corners have 3 x 3 pixels
    report = json.loads((tmp_path / 'run/report_data.json').read_text())
    assert np.sum(report['matrix']['student']) == 2 * (48 * 36 - 9)
    assert [len(report[kind]) for kind in ('best', 'worst')] == [1, 1]


@pytest.mark.parametrize('ranks', ['ddfp'], indirect=True)
def test_dist_train_does_the_same(ranks, tmp_path):
    cfg, folder, _ = ranks
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        [
            ROOT / 'tools' / 'dist_train.sh',
            cfg.filename,
            str(WORLD),
            '--work-dir',
            tmp_path / 'script',
        ],
        env=os.environ
        | {
            'CUDA_VISIBLE_DEVICES': '',
            'OMP_NUM_THREADS': '1',
            'PORT': str(20000 + os.getpid() % 20000),
            'PYTHON': sys.executable,
            'PYTHONPATH': path,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    final = f'iter_{STEPS}.pth'
    assert_same_checkpoint(folder / 'ranks' / final, tmp_path / 'script' / final)
