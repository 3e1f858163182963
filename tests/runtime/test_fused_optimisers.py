"""Fused optimisers step as unfused ones do, also where PyTorch's own do not; checkpoints go both ways."""

import copy
from functools import partial

import pytest
import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from tiny_semi import tiny_data
from torch import nn
from whole_runs import train

from mmseg_semi.runtime.fused_optimisers import fuse_by_default, prepare
from mmseg_semi.runtime.optimisers import CPUAmpOptimWrapper, StudentOptimWrapperConstructor

RECIPES = {
    'SGD': dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.01),
    'Nesterov': dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.01, nesterov=True),
    'without momentum': dict(type='SGD', lr=0.01, momentum=0.0, weight_decay=0.01),
    'Adam': dict(type='Adam', lr=0.01, weight_decay=0.01),
    'AdamW': dict(type='AdamW', lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
}


class Network(nn.Module):
    """Two convolutions in channels_last, the second of which may sit out."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.late = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor, late: bool = True) -> torch.Tensor:
        features = self.first(images).relu()
        return (self.late(features) if late else features).square().mean()


def optimiser(network: nn.Module, recipe: str, fused: bool | None = None) -> torch.optim.Optimizer:
    """As a config with this recipe makes it; ``fused=None`` leaves the key out."""
    config = RECIPES[recipe] | ({} if fused is None else dict(fused=fused))
    return StudentOptimWrapperConstructor(dict(optimizer=config))(network).optimizer


def images(step: int) -> torch.Tensor:
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))


def walk(network, optimizer, steps, late_from: int = 0, rows: bool = False) -> None:
    """Train; with ``rows`` the gradients are contiguous, as a copy from a communication bucket may be."""
    for step in steps:
        optimizer.zero_grad()
        network(images(step), late=step >= late_from).backward()
        if rows:
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.contiguous()
        optimizer.step()


def assert_close(one: nn.Module, other: nn.Module) -> None:
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert (mine - theirs).abs().max() <= 1e-6 * theirs.abs().max()


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize('case', [dict(), dict(late_from=2), dict(rows=True)], ids=str)
def test_several_steps_equal_the_unfused_ones(recipe, case):
    one, other = Network(), Network()
    before = copy.deepcopy(one)
    fused = optimiser(one, recipe)
    assert fused.defaults['fused'] is True
    walk(one, fused, range(6), **case)
    walk(other, optimiser(other, recipe, fused=False), range(6), **case)
    assert_close(one, other)
    moved = [
        (a - b).abs().max() for a, b in zip(one.parameters(), before.parameters(), strict=True)
    ]
    assert min(moved) > 1e-3


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize('fused', [None, False])
def test_checkpoints_of_the_other_implementation(recipe, fused):
    """Half of the steps here, half there, from a checkpoint in another memory format."""
    whole, half = Network(), Network()
    walk(whole, optimiser(whole, recipe, fused=False), range(6))
    other = False if fused is None else None
    first = optimiser(half, recipe, other)
    walk(half, first, range(3))
    saved = copy.deepcopy(first.state_dict())
    assert saved['param_groups'][0]['fused'] is (None if other is None else False)
    for state in saved['state'].values():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.dim() == 4:
                state[key] = value.contiguous()
    rest = Network()
    rest.load_state_dict(half.state_dict())
    second = optimiser(rest, recipe, fused)
    second.load_state_dict(saved)
    assert {group['fused'] for group in second.param_groups} == {fused is None}
    walk(rest, second, range(3, 6))
    assert_close(rest, whole)


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1)], ids=['free', 'clipped'])
@pytest.mark.parametrize('loaded', [False, True])
def test_loss_scaling(recipe, clip, loaded, monkeypatch):
    """MMEngine's float16 wrapper with the loss scaler on the CPU: a skipped step, the first one, changes nothing."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True, raising=False)
    scaler = partial(torch.amp.GradScaler, 'cpu', growth_interval=2)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', scaler)

    def run(fused: bool | None) -> nn.Module:
        network = Network()
        optimizer = optimiser(network, recipe, fused)
        if loaded:  # the checkpoint of an unfused run
            optimizer.load_state_dict(optimiser(Network(), recipe, fused=False).state_dict())
        wrapper = AmpOptimWrapper(
            loss_scale=dict(init_scale=2.0**10), optimizer=optimizer, clip_grad=clip
        )
        before = [parameter.detach().clone() for parameter in network.parameters()]
        wrapper.update_params(network(images(0)) * float('inf'))
        for parameter, value in zip(network.parameters(), before, strict=True):
            assert torch.equal(parameter, value)
        for step in range(1, 5):
            wrapper.update_params(network(images(step)))
        assert wrapper.loss_scaler.get_scale() == 2.0**11  # halved once, doubled twice
        return network

    assert_close(run(None), run(False))


@pytest.mark.parametrize('recipe', RECIPES)
def test_bfloat16_on_a_cpu(recipe):
    def run(fused: bool | None) -> nn.Module:
        network = Network()
        wrapper = CPUAmpOptimWrapper(
            optimizer=optimiser(network, recipe, fused), clip_grad=dict(max_norm=0.1)
        )
        for step in range(4):
            with wrapper.optim_context(network):
                loss = network(images(step))
            wrapper.update_params(loss)
        return network

    assert_close(run(None), run(False))


@pytest.mark.parametrize(
    'config',
    [
        dict(type='SGD', lr=0.1, fused=False),
        dict(type='SGD', lr=0.1, foreach=True),
        dict(type='SGD', lr=0.1, momentum=0.9, dampening=0.5),
        dict(type='Adam', lr=0.1, capturable=True),
        dict(type='RMSprop', lr=0.1),
    ],
    ids=str,
)
def test_what_the_config_says_is_left_alone(config):
    assert fuse_by_default(config, nn.Linear(2, 1).parameters()) == config


def test_parameters_that_have_no_fused_kernel():
    layer = nn.Linear(2, 1).to(torch.complex64)
    assert 'fused' not in fuse_by_default(dict(type='SGD', lr=0.1), layer.parameters())


def test_another_optimiser_is_not_prepared():
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.RMSprop(layer.parameters(), lr=0.1)
    prepare(optimizer)
    assert not optimizer._optimizer_step_pre_hooks


def test_a_run_and_its_checkpoint(tmp_path):
    """The fused run is the unfused one to rounding, and goes on from the unfused one's checkpoint."""
    cfg = tiny_data(tmp_path, 'supervised', iterations=4, checkpoint_interval=2)
    cfg.optim_wrapper.clip_grad = dict(max_norm=1.0)
    fused = train(cfg, tmp_path / 'fused')
    assert fused.optim_wrapper.optimizer.defaults['fused'] is True
    cfg.optim_wrapper.optimizer.fused = False
    plain = train(cfg, tmp_path / 'plain')
    assert_close(fused.model, plain.model)
    (tmp_path / 'plain' / 'iter_4.pth').unlink()
    (tmp_path / 'plain' / 'last_checkpoint').write_text(str(tmp_path / 'plain' / 'iter_2.pth'))
    del cfg.optim_wrapper.optimizer['fused']
    resumed = train(cfg, tmp_path / 'plain', resume=True)
    assert resumed.iter == 4 and resumed.optim_wrapper.optimizer.param_groups[0]['fused'] is True
    assert_close(resumed.model, plain.model)
