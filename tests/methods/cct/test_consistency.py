"""Distances between predictions equal loops; their chunked sum equals the plain one."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.cct.consistency import (
    cell_chunks,
    consistency_sums,
    find_distance,
    probabilities,
)
from mmseg_semi.methods.cct.pixel_shuffle import DecoderStack

C, PIXELS = 5, 7
NAMES = ('mse', 'kl', 'js', 'js_reversed')


def maps(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(2, C, PIXELS, generator=g, dtype=torch.float64)
    target = (3 * torch.randn(C, PIXELS, generator=g, dtype=torch.float64)).softmax(dim=0)
    return scores, target


def by_hand(name: str, p: list[float], q: list[float]) -> float:
    """The distance of one pixel."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        if name == 'mse':
            total += (a - b) ** 2
        elif name == 'kl':
            total += b * math.log(b / a)
        elif name == 'js':
            total += (a * math.log(a / m) + b * math.log(b / m)) / 2
        else:
            total += (m * math.log(m / a) + m * math.log(m / (b + 1e-5))) / 2
    return total


@pytest.mark.parametrize('name', NAMES)
def test_distances_by_hand(name):
    scores, target = maps()
    found = find_distance(name)(scores, target)
    assert found.shape == (2, PIXELS)
    probabilities = scores.softmax(dim=1)
    for k in range(2):
        for i in range(PIXELS):
            expected = by_hand(name, probabilities[k, :, i].tolist(), target[:, i].tolist())
            assert found[k, i].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize('name', NAMES)
def test_distance_of_equal_distributions(name):
    scores, _ = maps()
    found = find_distance(name)(scores, scores.softmax(dim=1))
    # the released JS adds 1e-5 to the target
    assert found.abs().max() < (1e-4 if name == 'js_reversed' else 1e-12)


@pytest.mark.parametrize('name', NAMES)
def test_certain_targets_and_predictions_give_finite_numbers(name):
    target = torch.eye(3)[:, [0, 1, 2, 0]]
    scores = (200.0 * torch.eye(3)[:, [0, 1, 0, 2]]).requires_grad_()
    found = find_distance(name)(scores, target)
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    assert found.isfinite().all() and gradient.isfinite().all()
    assert found[2] > 0.5 and found[0] < 1e-3


def test_bounds():
    scores, target = maps()
    assert find_distance('mse')(100 * scores, target).max() <= 2
    wrong = 1e3 * (torch.eye(C) - 0.5)[[0]].T.double()  # confident of class 0
    right = torch.eye(C)[[1]].T.double()
    assert find_distance('mse')(wrong, right).item() == pytest.approx(2)
    assert find_distance('js')(wrong, right).item() == pytest.approx(math.log(2))
    assert find_distance('js')(scores, target).max() < math.log(2)


def test_kl_is_torchs():
    scores, target = maps()
    expected = F.kl_div(scores.log_softmax(dim=1), target.expand(2, -1, -1), reduction='none')
    assert (find_distance('kl')(scores, target) - expected.sum(dim=1)).abs().max() < 1e-12


def test_an_unknown_distance_is_refused():
    with pytest.raises(SetupError, match=r"cct\.distance='cosine': expected one of \('mse'"):
        find_distance('cosine', 'cct.distance')


# -- the sum over decoders -----------------------------------------------------------------------


def setting(dtype=torch.float64):
    torch.manual_seed(0)
    decoders = DecoderStack(3, in_channels=6, num_classes=4, upscale=4).to(dtype)
    g = torch.Generator().manual_seed(1)
    lifted = torch.randn(2, 3, 4, 10, generator=g, dtype=dtype).requires_grad_()
    target = torch.randn(2, 4, 16, 10, generator=g, dtype=dtype).softmax(dim=1)
    weight = (torch.rand(2, 16, 10, generator=g) < 0.7).to(dtype)
    return decoders, lifted, target, weight


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('chunk', [1, 500, 10**9])
def test_chunks_change_nothing(name, chunk):
    """Values and gradients agree, with a different scale for each decoder's gradient."""
    decoders, lifted, target, weight = setting()
    distance = find_distance(name)
    scale = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    expected = []
    for k in range(3):
        levels = [tensor[k : k + 1] for tensor in decoders.levels]
        expected.append(
            sum(
                (
                    distance(decoders.tail(lifted[n, k][None], *levels), target[n].flatten(1))
                    * weight[n].flatten()
                ).sum()
                for n in range(2)
            )
        )
    expected = torch.stack(expected)
    found = consistency_sums(
        lifted, decoders.levels, decoders.tail, target, weight, distance, chunk
    )
    assert (found - expected).abs().max() < 1e-10 * expected.abs().max()
    inputs = [lifted, *decoders.levels]
    mine = torch.autograd.grad(found @ scale, inputs)
    theirs = torch.autograd.grad(expected @ scale, inputs)
    for one, other in zip(mine, theirs, strict=True):
        assert (one - other).abs().max() < 1e-10 * other.abs().max()


def test_without_gradients_none_are_taken(monkeypatch):
    decoders, lifted, target, weight = setting()
    arguments = (lifted, decoders.levels, decoders.tail, target, weight, find_distance('mse'), 500)
    expected = consistency_sums(*arguments)
    monkeypatch.setattr(torch.autograd, 'grad', None)
    with torch.no_grad():
        found = consistency_sums(*arguments)
    assert torch.equal(found, expected) and not found.requires_grad
    decoders.requires_grad_(False)
    assert torch.equal(consistency_sums(lifted.detach(), *arguments[1:]), expected)


def test_half_precision_inputs_are_summed_in_single_precision():
    decoders, lifted, target, weight = setting(torch.float32)
    expected = consistency_sums(
        lifted, decoders.levels, decoders.tail, target, weight, find_distance('mse'), 500
    )
    with torch.autocast('cpu', torch.bfloat16):
        found = consistency_sums(
            lifted.bfloat16(),
            decoders.levels,
            decoders.tail,
            target,
            weight,
            find_distance('mse'),
            500,
        )
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.02 * expected.max()
    (gradient,) = torch.autograd.grad(found.sum(), decoders.levels[0])
    assert gradient.dtype == torch.float32 and gradient.abs().max() > 0


def test_nothing_compared_is_zero_with_a_graph():
    decoders, lifted, target, weight = setting()
    found = consistency_sums(
        lifted,
        decoders.levels,
        decoders.tail,
        target,
        torch.zeros_like(weight),
        find_distance('mse'),
        500,
    )
    assert torch.equal(found, torch.zeros(3, dtype=torch.float64))
    for gradient in torch.autograd.grad(found.sum(), [lifted, *decoders.levels]):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_chunks_cover_every_cell_once():
    for chunk in (1, 12, 40, 1000):
        seen = torch.zeros(3, 10, dtype=torch.long)
        sizes = []
        for image, part in cell_chunks(3, 10, 4, chunk):
            seen[image, part] += 1
            sizes.append(part.stop - part.start)
        assert torch.equal(seen, torch.ones_like(seen))
        assert max(sizes) == max(1, min(10, chunk // 4))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_probabilities_are_the_softmax(dtype):
    """Also of logits hundreds apart, where no product of two results is subnormal."""
    g = torch.Generator().manual_seed(0)
    for scale in (1.0, 30.0, 1000.0):
        scores = scale * torch.randn(2, C, 50, generator=g, dtype=dtype)
        out = torch.empty_like(scores)
        found = probabilities(scores, out=out)
        assert found is out and torch.equal(probabilities(scores), found)
        expected = scores.double().softmax(dim=1)
        eps = torch.finfo(dtype).eps
        assert (found - expected).abs().max() < 4 * eps
        assert (found.square() >= torch.finfo(dtype).tiny).all()


def test_single_precision_keeps_small_gradients():
    """The fast form of MSE against double precision, with logits far apart."""
    decoders, lifted, target, weight = setting(torch.float32)
    lifted = (20 * lifted).detach().requires_grad_()
    exact = [decoders.double().levels, lifted.detach().double().requires_grad_()]
    exact.append(
        consistency_sums(
            exact[1], exact[0], decoders.tail, target, weight, find_distance('mse'), 500
        )
    )
    levels = [level.detach().float().requires_grad_() for level in exact[0]]
    found = consistency_sums(
        lifted, levels, decoders.tail, target, weight, find_distance('mse'), 500
    )
    assert (found - exact[2]).abs().max() < 1e-6 * exact[2].abs().max()
    mine = torch.autograd.grad(found.sum(), [lifted, *levels])
    theirs = torch.autograd.grad(exact[2].sum(), [exact[1], *exact[0]])
    for one, other in zip(mine, theirs, strict=True):
        assert (one - other).abs().max() < 3e-6 * other.abs().max()
