"""DDFP's objective against its formulas, written out in float64."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_semi import TinyLoop, snapshot, tiny_batch, tiny_losses, tiny_model, tiny_recipe
from torch import Tensor, nn

from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.ddfp.mixture import IGNORED, UNLABELED
from mmseg_semi.step.pixels import draw_pixels, nearest, rows_at
from mmseg_semi.step.views import (
    Batch,
    MixedView,
    PseudoLabels,
    StepViews,
    StudentOutputs,
    StudentViews,
    TeacherOutputs,
    TeacherViews,
    UnlabeledBatch,
)

K = 3


def build(**changes) -> tuple[nn.Module, nn.Module]:
    """A float64 segmentor without dropout, with decided norms, and its DDFP objective."""
    objectives = tiny_recipe('ddfp')['objectives']
    objectives[2] |= changes
    model = tiny_model('ddfp', dropout=0.0, objectives=objectives).double()
    for module in model.student.decode_head.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    nn.init.normal_(model.student.decode_head.conv_seg.weight)
    return model, model.objectives[2]


def log_prob(density: nn.Module, x: Tensor) -> Tensor:
    """log p of (M, C) features: the mean of the components' densities, one by one."""
    z, logdet = density.flow(x)
    components = [
        torch.distributions.MultivariateNormal(mean, torch.eye(len(mean), dtype=x.dtype)).log_prob(
            z
        )
        for mean in density.means
    ]
    return torch.stack(components).logsumexp(dim=0) - math.log(len(components)) + logdet


def through_auxiliary_norms(head: nn.Module, fused: Tensor) -> Tensor:
    """h in adversarial mode: batch statistics of these rows, auxiliary scale and shift."""
    x = F.conv2d(fused, head.conv1.weight, head.conv1.bias, padding=1)
    for index in (1, 2):
        norm = getattr(head, f'aux_norm{index}')
        x = F.batch_norm(x, None, None, norm.weight, norm.bias, training=True).relu()
        if index == 1:
            x = F.conv2d(x, head.conv2.weight, head.conv2.bias, padding=1)
    return x


def as_rows(x: Tensor) -> Tensor:
    return torch.stack([pixel for image in x for row in image.permute(1, 2, 0) for pixel in row])


def step(model: nn.Module, confident: float = 0.5, seed: int = 0) -> StepViews:
    """Views of a last-phase step: student rows with a graph down to the fused map, and pseudo-labels."""
    draw = torch.Generator().manual_seed(seed)
    head = model.student.decode_head
    fused = torch.randn(2, 24, 8, 8, generator=draw, dtype=torch.float64).requires_grad_()
    lifted = head.lift(fused)
    features, logits, _ = head.finish(lifted)
    labels = torch.randint(0, K, (2, 8, 8), generator=draw)
    labels[torch.rand(2, 8, 8, generator=draw) >= confident] = IGNORE
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    valid[:, 28:] = False
    labels[~valid] = IGNORE
    mixed = MixedView(torch.empty(0), PseudoLabels(labels, torch.zeros(2, 32, 32)), valid)
    return StepViews(
        Batch(torch.empty(0), torch.empty(0), time=2.0, monitor=True),
        TeacherViews(TeacherOutputs(torch.empty(0)), mixed=mixed),
        StudentViews(mixed=StudentOutputs((), fused, lifted, features, logits)),
    )


def expected_perturbation(model: nn.Module, views: StepViews, eps: float = 4.0) -> Tensor:
    """D8 to D10: the gradient of the mean negative log-density over the confident pixels, to length eps."""
    ddfp, head = model.objectives[2], model.student.decode_head
    fused = views.student.mixed.fused.detach().requires_grad_()
    features = as_rows(through_auxiliary_norms(head, fused))
    confident = views.teacher.mixed.pseudo_m.labels[:, ::4, ::4].flatten() != IGNORE
    energy = -log_prob(ddfp.density, features[confident]).mean()
    (gradient,) = torch.autograd.grad(energy, fused)
    length = gradient.square().sum(dim=1, keepdim=True).sqrt()
    return eps * gradient / length.clamp(min=1e-12)


@pytest.mark.parametrize('eps', [4.0, 0.5])
def test_perturbation_is_the_normalised_gradient_of_the_density(eps):
    model, ddfp = build(eps=eps)
    views = step(model)
    confident = views.teacher.mixed.pseudo_m.labels[:, ::4, ::4] != IGNORE
    found = ddfp.perturbation(views.student.mixed.fused, views.student.mixed.lifted, confident)
    expected = expected_perturbation(model, views, eps)
    assert (found - expected).abs().max() < 1e-9
    assert (found.norm(dim=1) - eps).abs().max() < 1e-4 * eps
    assert not found.requires_grad


@pytest.mark.parametrize('divisor', ['confident', 'valid'])
def test_loss_is_the_cross_entropy_of_the_moved_features(divisor):
    model, ddfp = build(divisor=divisor)
    head = model.student.decode_head
    views = step(model)
    values = ddfp.compute(views)
    fused = views.student.mixed.fused
    moved = fused + expected_perturbation(model, views)  # not detached
    logits = head.conv_seg(through_auxiliary_norms(head, moved))
    logits = F.interpolate(logits, size=(32, 32), mode='bilinear', align_corners=True)
    labels = views.teacher.mixed.pseudo_m.labels
    mean = F.cross_entropy(logits, labels, ignore_index=IGNORE)
    count = int((labels != IGNORE).sum())
    share = 1.0 if divisor == 'confident' else count / int(views.teacher.mixed.valid_m.sum())
    assert 0 < count < int(views.teacher.mixed.valid_m.sum())
    assert values['loss'].item() == pytest.approx(share * mean.item(), rel=1e-6)
    parameters = [fused, head.conv1.weight, head.aux_norm2.bias]
    found = torch.autograd.grad(values['loss'], parameters)
    expected = torch.autograd.grad(share * mean, parameters)
    for mine, theirs in zip(found, expected, strict=True):
        # the loss itself is float32
        assert (mine - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_density_drop_is_what_the_move_costs():
    model, ddfp = build(eps=0.05)
    views = step(model)
    head = model.student.decode_head
    fused = views.student.mixed.fused.detach()
    before, after = (
        as_rows(through_auxiliary_norms(head, v))
        for v in (fused, fused + expected_perturbation(model, views, 0.05))
    )
    confident = views.teacher.mixed.pseudo_m.labels[:, ::4, ::4].flatten() != IGNORE
    drop = log_prob(ddfp.density, before) - log_prob(ddfp.density, after)
    values = ddfp.compute(views)
    assert values['density_drop'].item() == pytest.approx(drop[confident].mean().item(), rel=1e-6)
    assert values['density_drop'] > 0
    assert not values['density_drop'].requires_grad


def test_random_control_has_the_same_length_and_another_direction():
    model, ddfp = build(direction='random')
    views = step(model)
    torch.manual_seed(0)
    found = ddfp.perturbation(views.student.mixed.fused, views.student.mixed.lifted, None)
    assert (found.norm(dim=1) - 4.0).abs().max() < 1e-4 and not found.requires_grad
    expected = expected_perturbation(model, views)
    cosine = (found * expected).sum(dim=1) / 16
    assert cosine.abs().mean() < 0.4 and cosine.mean().abs() < 0.1


def test_without_a_confident_pixel_nothing_moves():
    model, ddfp = build()
    views = step(model, confident=0.0)
    confident = torch.zeros(2, 8, 8, dtype=torch.bool)
    found = ddfp.perturbation(views.student.mixed.fused, views.student.mixed.lifted, confident)
    assert torch.equal(found, torch.zeros_like(found))
    values = ddfp.compute(views)
    assert values['loss'] == 0 and values['density_drop'] == 0
    (gradient,) = torch.autograd.grad(values['loss'], views.student.mixed.fused)
    assert torch.equal(gradient, torch.zeros_like(gradient))


# -- samples of the flow -------------------------------------------------------------------------


def teacher_views(labels: Tensor, valid: Tensor, channels: int = 16, side: int = 4) -> StepViews:
    """Teacher features in which every pixel carries its own number."""
    count = len(labels) * side * side
    pixels = torch.arange(2 * count, dtype=torch.float32)
    maps = pixels.view(-1, 1, side, side) + torch.linspace(0, 0.5, channels).view(1, -1, 1, 1)
    unlabeled = UnlabeledBatch(torch.empty(0), torch.empty(0), valid)
    return StepViews(
        Batch(torch.empty(0), labels, unlabeled, time=1.0),
        TeacherViews(
            weak=TeacherOutputs(maps[:1], maps[len(labels) :]),
            labeled=TeacherOutputs(maps[:1], maps[: len(labels)]),
            # every unlabelled pixel is below the threshold
            pseudo_u=PseudoLabels(torch.full_like(labels, IGNORE), torch.zeros(labels.shape)),
        ),
    )


def label_maps(size: int = 16) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, K, (2, size, size), generator=draw)
    labels[0, :8] = IGNORE
    valid = torch.ones(2, size, size, dtype=torch.bool)
    valid[1, :, 8:] = False
    return labels, valid


def allowed_pixels(labels: Tensor, valid: Tensor) -> dict[int, int]:
    """Number of every usable stride-4 pixel -> its class, or UNLABELED."""
    found = {}
    for index, (maps, unlabelled) in enumerate([(labels, False), (valid, True)]):
        for n in range(2):
            for y in range(4):
                for x in range(4):
                    value = maps[n, 4 * y, 4 * x].item()
                    number = index * 32 + n * 16 + y * 4 + x
                    if unlabelled and value:
                        found[number] = UNLABELED
                    elif not unlabelled and value != IGNORE:
                        found[number] = value
    return found


@pytest.mark.parametrize('samples', [1, 10, 40, 48, 64, 1000])
def test_samples_are_drawn_among_known_labels_and_unpadded_pixels(samples):
    _, ddfp = build(samples=samples)
    labels, valid = label_maps()
    allowed = allowed_pixels(labels, valid)
    assert len(allowed) == 64 - 8 - 8
    drawn = set()
    for seed in range(30):
        torch.manual_seed(seed)
        ddfp._keep_samples(teacher_views(labels, valid))
        features, components = ddfp._kept
        assert features.dtype == torch.float32 and not features.requires_grad
        counts = components != IGNORED
        assert int(counts.sum()) == min(samples, len(allowed))
        numbers = features[counts, 0].long().tolist()
        assert len(set(numbers)) == len(numbers)  # without replacement
        assert [allowed[number] for number in numbers] == components[counts].tolist()
        # all channels of a row come from one pixel
        offsets = features[counts] - features[counts, :1]
        assert (offsets - torch.linspace(0, 0.5, 16)).abs().max() < 1e-5
        drawn |= set(numbers)
    if samples > 1:
        # labelled ones of every class and unlabelled ones without a pseudo-label
        assert drawn == set(allowed)


def test_samples_are_drawn_uniformly():
    allowed = torch.ones(12, dtype=torch.bool)
    allowed[[0, 5]] = False
    torch.manual_seed(0)
    counts = torch.zeros(12)
    for _ in range(3000):
        index, inside = draw_pixels(allowed.view(3, 4), 4)
        assert inside.all() and len(index) == 4
        counts[index] += 1
    assert counts[0] == counts[5] == 0
    assert (counts[allowed] - 1200).abs().max() < 5 * math.sqrt(3000 * 0.4 * 0.6)


def test_rows_at_and_nearest():
    maps = torch.randn(3, 5, 4, 6)
    index = torch.tensor([0, 71, 24, 23, 50])
    assert torch.equal(rows_at(maps, index), as_rows(maps)[index])
    for height, width in ((8, 8), (9, 7), (33, 32), (5, 16)):
        labels = torch.randint(0, 256, (2, 33, 32))
        found = nearest(labels, (height, width))
        assert found.dtype == torch.int64
        for y in range(height):
            for x in range(width):
                assert torch.equal(found[:, y, x], labels[:, y * 33 // height, x * 32 // width])
    assert nearest(labels > 3, (8, 8)).dtype == torch.bool


def test_flow_loss_is_the_likelihood_of_the_noisy_samples():
    _, ddfp = build(samples=1000, noise=0.0)
    labels, valid = label_maps()
    views = teacher_views(labels, valid)
    labeled, weak = (
        replace(outputs, features=outputs.features / 64)
        for outputs in (views.teacher.labeled, views.teacher.weak)
    )
    views = replace(views, teacher=replace(views.teacher, labeled=labeled, weak=weak))
    ddfp._keep_samples(views)
    loss = ddfp.estimator_loss().item()
    terms = []
    density = ddfp.density
    identity = torch.eye(16, dtype=torch.float64)
    for number, kind in allowed_pixels(labels, valid).items():
        x = ((number + torch.linspace(0, 0.5, 16)) / 64).double()[None]
        if kind == UNLABELED:
            terms.append(log_prob(density, x))
        else:
            z, logdet = density.flow(x)
            own = torch.distributions.MultivariateNormal(density.means[kind], identity)
            terms.append(own.log_prob(z) + logdet)
    assert loss == pytest.approx(-torch.stack(terms).mean().item(), rel=1e-6)
    assert ddfp.nll.item() == pytest.approx(loss)
    assert ddfp.estimator_loss() is None  # samples serve once

    # noise is added to the input, anew in every step
    ddfp.noise = 0.5
    torch.manual_seed(0)
    ddfp._keep_samples(views)
    kept, components = (tensor.clone() for tensor in ddfp._kept)
    state = torch.get_rng_state()
    noisy = ddfp.estimator_loss().item()
    torch.set_rng_state(state)
    noise = 0.5 * torch.randn_like(kept)
    assert noisy == pytest.approx(density.nll(kept + noise, components).item(), rel=1e-9)
    assert abs(noisy - loss) > 1e-3


def test_bits_per_dim_are_those_of_the_step_before():
    model = tiny_model('ddfp')
    loop = TinyLoop(model)
    for _ in range(4):
        loop.step()
    nll = model.objectives[2].nll.item()
    log = loop.step()
    assert log['ddfp.bits_per_dim'] == pytest.approx(nll / (16 * math.log(2)), rel=1e-6)
    assert model.objectives[2].nll.item() != nll


def test_the_flow_learns_the_teachers_features():
    model = tiny_model('ddfp')
    model.objectives[1].weight = model.objectives[2].weight = lambda time: 0.0
    loop = TinyLoop(model, lr=0.0, epochs=1000, skip_buffer=True)  # a teacher that stands still
    loop.iter = 2
    bits = [loop.step(tiny_batch())['ddfp.bits_per_dim'] for _ in range(40)][1:]
    assert sum(bits[-5:]) < sum(bits[:5]) - 1.0


def test_samples_are_kept_from_density_start_only():
    model = tiny_model('ddfp')
    before = snapshot(model.objectives[2])
    for iteration in (0, 1):
        tiny_losses(model, iteration)
        assert model.objectives[2].estimator_loss() is None
    tiny_losses(model, 2)
    # features of both images of each kind at stride 4; the void and the padded columns are missing
    features, components = model.objectives[2]._kept
    assert features.shape == (64, 16)
    assert {*components.tolist()} == {UNLABELED, 0, 1, 2}
    assert all(torch.equal(before[key], v) for key, v in model.objectives[2].state_dict().items())
