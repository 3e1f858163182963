import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.ddfp.mixture import IGNORED, UNLABELED, MixtureDensity


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_density(channels: int = 6, num_components: int = 4, hidden_channels: int = 5, seed=0):
    """A float64 density whose flow is far from a permutation."""
    density = MixtureDensity(
        channels, num_components, hidden_channels, generator=seeded(seed)
    ).double()
    with torch.no_grad():
        for parameter in density.flow.parameters():
            parameter.mul_(15)
    return density


def direct_log_probs(density, x):
    """log N(f(x); mu_k, I) + log|det| by torch.distributions, (M, K), through (M, K, C)."""
    z, logdet = density.flow(x)
    gaussians = Independent(Normal(density.means, torch.ones_like(density.means)), 1)
    return gaussians.log_prob(z[:, None]) + logdet[:, None]


def direct_mixture(density, x):
    z, logdet = density.flow(x)
    means = density.means
    mixture = MixtureSameFamily(
        Categorical(probs=means.new_full((len(means),), 1 / len(means))),
        Independent(Normal(means, torch.ones_like(means)), 1),
    )
    return mixture.log_prob(z) + logdet


class LargestTensor(TorchDispatchMode):
    """Records the element counts of all tensors that operations return, in backward passes too."""

    def __init__(self):
        super().__init__()
        self.largest = 0
        self.shapes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.largest = max(self.largest, leaf.numel())
                self.shapes.add(tuple(leaf.shape))
        return result


def test_parameter_count_of_the_paper_size():
    assert sum(p.numel() for p in MixtureDensity(256, 21).parameters()) == 663_808


def test_log_densities_equal_torch_distributions():
    density = small_density()
    x = torch.randn(9, 6, dtype=torch.float64, generator=seeded(1))
    components = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 3])
    by_component = direct_log_probs(density, x)
    torch.testing.assert_close(density.log_prob(x), direct_mixture(density, x))
    torch.testing.assert_close(
        density.log_prob_of(x, components), by_component[torch.arange(9), components]
    )


def test_density_integrates_to_one():
    density = MixtureDensity(2, 3, 4, generator=seeded()).double()
    with torch.no_grad():
        for parameter in density.flow.parameters():
            parameter.mul_(5)
    step = 0.05
    axis = torch.arange(-12, 12, step, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    assert density.log_prob(grid).exp().sum().item() * step**2 == pytest.approx(1, abs=1e-5)


def test_single_precision_matches_the_direct_form_at_the_paper_size():
    density = MixtureDensity(256, 21, generator=seeded())
    x = torch.randn(256, 256, generator=seeded(1)).relu()
    components = torch.arange(256) % 21
    mixture, own = density.log_prob(x), density.log_prob_of(x, components)
    assert mixture.dtype == torch.float32
    density.double()
    by_component = direct_log_probs(density, x.double())
    exact = by_component.logsumexp(dim=1) - math.log(21)
    assert -600 < exact.mean() < -300
    assert (mixture - exact).abs().max() < 1e-3
    assert (own - by_component.gather(1, components[:, None])[:, 0]).abs().max() < 1e-3


def test_mixture_lies_between_its_bounds():
    density = small_density()
    x = 3 * torch.randn(50, 6, dtype=torch.float64, generator=seeded(1))
    best = torch.stack([density.log_prob_of(x, torch.full((50,), k)) for k in range(4)]).amax(dim=0)
    mixture = density.log_prob(x)
    assert (mixture <= best + 1e-10).all()
    assert (mixture >= best - math.log(4) - 1e-10).all()


def test_identical_means_give_one_gaussian():
    density = small_density()
    density.means.copy_(density.means[:1].expand_as(density.means).clone())
    x = torch.randn(7, 6, dtype=torch.float64, generator=seeded(1))
    single = density.log_prob_of(x, torch.zeros(7, dtype=torch.long))
    torch.testing.assert_close(density.log_prob(x), single)


def test_nll_mixes_labeled_and_unlabeled_rows():
    density = small_density()
    x = torch.randn(5, 6, dtype=torch.float64, generator=seeded(1))
    components = [2, UNLABELED, 0, UNLABELED, 3]
    by_component, mixture = direct_log_probs(density, x), direct_mixture(density, x)
    total = 0.0
    for m, k in enumerate(components):
        total -= (mixture[m] if k == UNLABELED else by_component[m, k]).item()
    value = density.nll(x, torch.tensor(components))
    assert value.shape == () and value.item() == pytest.approx(total / 5, rel=1e-12)


def test_nll_gradient_equals_that_of_the_direct_form():
    density = small_density()
    x = torch.randn(6, 6, dtype=torch.float64, generator=seeded(1))
    components = torch.tensor([2, UNLABELED, 0, UNLABELED, 3, 1])
    with density.trainable():
        parameters = list(density.parameters())
        rows = direct_log_probs(density, x).gather(1, components.clamp(min=0)[:, None])[:, 0]
        direct = -torch.where(components == UNLABELED, direct_mixture(density, x), rows).mean()
        expected = torch.autograd.grad(direct, parameters)
        found = torch.autograd.grad(density.nll(x, components), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('component', [4, 255, 300, -3])
def test_nll_refuses_ids_that_are_neither_class_nor_unlabeled(component):
    density = small_density()
    with pytest.raises((RuntimeError, IndexError)):
        density.nll(torch.zeros(1, 6, dtype=torch.float64), torch.tensor([component]))


def test_ignored_rows_change_nothing():
    density = small_density()
    x = torch.randn(6, 6, dtype=torch.float64, generator=seeded(1))
    components = torch.tensor([IGNORED, 2, UNLABELED, IGNORED, 0, IGNORED])
    kept = components != IGNORED
    with density.trainable():
        parameters = list(density.parameters())
        alone, among = density.nll(x[kept], components[kept]), density.nll(x, components)
        torch.testing.assert_close(among, alone)
        expected = torch.autograd.grad(alone, parameters)
        found = torch.autograd.grad(among, parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('rows', [0, 3])
def test_nll_without_a_row_that_counts_is_a_zero_with_a_graph(rows):
    density = small_density()
    with density.trainable():
        value = density.nll(torch.ones(rows, 6), torch.full((rows,), IGNORED))
        value.backward()
        assert value.item() == 0
        assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in density.parameters())


def test_no_rows_give_no_values():
    density = small_density()
    assert density.log_prob(torch.zeros(0, 6)).shape == (0,)
    assert density.energy_gradient(torch.zeros(0, 6)).shape == (0, 6)


def test_fitting_raises_the_likelihood_of_held_out_rows():
    density = MixtureDensity(8, 3, 16, generator=seeded())
    centers = 3 * torch.randn(3, 8, generator=seeded(1))
    labels = torch.arange(600) % 3
    x = centers[labels] + 0.3 * torch.randn(600, 8, generator=seeded(2))
    components = torch.where(torch.arange(600) % 2 == 0, labels, UNLABELED)
    before = density.log_prob(x[500:]).mean()
    optimizer = torch.optim.Adam(density.parameters(), lr=1e-2, betas=(0.5, 0.9))
    for _ in range(60):
        with density.trainable():
            density.nll(x[:500], components[:500]).backward()
            optimizer.step()
    after = density.log_prob(x[500:])
    assert after.mean() > before + 5
    # The classes' Gaussians have settled on their own classes.
    own = density.log_prob_of(x[500:], labels[500:])
    other = density.log_prob_of(x[500:], (labels[500:] + 1) % 3)
    assert (own > other).float().mean() > 0.9


def test_no_tensor_of_rows_by_components_by_channels():
    rows, channels, num_components = 20_480, 256, 21
    density = MixtureDensity(channels, num_components, generator=seeded())
    x = torch.randn(rows, channels, generator=seeded(1))
    components = torch.randint(UNLABELED, num_components, (rows,), generator=seeded(2))
    with density.trainable(), LargestTensor() as recorder:
        density.nll(x, components).backward()
        assert all(p.grad is not None for p in density.parameters())
    assert recorder.largest == rows * channels

    # The recorder sees such a tensor in the direct form, here at a smaller size.
    with LargestTensor() as recorder:
        direct_mixture(density, x[:64])
    assert recorder.largest >= 64 * num_components * channels


def test_score_equals_autograd_of_the_direct_form():
    density = small_density()
    x = torch.randn(11, 6, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    (expected,) = torch.autograd.grad(-direct_mixture(density, x).sum(), x)
    torch.testing.assert_close(density.energy_gradient(x), expected)
    torch.testing.assert_close(density.energy_gradient(x, chunk_size=4), expected)


def test_score_in_closed_form():
    """With the identity up to a permutation as flow, it is z - sum_k rho_k mu_k."""
    density = MixtureDensity(8, 5, 4, generator=seeded()).double()
    for parameter in density.flow.parameters():
        parameter.zero_()
    x = torch.randn(7, 8, dtype=torch.float64, generator=seeded(1))
    z, _ = density.flow(x)
    rho = direct_log_probs(density, x).softmax(dim=1)
    expected = density.flow.inverse(z - rho @ density.means)
    torch.testing.assert_close(density.energy_gradient(x), expected)


def test_score_holds_one_chunk_of_the_graph():
    density = MixtureDensity(8, 3, hidden_channels=24, generator=seeded())
    x = torch.randn(100, 8, generator=seeded(1))
    with LargestTensor() as recorder:
        density.energy_gradient(x, chunk_size=30)
    hidden = {shape[0] for shape in recorder.shapes if shape[1:] == (24,)}
    assert {30, 10} <= hidden and 100 not in hidden


def test_score_leaves_no_graph_and_no_gradient():
    density = small_density()
    x = torch.randn(3, 6, requires_grad=True)
    with torch.no_grad():
        score = density.energy_gradient(x)
    with density.trainable():
        assert torch.equal(density.energy_gradient(x), score)
        assert all(p.grad is None for p in density.parameters())
    assert not score.requires_grad and x.grad is None


def test_parameters_are_frozen_outside_trainable():
    density = small_density()
    assert not any(p.requires_grad for p in density.parameters())
    with density.trainable() as inside:
        assert inside is density
        assert all(p.requires_grad for p in density.parameters())
        density.nll(torch.randn(2, 6), torch.tensor([0, UNLABELED])).backward()
        assert all(p.grad is not None for p in density.parameters())
    assert not any(p.requires_grad for p in density.parameters())
    assert all(p.grad is None for p in density.parameters())
    with pytest.raises(KeyError), density.trainable():
        raise KeyError
    assert not any(p.requires_grad for p in density.parameters())


def test_autocast_and_half_inputs_change_nothing():
    density = MixtureDensity(8, 3, 16, generator=seeded())
    x = torch.randn(6, 8, generator=seeded(1)).bfloat16()
    components = torch.tensor([0, 1, 2, UNLABELED, UNLABELED, 1])

    def values(rows):
        return (
            density.log_prob(rows),
            density.log_prob_of(rows, components.clamp(min=0)),
            density.nll(rows, components),
            density.energy_gradient(rows),
        )

    expected = values(x.float())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = values(x)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)


def test_state_dict_restores_the_density():
    density, other = small_density(seed=0), small_density(seed=1)
    x = torch.randn(4, 6, generator=seeded(1))
    assert not torch.equal(other.log_prob(x), density.log_prob(x))
    other.load_state_dict(density.state_dict())
    assert torch.equal(other.log_prob(x), density.log_prob(x))


def test_generator_decides_the_means():
    torch_state = torch.get_rng_state()
    one, same, other = (MixtureDensity(64, 21, 8, generator=seeded(s)).means for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        ({'channels': 7, 'num_components': 3}, 'channels=7'),
        ({'channels': 8, 'num_components': 0}, 'num_components=0'),
    ],
)
def test_impossible_sizes_are_refused(kwargs, message):
    with pytest.raises(SetupError, match=message):
        MixtureDensity(**kwargs)
