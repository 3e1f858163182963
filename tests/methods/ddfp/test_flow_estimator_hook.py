import copy
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from tiny_semi import TinyLoop, tiny_batch, tiny_losses, tiny_model
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.ddfp.hook import FlowEstimatorHook
from mmseg_semi.methods.ddfp.mixture import UNLABELED, MixtureDensity
from mmseg_semi.step.objective import Objective


class Density(Objective):
    """An objective with a density and samples that a test provides."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.estimator = MixtureDensity(8, 3, hidden_channels=8, generator=generator)
        self.samples: tuple | None = None
        self.factor = 1.0

    def get_estimator(self):
        return self.estimator

    def estimator_loss(self):
        if self.samples is None:
            return None
        return self.factor * self.estimator.nll(*self.samples)


def build(unit: int = 5, densities: int = 1, **settings):
    objectives = [Objective(), *(Density() for _ in range(densities))]
    model = SimpleNamespace(start_step=None, objectives=objectives, iters_per_epoch=unit)
    runner = SimpleNamespace(model=model, iter=0, message_hub=MessageHub('flow'), _resume=False)
    hook = FlowEstimatorHook(**settings)
    hook.before_train(runner)
    return hook, runner, objectives[-1]


def samples(seed: int) -> tuple:
    draw = torch.Generator().manual_seed(seed)
    components = torch.randint(-1, 3, (50,), generator=draw)
    assert (components == UNLABELED).any()
    return 2 * torch.randn(50, 8, generator=draw), components


def reference(density: nn.Module, seeds, lrs, clip: float, betas=(0.5, 0.9), factor: float = 1.0):
    """Plain PyTorch: Adam with clip_grad_norm_."""
    density.requires_grad_(True)
    optimizer = torch.optim.Adam(density.parameters(), lr=1.0, betas=betas, weight_decay=0.0)
    norms = []
    for seed, lr in zip(seeds, lrs, strict=True):
        for group in optimizer.param_groups:
            group['lr'] = lr
        optimizer.zero_grad()
        (factor * density.nll(*samples(seed))).backward()
        norms.append(torch.nn.utils.clip_grad_norm_(density.parameters(), clip).item())
        optimizer.step()
    density.requires_grad_(False)
    return norms


def fit(hook, runner, objective, steps: int) -> None:
    for seed in range(steps):
        runner.iter = seed
        objective.samples = samples(seed)
        hook.after_train_iter(runner, seed)


@pytest.mark.parametrize('clip', [0.5, 1e6])
def test_fits_like_plain_adam_with_clipping(clip):
    hook, runner, objective = build(unit=5, clip=clip, epochs=4)
    expected = copy.deepcopy(objective.estimator)
    lrs = [1e-3 * 0.01 ** (math.floor(i / 5) / 4) for i in range(20)]
    norms = reference(expected, range(20), lrs, clip)
    assert (min(norms) > clip) == (clip < 1)
    fit(hook, runner, objective, 20)
    pairs = zip(objective.estimator.parameters(), expected.parameters(), strict=True)
    assert all((mine - theirs).abs().max() < 1e-6 for mine, theirs in pairs)
    assert not any(p.requires_grad or p.grad is not None for p in objective.parameters())


def test_clipping_is_not_hidden_by_adam():
    """Adam forgives a constant factor; one gradient among others of another size it does not."""
    moved = []
    for clip in (0.5, 1e6):
        hook, runner, objective = build(clip=clip)
        objective.samples = samples(0)
        objective.factor = 1e-3
        hook.after_train_iter(runner, 0)
        objective.factor = 1e3
        runner.iter = 1
        hook.after_train_iter(runner, 1)
        state = hook.optimizers[0].state[next(objective.estimator.parameters())]
        moved.append(state['exp_avg'].norm().item())
    assert moved[0] < 0.51 and moved[1] > 100


def test_learning_rate_of_the_released_code():
    """1e-3 * 0.01^(e/E), once an epoch: 0.94406 an epoch for E = 80."""
    hook, runner, objective = build(unit=615)
    for epoch in (0, 1, 2, 40, 79):
        for iteration in (615 * epoch, 615 * epoch + 614):
            assert hook.lr(iteration) == pytest.approx(1e-3 * 0.01 ** (epoch / 80), rel=1e-12)
    assert hook.lr(615) / hook.lr(0) == pytest.approx(0.94406, abs=1e-5)
    objective.samples = samples(0)
    runner.iter = 615 * 40
    hook.after_train_iter(runner, runner.iter)
    assert hook.optimizers[0].param_groups[0]['lr'] == pytest.approx(1e-4)
    assert runner.message_hub.get_scalar('train/flow_lr').current() == pytest.approx(1e-4)
    assert hook.optimizers[0].param_groups[0]['betas'] == (0.5, 0.9)
    assert hook.optimizers[0].param_groups[0]['weight_decay'] == 0


@pytest.mark.parametrize('value', [math.nan, math.inf, 1e30])
def test_a_gradient_that_is_not_finite_leaves_the_weights_finite(value):
    hook, runner, objective = build()
    fit(hook, runner, objective, 3)
    x, components = samples(4)
    x[7, 2] = value
    objective.samples = x, components
    hook.after_train_iter(runner, 3)
    assert all(torch.isfinite(p).all() for p in objective.estimator.parameters())
    state = hook.optimizers[0].state_dict()['state']
    assert all(
        torch.isfinite(s[key]).all() for s in state.values() for key in ('exp_avg', 'exp_avg_sq')
    )
    before = [p.clone() for p in objective.estimator.parameters()]
    objective.samples = samples(5)
    hook.after_train_iter(runner, 4)
    after = objective.estimator.parameters()
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_without_samples_nothing_moves():
    hook, runner, objective = build()
    before = copy.deepcopy(objective.state_dict())
    hook.after_train_iter(runner, 0)
    assert all(torch.equal(before[key], value) for key, value in objective.state_dict().items())
    assert not hook.optimizers[0].state


def test_state_goes_through_a_checkpoint():
    hook, runner, objective = build(densities=2)
    fit(hook, runner, objective, 4)
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    saved = copy.deepcopy(checkpoint), copy.deepcopy(objective.state_dict())
    fit(hook, runner, objective, 2)

    def later(resume: bool, state: dict) -> tuple:
        other = FlowEstimatorHook()
        model = SimpleNamespace(
            start_step=None, objectives=[Density(), Density()], iters_per_epoch=5
        )
        loaded = SimpleNamespace(
            model=model, iter=0, message_hub=MessageHub('flow'), _resume=resume
        )
        model.objectives[1].load_state_dict(saved[1])
        other.after_load_checkpoint(loaded, copy.deepcopy(state))
        other.before_train(loaded)
        fit(other, loaded, model.objectives[1], 2)
        return tuple(model.objectives[1].get_estimator().parameters())

    expected = tuple(objective.estimator.parameters())
    assert all(map(torch.equal, later(True, saved[0]), expected))
    # load_from is a new run: its optimiser starts anew
    assert not all(map(torch.equal, later(False, saved[0]), expected))
    with pytest.raises(SetupError, match='1 flow optimisers.*2 '):
        later(True, {'flow_optimizers': saved[0]['flow_optimizers'][:1]})


def test_a_run_without_a_density_saves_nothing():
    hook, runner, _ = build(densities=0)
    hook.after_train_iter(runner, 0)
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == {}


def test_it_leaves_the_segmentor_alone():
    model = tiny_model('ddfp')
    loop = TinyLoop(model)
    for _ in range(4):
        loop.step()
    tiny_losses(model, 4)
    others = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith('objectives')}
    gradients = [p.grad.clone() for p in model.student.parameters()]
    before = copy.deepcopy(model.objectives[2].state_dict())
    loop.flow.after_train_iter(loop, 4)
    assert any(not torch.equal(v, before[k]) for k, v in model.objectives[2].state_dict().items())
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in others.items())
    assert all(map(torch.equal, gradients, (p.grad for p in model.student.parameters())))


def test_a_flow_that_diverged_stops_the_run_one_step_later():
    from mmseg_semi.step.segmentor import NonFiniteLossError

    model = tiny_model('ddfp')
    loop = TinyLoop(model)
    for _ in range(3):
        loop.step()
    with torch.no_grad():
        model.objectives[2].density.means[0, 0] = math.nan
    loop.step(tiny_batch())
    with pytest.raises(NonFiniteLossError, match='ddfp.bits_per_dim=nan'):
        loop.step(tiny_batch())


def test_mistakes():
    for settings in (
        dict(lr=0),
        dict(clip=0),
        dict(final_ratio=0),
        dict(final_ratio=2),
        dict(epochs=0),
    ):
        with pytest.raises(SetupError, match='FlowEstimatorHook'):
            FlowEstimatorHook(**settings)
    with pytest.raises(SetupError, match="needs model.type='SemiSegmentor'"):
        FlowEstimatorHook().before_train(SimpleNamespace(model=nn.Linear(1, 1)))
