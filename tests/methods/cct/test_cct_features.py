"""CCT's perturbations of features: what they change, what they leave, and that a projection of them costs no copy."""

import pytest
import torch

from mmseg_semi.methods.cct.perturbations.draws import (
    ChannelFactor,
    ElementFactor,
    RowSpaceShift,
    SpatialMask,
)
from mmseg_semi.methods.cct.perturbations.features import (
    channel_dropout,
    drop_active,
    element_dropout,
    feature_drop,
    feature_noise,
)
from mmseg_semi.methods.cct.perturbations.guided import Guidance
from mmseg_semi.methods.cct.perturbations.modules import FeatureDropout

K, N, C, OUT, H, W = 3, 2, 6, 4, 5, 7


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(seed: int = 0, n: int = N) -> torch.Tensor:
    return torch.rand(n, C, H, W, generator=generator(seed), dtype=torch.float64)


def draws() -> dict:
    g = generator(5)
    weight = torch.randn(K, OUT, C, generator=g, dtype=torch.float64)
    response = torch.randn(N, K, OUT, H * W, generator=g, dtype=torch.float64)
    return {
        'mask': SpatialMask(torch.rand(N, K, H, W, generator=g) < 0.6),
        'common mask': SpatialMask(torch.rand(N, 1, H, W, generator=g) < 0.6),
        'F-Drop': feature_drop(features(), K, g),
        'DropOut': channel_dropout(features(), K, g),
        'single entries': element_dropout(K, g),
        'F-Noise': feature_noise(K, g),
        'direction': RowSpaceShift(response, weight),
    }


@pytest.mark.parametrize('kind', draws())
def test_a_projection_is_the_convolution_of_the_perturbed_features(kind):
    """Values agree, and so do the gradients of features and weights."""
    draw = draws()[kind]
    z = features().requires_grad_()
    # the direction belongs to these weights, but is a constant
    weight = torch.randn(K, OUT, C, generator=generator(5), dtype=torch.float64).requires_grad_()
    scale = torch.randn(N, K, OUT, H * W, generator=generator(7), dtype=torch.float64)
    expected = torch.stack(
        [
            torch.nn.functional.conv2d(draw.apply(z, k), weight[k, :, :, None, None]).flatten(2)
            for k in range(K)
        ],
        dim=1,
    )
    found = draw.project(z, weight)
    assert (found - expected).abs().max() < 1e-12
    mine = torch.autograd.grad((found * scale).sum(), (z, weight))
    theirs = torch.autograd.grad((expected * scale).sum(), (z, weight))
    for one, other in zip(mine, theirs, strict=True):
        assert (one - other).abs().max() < 1e-11


def test_noise_is_relative_and_the_same_for_all_images():
    z = features() + 0.1
    draw = feature_noise(K, generator())
    ratio = torch.stack([draw.apply(z, k) / z for k in range(K)])
    assert ratio.min() >= 0.7 and ratio.max() <= 1.3 and ratio.std() > 0.1
    assert (ratio[:, 0] - ratio[:, 1]).abs().max() < 1e-12
    assert len(ratio[0, 0].flatten().unique()) == C * H * W  # each entry has another factor
    assert (ratio[0] - ratio[1]).abs().max() > 0.1  # and so has each decoder
    other = feature_noise(K, generator(1)).apply(z, 0) / z
    assert (ratio[0] - other).abs().max() > 0.1
    again = feature_noise(K, generator()).apply(z, 0)
    assert torch.equal(again, draw.apply(z, 0))
    assert torch.equal(feature_noise(1, generator(), 0.0).apply(z, 0), z)


def test_drop_removes_the_most_active_cells():
    z = features()
    gammas = torch.tensor([0.7, 0.8, 0.9, 1.1])
    draw = drop_active(z, gammas)
    mean = z.mean(dim=1)
    kept_before = torch.zeros(N, H, W, dtype=torch.bool)
    for k, gamma in enumerate(gammas.tolist()):
        found = draw.apply(z, k)
        for n in range(N):
            limit = gamma * mean[n].max().item()
            for i in range(H):
                for j in range(W):
                    kept = mean[n, i, j].item() < limit
                    expected = z[n, :, i, j] if kept else torch.zeros(C)
                    assert torch.equal(found[n, :, i, j], expected.to(z))
        kept = draw.keep[:, k]
        top = mean.flatten(1).argmax(dim=1)
        assert gamma > 1 or not kept.flatten(1)[torch.arange(N), top].any()
        assert (kept | ~kept_before).all()  # a larger gamma keeps what a smaller one keeps
        kept_before = kept
    assert draw.keep[:, 3].all()
    assert not drop_active(torch.zeros(1, C, H, W), gammas).keep.any()


def test_drop_draws_one_gamma_per_decoder_in_its_range():
    z = torch.linspace(0, 1, 10_000, dtype=torch.float64).view(1, 1, 100, 100)
    share = feature_drop(z, 200, generator()).keep.double().mean(dim=(0, 2, 3))
    assert 0.7 <= share.min() < 0.72 and 0.88 < share.max() <= 0.9
    share = feature_drop(z, 200, generator(), 0.6, 0.9).keep.double().mean(dim=(0, 2, 3))
    assert 0.6 <= share.min() < 0.62
    # all images have the same
    keep = feature_drop(z.repeat(2, 1, 1, 1), 4, generator()).keep
    assert torch.equal(keep[0], keep[1])


def test_dropout_takes_complete_channels_and_rescales():
    z = torch.rand(4, 200, 3, 3, dtype=torch.float64) + 0.1
    draw = channel_dropout(z, 2, generator())
    ratio = torch.stack([draw.apply(z, k) / z for k in range(2)])
    assert torch.equal(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert {*ratio.unique().tolist()} == {0.0, 2.0}
    assert 0.4 < (ratio == 0).double().mean() < 0.6
    assert not torch.equal(ratio[0, 0], ratio[0, 1]) and not torch.equal(ratio[0], ratio[1])
    quarter = channel_dropout(z, 1, generator(), p=0.25).apply(z, 0) / z
    assert (quarter.max() - 4 / 3).abs() < 1e-12
    assert 0.2 < (quarter[:, :, 0, 0] == 0).double().mean() < 0.3


def test_dropout_of_single_entries():
    z = torch.rand(2, 50, 8, 8, dtype=torch.float64) + 0.1
    draw = element_dropout(2, generator())
    ratio = draw.apply(z, 0) / z
    assert {*ratio.unique().tolist()} == {0.0, 2.0}
    assert 0.45 < (ratio == 0).double().mean() < 0.55
    assert not torch.equal(ratio[..., :1, :1].expand_as(ratio), ratio)
    assert not torch.equal(ratio, draw.apply(z, 1) / z)


@pytest.mark.parametrize('spatial', [True, False])
def test_dropout_acts_in_training_only(spatial):
    z = features() + 0.1
    module = FeatureDropout(spatial=spatial)
    guidance = Guidance(torch.zeros(N, 2, H, W), generator())
    assert not torch.equal(module(z, guidance), z)
    module.eval()
    assert torch.equal(module(z, guidance), z)
    weight = torch.randn(K, OUT, C, dtype=torch.float64)
    plain = torch.einsum('koc,ncp->nkop', weight, z.flatten(2))
    assert (module.draw(z, guidance, K).project(z, weight) - plain).abs().max() < 1e-12


def test_a_direction_survives_half_precision():
    """It is a few thousandths of the features, so rounding the sum to eight bits would lose a part."""
    g = generator(1)
    z = torch.rand(N, 64, H, W, generator=g)
    weight = torch.randn(K, OUT, 64, generator=g) / 8
    response = 1e-3 * torch.randn(N, K, OUT, H * W, generator=g)
    exact = torch.einsum('koc,kpc,nkpq->nkoq', weight, weight, response)
    none = torch.zeros_like(response)
    with torch.autocast('cpu', torch.bfloat16):
        moved, still = (RowSpaceShift(own, weight).project(z, weight) for own in (response, none))
        apart = torch.stack([RowSpaceShift(response, weight).shift(k) for k in range(K)], dim=1)
    assert moved.dtype == torch.float32
    scale = exact.abs().max()
    assert (moved - still - exact).abs().max() < 1e-3 * scale
    assert (torch.einsum('koc,nkcq->nkoq', weight, apart) - exact).abs().max() < 1e-3 * scale
    # rounding the sum loses it
    assert (moved.bfloat16() - still.bfloat16() - exact).abs().max() > 0.1 * scale


def test_no_gradient_reaches_a_hidden_cell():
    z = features().requires_grad_()
    keep = torch.rand(N, 1, H, W, generator=generator(3)) < 0.5
    weight = torch.randn(K, OUT, C, dtype=torch.float64)
    for out in (SpatialMask(keep).apply(z, 0), SpatialMask(keep).project(z, weight)):
        (gradient,) = torch.autograd.grad(out.sin().sum(), z)
        assert torch.equal(gradient[(~keep).expand_as(z)], torch.zeros((~keep).sum() * C).double())
        assert (gradient.abs().sum(dim=1)[keep[:, 0]] > 0).all()


def test_factors_are_constants():
    """A factor that depends on z would change the gradient."""
    z = features().requires_grad_()
    seen = []

    def make(z, generator):
        factor = z * 2
        seen.append(factor.requires_grad)
        return factor

    out = ElementFactor([1], make).apply(z, 0)
    (gradient,) = torch.autograd.grad(out.sum(), z)
    assert seen == [False] and (gradient - 2 * z).abs().max() < 1e-12
    assert not ChannelFactor(channel_dropout(z, 1, generator()).factor).factor.requires_grad


def test_factors_in_half_precision():
    """Under autocast the products are those of half precision, and gradients have their leaf's type."""
    draw = feature_noise(K, generator())
    z = features().float().requires_grad_()
    weight = torch.randn(K, OUT, C, generator=generator(5)).requires_grad_()
    exact = draw.project(z, weight)
    wanted = torch.autograd.grad(exact.sum(), (z, weight))
    with torch.autocast('cpu', torch.bfloat16):
        found = draw.project(z, weight)
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()
    for own, expected in zip(
        torch.autograd.grad(found.float().sum(), (z, weight)), wanted, strict=True
    ):
        assert own.dtype == torch.float32
        assert (own - expected).abs().max() < 0.02 * expected.abs().max()
