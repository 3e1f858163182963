"""I-VAT's direction against its definition by autograd, in feature space and in class space."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_semi.methods.cct.consistency import cell_chunks
from mmseg_semi.methods.cct.perturbations.adversarial import (
    class_space_perturbation,
    virtual_adversarial_perturbation,
)
from mmseg_semi.methods.cct.perturbations.draws import seeded
from mmseg_semi.methods.cct.perturbations.guided import Guidance
from mmseg_semi.methods.cct.perturbations.modules import VirtualAdversarial
from mmseg_semi.methods.cct.pixel_shuffle import DecoderStack

SEEDS = [11, 12]


def stack(channels: int = 12, classes: int = 5, upscale: int = 4, seed: int = 0) -> DecoderStack:
    torch.manual_seed(seed)
    return DecoderStack(2, in_channels=channels, num_classes=classes, upscale=upscale)


def features(n: int = 3, channels: int = 12, side: int = 4, seed: int = 1) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, side, side + 1, generator=g, dtype=torch.float64).abs()


def in_class_space(decoders: DecoderStack, z, chunk: int = 10**9, **settings):
    levels = [tensor.detach() for tensor in decoders.levels]
    parts = cell_chunks(len(z), z.shape[2] * z.shape[3], 1, chunk)
    return class_space_perturbation(
        z,
        decoders.project,
        lambda lifted: decoders.tail(lifted, *levels),
        SEEDS,
        parts,
        **settings,
    )


def by_definition(decode, z, seed: int, xi: float, eps: float, steps: int = 1, scale: float = 1.0):
    """The direction with the noise multiplied by ``scale`` before it is normalised."""

    def unit(x):
        return x / x.flatten(1).norm(dim=1)[:, None, None, None]

    noise = torch.rand(z.shape, generator=seeded(seed, z.device)).to(z.dtype) - 0.5
    direction = unit(scale * noise)
    target = decode(z).softmax(dim=1).detach()
    for _ in range(steps):
        direction = direction.detach().requires_grad_()
        log_p = decode(z + xi * direction).log_softmax(dim=1)
        divergence = F.kl_div(log_p, target, reduction='batchmean')
        direction = unit(torch.autograd.grad(divergence, direction)[0])
    return eps * direction


@pytest.mark.parametrize('steps', [1, 3])
@pytest.mark.parametrize('xi', [1e-2, 0.1, 1.0])
def test_the_direction_is_that_of_the_definition(xi, steps):
    decoders, z = stack().double(), features()
    draw = in_class_space(decoders, z, xi=xi, steps=steps)
    for k, seed in enumerate(SEEDS):
        decode = decoders.single(k)
        # the length of the noise does not matter
        expected = by_definition(decode, z, seed, xi, 2.0, steps, scale=7.0)
        found = virtual_adversarial_perturbation(
            decode, z, seeded(seed, z.device), xi=xi, steps=steps
        )
        assert (found - expected).abs().max() < 1e-7  # the noise's guard of 1e-8
        shift = draw.shift(k).view_as(z)
        assert (shift - found).abs().max() < 1e-10
        assert not found.requires_grad and not shift.requires_grad
        assert torch.equal(draw.apply(z, k), z + shift)


@pytest.mark.parametrize('xi', [1e-2, 0.1, 1.0])
@pytest.mark.parametrize('eps', [2.0, 0.3])
def test_its_length_is_eps(xi, eps):
    decoders, z = stack(), features().float()
    draw = in_class_space(decoders, z, xi=xi, eps=eps)
    relative = in_class_space(decoders, z, xi=xi, eps=eps, relative=True)
    for k in range(2):
        length = draw.shift(k).flatten(1).norm(dim=1)
        assert (length - eps).abs().max() < 1e-3 * eps
        length = relative.shift(k).flatten(1).norm(dim=1)
        assert (length / z.flatten(1).norm(dim=1) - eps).abs().max() < 1e-3 * eps


def test_it_does_not_depend_on_the_size_of_a_chunk():
    decoders, z = stack().double(), features()
    complete = in_class_space(decoders, z)
    for chunk in (1, 7):
        assert (in_class_space(decoders, z, chunk).response - complete.response).abs().max() < 1e-12


def test_it_moves_the_prediction_more_than_other_directions():
    decoders, z = stack(seed=3).double(), features()
    draw = in_class_space(decoders, z, eps=0.5)
    decode = decoders.single(0)
    target = decode(z).softmax(dim=1)

    def divergence(shift) -> float:
        return F.kl_div(decode(z + shift).log_softmax(dim=1), target, reduction='sum').item()

    random = torch.randn(20, *z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(0))
    others = [0.5 * r / r.flatten(1).norm(dim=1)[:, None, None, None] for r in random]
    assert divergence(draw.shift(0).view_as(z)) > 3 * max(map(divergence, others))


def test_single_precision_and_the_released_settings():
    """With a step of 1e-6 the gradient is below the guard, so r is short and has no useful direction."""
    decoders = stack(channels=64, classes=9, upscale=8)
    z = features(2, 64, 8).float()
    double = in_class_space(stack(channels=64, classes=9, upscale=8).double(), z.double(), xi=1e-3)

    def cosine(draw) -> float:
        one, other = draw.shift(0).double().flatten(1), double.shift(0).flatten(1)
        return F.cosine_similarity(one, other, dim=1).min().item()

    assert cosine(in_class_space(decoders, z, xi=0.1)) > 0.99
    released = in_class_space(decoders, z, xi=1e-6, guard=1e-8)
    assert cosine(released) < 0.9
    assert released.shift(0).flatten(1).norm(dim=1).max() < 1.0


def test_it_leaves_no_gradient_and_erases_none():
    decoders, z = stack(), features().float().requires_grad_()
    before = {}
    for name, parameter in decoders.named_parameters():
        parameter.grad = before[name] = torch.randn_like(parameter)
    expected = {name: value.clone() for name, value in before.items()}
    in_class_space(decoders, z)
    decode = decoders.single(0)
    virtual_adversarial_perturbation(decode, z, seeded(0, z.device))
    for name, parameter in decoders.named_parameters():
        assert torch.equal(parameter.grad, expected[name])
    assert z.grad is None and all(parameter.grad is None for parameter in decode.parameters())


def test_a_decoder_that_is_not_sensitive():
    decoders, z = stack(), features().float()
    with torch.no_grad():
        decoders.project.zero_()
    assert torch.equal(in_class_space(decoders, z).shift(0), torch.zeros_like(z.flatten(2)))


def test_the_module_serves_any_decoder():
    conv = torch.nn.Conv2d(12, 5, 1)
    z = features().float().requires_grad_()
    guidance = Guidance(conv(z), torch.Generator().manual_seed(0), decode=lambda fused: conv(fused))
    out = VirtualAdversarial(eps=0.5)(z, guidance)
    assert ((out - z).flatten(1).norm(dim=1) - 0.5).abs().max() < 1e-3
    (gradient,) = torch.autograd.grad(out.sum(), z)
    assert torch.equal(gradient, torch.ones_like(z))
    assert conv.weight.grad is None
