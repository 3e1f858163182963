import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmseg_semi.methods.ddfp.direction import density_descending_direction, random_direction
from mmseg_semi.methods.ddfp.mixture import MixtureDensity

EPS = 4.0
IN, HIDDEN, OUT, SIZE = 10, 8, 6, 11


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Block(nn.Module):
    """Two convolutions with norm, ReLU and dropout, as after the fusion of DeepLabV3+."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(IN, HIDDEN, 3, padding=1)
        self.rest = nn.Sequential(
            nn.BatchNorm2d(HIDDEN, track_running_stats=True),
            nn.ReLU(),
            nn.Dropout2d(dropout),
            nn.Conv2d(HIDDEN, OUT, 3, padding=1),
            nn.BatchNorm2d(OUT),
            nn.ReLU(),
            nn.Dropout2d(dropout),
        )

    def forward(self, v):
        return self.rest(self.conv1(v))

    def lift_transpose(self, grad):
        return F.conv_transpose2d(grad, self.conv1.weight, padding=1)


@pytest.fixture
def case():
    """Block, density, input and mask in float64; norms with running statistics of 20 batches."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = Block().double()
        density = MixtureDensity(OUT, 3, 5).double()
        for parameter in density.flow.parameters():
            parameter.mul_(10)
        v = torch.randn(2, IN, SIZE, SIZE, dtype=torch.float64)
        for _ in range(20):
            block(torch.randn(4, IN, SIZE, SIZE, dtype=torch.float64))
        mask = torch.rand(2, SIZE, SIZE) < 0.3
    block.zero_grad()
    return block, density, v, mask


def energy(block, density, v, mask):
    """J(v) by definition: a sum over the pixels of A."""
    features = block(v)
    total = 0
    for n, i, j in mask.nonzero().tolist():
        total = total - density.log_prob(features[n, :, i, j][None]).squeeze()
    return total


def direct_gradient(block, density, v, mask):
    v = v.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(block, density, v, mask), v)
    return gradient


def direction(block, density, v, mask, **kwargs):
    return density_descending_direction(
        block.conv1(v), block.rest, density, mask, block.lift_transpose, **{'eps': EPS, **kwargs}
    )


@pytest.mark.parametrize('gather', [None, True, False])
@pytest.mark.parametrize('train', [True, False])
def test_equals_the_normalised_gradient_of_the_plain_objective(case, train, gather):
    block, density, v, mask = case
    block.train(train)
    gradient = direct_gradient(block, density, v, mask)
    expected = torch.zeros_like(v)
    for n in range(2):
        for i in range(SIZE):
            for j in range(SIZE):
                g = gradient[n, :, i, j]
                expected[n, :, i, j] = EPS * g / max(g.norm().item(), 1e-12)
    found = direction(block, density, v, mask, gather=gather)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_reused_convolution_gives_the_direct_gradient(case):
    """Through the lifted map and the transpose, as when v itself is lifted within the block."""
    block, density, v, mask = case
    direct = density_descending_direction(v, block, density, mask, eps=EPS)
    torch.testing.assert_close(direction(block, density, v, mask), direct)
    other = density_descending_direction(
        block.conv1(v),
        block.rest,
        density,
        mask,
        lambda g: nn.grad.conv2d_input(v.shape, block.conv1.weight, g, padding=1),
        eps=EPS,
    )
    torch.testing.assert_close(other, direct)


@pytest.mark.parametrize('eps', [0.5, 2.0, 4.0])
def test_length_is_eps_where_there_is_a_gradient(case, eps):
    block, density, v, mask = case
    block.eval()
    mask[:, 5:] = mask[:, :, 6:] = False
    block32, density32 = copy.deepcopy(block).float(), copy.deepcopy(density).float()
    r = direction(block32, density32, v.float(), mask, eps=eps)
    reached = direct_gradient(block, density, v, mask).abs().amax(dim=1) > 1e-9
    assert 0 < reached.sum() < reached.numel()
    assert torch.equal(r.abs().amax(dim=1) > 0, reached)
    length = r.norm(dim=1)
    assert r.dtype == torch.float32
    torch.testing.assert_close(
        length[reached], torch.full_like(length[reached], eps), rtol=1e-4, atol=0
    )


class ScaledDensity(nn.Module):
    """The same density with its log-values multiplied by a constant, such as 1/|A|."""

    def __init__(self, density, factor):
        super().__init__()
        self.density, self.factor = density, factor

    def energy_gradient(self, x):
        return self.factor * self.density.energy_gradient(x)


@pytest.mark.parametrize('factor', [1 / 73, 1e-8, 1e6])
def test_scale_of_the_objective_does_not_matter(case, factor):
    block, density, v, mask = case
    r = direction(block, density, v, mask)
    scaled = direction(block, ScaledDensity(density, factor), v, mask)
    torch.testing.assert_close(scaled, r, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize('factor', [1e-9, 1.0, 1e7])
def test_half_precision_features_neither_overflow_nor_vanish(case, factor):
    """The density's gradient, of whatever size, passes back through float16 as a direction."""
    _, density, _, mask = case
    v = torch.randn(2, OUT, SIZE, SIZE, generator=seeded(1)).half().float()
    exact = density_descending_direction(v, lambda u: 2 * u, density, mask)
    density = ScaledDensity(density, factor)
    r = density_descending_direction(v, lambda u: 2 * u.half(), density, mask)
    torch.testing.assert_close(r, exact, rtol=0, atol=0.01 * EPS)


def test_steepest_ascent_of_the_energy(case):
    """The energy grows along r / eps at the rate sum_p ||g_p||."""
    block, density, v, mask = case
    rate = direct_gradient(block, density, v, mask).norm(dim=1).sum()
    unit = direction(block, density, v, mask) / EPS
    step = 1e-6
    with torch.no_grad():
        ahead = energy(block, density, v + step * unit, mask)
        behind = energy(block, density, v - step * unit, mask)
    assert ((ahead - behind) / (2 * step) / rate).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('train', [True, False])
def test_density_falls_along_small_steps(case, train):
    block, density, v, mask = case
    block.train(train)
    direct = direction(block, density, v, mask, eps=1.0)
    with torch.no_grad():
        levels = [energy(block, density, v + t * direct, mask) for t in (0, 1e-4, 1e-3, 1e-2)]
    assert all(later > earlier for earlier, later in pairwise(levels))


def test_descends_further_than_a_random_step_of_the_same_length(case):
    block, density, v, mask = case
    r = direction(block, density, v, mask, eps=0.1)
    control = random_direction(v, eps=0.1, generator=seeded(1))
    with torch.no_grad():
        start = energy(block, density, v, mask)
        descended = energy(block, density, v + r, mask) - start
        drifted = energy(block, density, v + control, mask) - start
    assert descended > 3 * abs(drifted)


def near(mask, distance):
    """Pixels within this Chebyshev distance of the mask."""
    size = 2 * distance + 1
    return F.max_pool2d(mask[:, None].double(), size, stride=1, padding=distance)[:, 0] > 0


def test_reach_with_eval_norms_is_two_pixels(case):
    block, density, v, _ = case
    block.eval()
    mask = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    mask[0, 4, 5] = mask[0, 0, 0] = True
    moved = direction(block, density, v, mask).abs().amax(dim=1) > 0
    assert not moved[~near(mask, 2)].any()
    assert moved[mask].all()
    # The second pixel is reached: two convolutions, not one.
    assert (moved & ~near(mask, 1)).any()


def test_batch_statistics_carry_the_gradient_everywhere(case):
    block, density, v, _ = case
    block.train()
    mask = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    mask[0, 4, 5] = mask[0, 0, 0] = True
    moved = direction(block, density, v, mask).abs().amax(dim=1) > 0
    assert moved[~near(mask, 2)].any()
    assert moved[1].any()


def test_leaves_gradients_and_parameters_alone(case):
    block, density, v, mask = case
    # An existing gradient must survive, and missing ones stay missing.
    kept = torch.full_like(block.conv1.weight, 7.0)
    block.conv1.weight.grad = kept.clone()
    before = {
        name: value.clone()
        for name, value in [*block.named_parameters(), *density.named_parameters()]
    }
    v = v.requires_grad_()
    with density.trainable():
        r = direction(block, density, v, mask)
        assert all(p.grad is None for p in density.parameters())
    assert not r.requires_grad and r.grad_fn is None and v.grad is None
    assert torch.equal(block.conv1.weight.grad, kept)
    assert all(p.grad is None for n, p in block.named_parameters() if n != 'conv1.weight')
    for name, value in [*block.named_parameters(), *density.named_parameters()]:
        assert torch.equal(value, before[name]), name


def test_perturbed_loss_trains_what_lies_before(case):
    block, density, _, mask = case
    encoder = nn.Conv2d(3, IN, 1).double()
    classify = nn.Conv2d(OUT, 3, 1).double()
    v = encoder(torch.randn(2, 3, SIZE, SIZE, dtype=torch.float64, generator=seeded(1)))
    lifted = block.conv1(v)
    r = density_descending_direction(lifted, block.rest, density, mask, block.lift_transpose)
    labels = torch.randint(0, 3, (2, SIZE, SIZE), generator=seeded(2))
    F.cross_entropy(classify(block(v + r)), labels).backward()
    for parameter in [*encoder.parameters(), block.conv1.weight, classify.weight]:
        assert parameter.grad.abs().max() > 0
    assert all(p.grad is None for p in density.parameters())


@pytest.mark.parametrize('gather', [True, False])
@pytest.mark.parametrize('train', [True, False])
def test_no_pixels_no_step(case, train, gather):
    block, density, v, mask = case
    block.train(train)
    r = direction(block, density, v, torch.zeros_like(mask), gather=gather)
    assert torch.equal(r, torch.zeros_like(v))


def test_features_outside_the_mask_may_be_infinite(case):
    _, density, _, mask = case
    v = torch.randn(2, OUT, SIZE, SIZE, dtype=torch.float64, generator=seeded(1))
    v[~mask[:, None].expand_as(v)] = torch.inf
    for gather in (True, False):
        r = density_descending_direction(v, lambda u: u * 2, density, mask, gather=gather)
        assert r.isfinite().all()
        assert (r.abs().amax(dim=1) > 0).equal(mask)


def test_works_where_gradients_are_off(case):
    block, density, v, mask = case
    expected = direction(block, density, v, mask)
    with torch.no_grad():
        assert torch.equal(direction(block, density, v, mask), expected)


def test_runs_under_autocast(case):
    """Half precision in the block turns the direction a little and leaves its length alone."""
    block, density, v, mask = case
    block, density, v = block.eval().float(), density.float(), v.float()
    exact = direction(block, density, v, mask)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        r = direction(block, density, v, mask)
    assert r.dtype == torch.float32
    moved = exact.abs().amax(dim=1) > 0
    length = r.norm(dim=1)[moved]
    torch.testing.assert_close(length, torch.full_like(length, EPS), rtol=1e-4, atol=0)
    assert F.cosine_similarity(r, exact, dim=1)[moved].median() > 0.98


def test_memory_format_of_the_features_is_kept(case):
    block, density, v, mask = case
    expected = direction(block, density, v, mask)
    channels_last = v.to(memory_format=torch.channels_last)
    found = direction(block.to(memory_format=torch.channels_last), density, channels_last, mask)
    torch.testing.assert_close(found, expected)


def test_mask_of_another_size_is_refused(case):
    block, density, v, mask = case
    with pytest.raises(ValueError, match='mask must be bool'):
        direction(block, density, v, mask[:, :-1])
    with pytest.raises(ValueError, match='mask must be bool'):
        direction(block, density, v, mask.long())


def test_random_direction_has_the_length_and_no_preference():
    like = torch.zeros(2, 3, 40, 50)
    r = random_direction(like, eps=2.0, generator=seeded())
    torch.testing.assert_close(r.norm(dim=1), torch.full((2, 40, 50), 2.0))
    # The mean of 4000 independent directions of length 2 in 3 dimensions; five standard errors.
    assert r.mean(dim=(0, 2, 3)).abs().max() < 5 * 2 / (3 * 4000) ** 0.5
    second_moment = torch.einsum('nihw,njhw->ij', r, r) / 4000
    torch.testing.assert_close(second_moment, torch.eye(3) * 4 / 3, rtol=0, atol=0.1)


def test_the_generator_decides_the_random_direction():
    state = torch.get_rng_state()
    like = torch.zeros(1, 4, 5, 5, dtype=torch.bfloat16)
    one, same, other = (random_direction(like, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.dtype == torch.float32
    assert torch.equal(one, same) and not torch.equal(one, other)
