"""Losses on weak masks against plain forms, where their gradients go, and how masks move through a step."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from test_monitoring import documented
from tiny_semi import tiny_batch, tiny_losses, tiny_model, tiny_recipe

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.cct.consistency import (
    Term,
    consistency_sums,
    decoder_sums,
    find_distance,
    label_cross_entropy,
)
from mmseg_semi.step.mixing import CutOut
from mmseg_semi.step.mixing_pixels import box_masks, mix
from mmseg_semi.step.views import PseudoLabels, StepViews

import projects.weak_labels  # noqa: F401  # isort: skip  (registers)

DETERMINISTIC = [dict(type='ContextMask', count=2), dict(type='ObjectMask')]


def weak_batch(images: int = 2, classes: int = 3, seed: int = 0, **changes) -> dict:
    """A batch whose last ``images`` unlabelled images have weak masks, with 255 in their upper half."""
    batch = tiny_batch(num_unlabeled=2, seed=seed, **changes)
    generator = torch.Generator().manual_seed(seed)
    for branch in ('weak', 'strong'):
        for sample in batch['data_samples'][branch][-images:] if images else []:
            valid = sample.valid_map.data
            labels = torch.randint(0, classes, valid.shape, generator=generator, dtype=torch.uint8)
            labels[:, : labels.shape[1] // 2] = IGNORE
            labels[~valid] = IGNORE
            sample.given_map = PixelData(data=labels)
    return batch


def cct_model(weight=3.0, seed: int = 0, **changes):
    objective = dict(type='WeakCCTObjective', weight=weight, perturbations=DETERMINISTIC) | changes
    return tiny_model('cct', seed=seed, objectives=[dict(type='SupervisedObjective'), objective])


def views_of(model, batch, iteration: int = 0) -> StepViews:
    tiny_losses(model, iteration, batch)
    return model.last_views


# -- the sums --------------------------------------------------------------------------------------


def test_cross_entropy_of_labels_elsewhere_zero():
    scores = torch.randn(4, 3, 10, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0, 1, 2, 255, 0, 255, 1, 2, 2, 0]])
    found = label_cross_entropy(scores, labels)
    expected = F.cross_entropy(scores, labels.expand(4, -1), ignore_index=255, reduction='none')
    torch.testing.assert_close(found, expected)
    assert not found[:, [3, 5]].any()
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    assert not gradient[:, :, [3, 5]].any() and gradient[:, :, 0].any()


@pytest.mark.parametrize('chunk', [1, 40, 10**6])
def test_several_terms_in_one_pass_equal_the_plain_sums(chunk):
    """Values and gradients of two terms with different factors, against autograd on whole maps."""
    torch.manual_seed(0)
    n, k, c, s, p = 2, 3, 4, 4, 5
    lifted = torch.randn(n, k, c, p, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(k, 4 * c, c, dtype=torch.float64, requires_grad=True)

    def tail(x, w):
        return (w @ x).tanh().reshape(len(x), c, -1)

    target = torch.rand(n, c, s, p, dtype=torch.float64).softmax(1)
    labels = torch.randint(0, c, (n, 1, s, p))
    labels[0, :, 0] = 255
    counted = torch.rand(n, s, p) > 0.3
    known = labels[:, 0] != 255
    mse = find_distance('mse')
    terms = [Term(mse, target, counted), Term(label_cross_entropy, labels, known)]
    factors = torch.rand(2, k, dtype=torch.float64)
    found = decoder_sums(lifted, [weight], tail, terms, chunk)
    plain = torch.zeros(2, k, dtype=torch.float64)
    for image in range(n):
        scores = tail(lifted[image], weight).unflatten(-1, (s, p))
        q = target[image].expand(k, -1, -1, -1)
        distance = (scores.softmax(1) - q).square().sum(1)
        entropy = F.cross_entropy(
            scores, labels[image].expand(k, -1, -1), ignore_index=255, reduction='none'
        )
        plain = plain + torch.stack([(distance * counted[image]).sum((1, 2)), entropy.sum((1, 2))])
    torch.testing.assert_close(found, plain)
    inputs = (lifted, weight)
    torch.testing.assert_close(
        torch.autograd.grad((found * factors).sum(), inputs),
        torch.autograd.grad((plain * factors).sum(), inputs),
    )
    alone = consistency_sums(lifted, [weight], tail, target, counted, mse, chunk)
    torch.testing.assert_close(alone, plain[0])


def test_no_map_of_scores_is_larger_than_a_chunk_nor_outlives_it():
    """Beside inputs and result, only gradients of the size of the inputs are kept for the backward pass."""
    n, k, c, s, p = 2, 3, 4, 64, 30
    lifted = torch.randn(n, k, c, p, requires_grad=True)
    weight = torch.randn(k, s * c, c, requires_grad=True)
    seen, kept = [], []

    def watched(scores, labels):
        seen.append(scores.numel())
        return label_cross_entropy(scores, labels)

    def tail(x, w):
        return (w @ x).reshape(len(x), c, -1)

    labels, pixels = torch.zeros(n, 1, s, p, dtype=torch.long), torch.ones(n, s, p)
    q = torch.full((n, c, s, p), 1 / c)
    terms = [Term(find_distance('mse'), q, pixels), Term(watched, labels, pixels)]
    chunk = 3 * k * c * s  # three cells
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    ):
        found = decoder_sums(lifted, [weight], tail, terms, chunk)
    assert max(seen) == chunk and len(seen) == n * p // 3
    inner = sum(tensor.numel() for tensor in kept[-4:])
    assert inner == 2 * (lifted.numel() + weight.numel())
    assert len(found.grad_fn.saved_tensors) == 4


# -- CCT -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('images', [1, 2])
def test_weak_loss_is_the_decoders_mean_cross_entropy(images):
    """(1/K) sum_k CE(g_k(perturbed z), y): each decoder by itself, its prediction shuffled to full size."""
    model = cct_model(weight=0.0, weak_weight=1.0)
    batch = weak_batch(images)
    losses = tiny_losses(model, 0, batch)
    views, objective = model.last_views, model.objectives[1]
    assert (
        views.batch.unlabeled.noisy_u.shape == views.batch.unlabeled.valid_u.shape
        and views.batch.unlabeled.noisy_u.dtype == torch.int64
    )
    z, logits = views.student.weak.fused, views.student.weak.logits
    foreground = (logits.argmax(1) > 0).float()
    foreground = F.interpolate(foreground[:, None], z.shape[2:], mode='nearest')
    values = []
    for mask, stack in zip((foreground, 1 - foreground), objective.decoders, strict=True):
        for k in range(len(stack)):
            prediction = stack.single(k)(mask * z)[..., :32, :32]
            values.append(
                F.cross_entropy(prediction, views.batch.unlabeled.noisy_u, ignore_index=255)
            )
    assert len(values) == 3
    torch.testing.assert_close(losses['cct.loss_weak'], torch.stack(values).mean())
    assert losses['cct.loss'] == 0
    if images == 1:
        assert (views.batch.unlabeled.noisy_u[0] == IGNORE).all() and (
            views.batch.unlabeled.noisy_u[1] != IGNORE
        ).any()


def main_decoder(model) -> list:
    return list(model.student.decode_head.conv_seg.parameters())


def test_weak_loss_reaches_auxiliary_decoders_and_encoder_never_the_main_decoder():
    noise = [dict(type='FeatureNoise', count=3)]
    model = cct_model(weight=0.0, weak_weight=1.0, perturbations=noise)
    tiny_losses(model, 0, weak_batch())['cct.loss_weak'].backward()
    assert all(p.grad is None or not p.grad.any() for p in main_decoder(model))
    (stack,) = model.objectives[1].decoders
    assert stack.project.grad.any() and all(weight.grad.any() for weight in stack.weights)
    head, encoder = model.student.decode_head, model.student.backbone
    assert any(p.grad is not None and p.grad.any() for p in encoder.parameters())
    assert any(p.grad is not None and p.grad.any() for p in head.parameters())  # the pyramid


def test_labels_train_what_is_called_the_main_decoder_here():
    model = cct_model()
    losses = tiny_losses(model, 0, weak_batch())
    sum(
        value for key, value in losses.items() if key.startswith('sup') and 'loss' in key
    ).backward()
    assert all(p.grad.any() for p in main_decoder(model) if p.dim() > 1)
    assert all(p.grad is None for p in model.objectives[1].decoders.parameters())


@pytest.mark.parametrize('images', [0, 2])
def test_nothing_labelled_is_an_exact_zero_with_a_graph(images):
    """Neither images without a mask, nor masks that say nothing."""
    model = cct_model(weak_weight=1.0)
    batch = weak_batch(images)
    for sample in batch['data_samples']['weak'][-2:] if images else []:
        sample.given_map.data.fill_(IGNORE)
    losses = tiny_losses(model, 0, batch)
    assert losses['cct.loss_weak'] == 0 and losses['cct.loss_weak'].requires_grad
    losses['cct.loss_weak'].backward()
    assert not any(
        p.grad.any() for p in model.objectives[1].decoders.parameters() if p.grad is not None
    )


def test_consistency_is_what_it_is_without_weak_masks():
    torch.manual_seed(0)
    with_masks, without = (
        cct_model(),
        tiny_model(
            'cct',
            objectives=[
                dict(type='SupervisedObjective'),
                dict(type='CCTObjective', weight=3.0, perturbations=DETERMINISTIC),
            ],
        ),
    )
    with_masks.load_state_dict(without.state_dict())
    one = tiny_losses(with_masks, 1, weak_batch())
    other = tiny_losses(without, 1, tiny_batch())
    assert other.keys() <= one.keys()
    for key, value in other.items():
        torch.testing.assert_close(one[key], value)
    assert {'cct.loss_weak', 'cct.weak_pixels', 'cct.weak_agreement'} <= one.keys()
    assert 0 < one['cct.weak_pixels'] < 1 and 0 <= one['cct.weak_agreement'] <= 1


def test_published_weight():
    """0.4 of the consistency's ramp: 0.4 w / 30 at every time."""
    objective = cct_model(dict(type='Ramp', value=30.0, length=8, kind='sigmoid')).objectives[1]
    for time in (0, 1, 4, 7.5, 8, 80):
        assert objective.weak_weight(time) == pytest.approx(0.4 * objective.weight(time) / 30)
    assert objective.weak_weight(8) == pytest.approx(0.4)
    assert cct_model().objectives[1].weak_weight(0) == 0.4


def test_before_its_ramp_it_asks_for_nothing():
    model = cct_model(dict(type='Ramp', value=30.0, length=2, kind='sigmoid', start=1))
    losses = tiny_losses(model, 0, weak_batch())
    assert losses['cct.loss'] == 0 and 'cct.loss_weak' not in losses
    assert model.last_views.student.weak is None
    losses = tiny_losses(model, 2, weak_batch())
    assert losses['cct.loss_weak'] > 0


# -- self-training ---------------------------------------------------------------------------------


@pytest.mark.parametrize('method', ['fixmatch', 'ddfp'])
def test_weak_masks_are_pseudo_labels_of_their_own_weight(method):
    base = tiny_model(method)
    recipe = tiny_recipe(method)
    weak = dict(type='WeakSelfTrainingObjective', weight=0.25)
    model = tiny_model(
        method, objectives=[*recipe['objectives'], weak], mixing=dict(type='CutMix', prob=1.0)
    )
    model.load_state_dict(base.state_dict())
    losses = tiny_losses(model, 3, weak_batch(images=1))
    views = model.last_views
    logits = model.upsample(views.student.mixed.logits, (32, 32))
    expected = F.cross_entropy(logits, views.teacher.mixed.pseudo_m.noisy, ignore_index=255)
    torch.testing.assert_close(losses['weak.loss'], 0.25 * expected)
    # the box of the other image brings its mask along: of two images one has one, mixed both
    assert (views.batch.unlabeled.noisy_u[0] == IGNORE).all()
    known = (views.teacher.mixed.pseudo_m.noisy != IGNORE).flatten(1).any(dim=1)
    assert known.all()
    # labels move with their pixels
    moved = views.teacher.mixed.img_u_m != views.batch.unlabeled.img_u_s
    stayed = ~moved.any(dim=1)
    assert (
        torch.equal(
            views.teacher.mixed.pseudo_m.noisy[stayed], views.batch.unlabeled.noisy_u[stayed]
        )
        and stayed.any()
    )
    partner = (views.teacher.mixed.img_u_m == views.batch.unlabeled.img_u_s.roll(-1, 0)).all(dim=1)
    assert torch.equal(
        views.teacher.mixed.pseudo_m.noisy[partner],
        views.batch.unlabeled.noisy_u.roll(-1, 0)[partner],
    )
    # a batch in which no image happens to have one
    losses = tiny_losses(model, 3, tiny_batch())
    assert losses['weak.loss'] == 0 and losses['weak.loss'].requires_grad
    assert losses['weak.pixels'] == 0


def test_mixing_moves_image_label_confidence_validity_and_mask_together():
    generator = torch.Generator().manual_seed(0)
    code = torch.arange(3 * 16 * 16).view(3, 16, 16)
    keep = box_masks(3, 16, 16, 0.4, generator)
    pseudo = PseudoLabels(code % 7, code / code.numel(), code % 5)
    images, mixed, valid = mix(
        keep, code[:, None].float().expand(-1, 3, -1, -1), pseudo, code % 2 == 0
    )
    source = images[:, 0].long()
    assert torch.equal(mixed.noisy, source % 5) and torch.equal(mixed.labels, source % 7)
    assert torch.equal(valid, source % 2 == 0) and not torch.equal(source, code)
    assert mix(keep, images, PseudoLabels(code, code / 1.0), valid)[1].noisy is None


def test_cut_out_erases_the_mask():
    noisy = torch.zeros(2, 16, 16, dtype=torch.long)
    images, pseudo, valid = CutOut(prob=1.0)(
        torch.ones(2, 3, 16, 16),
        PseudoLabels(noisy.clone(), torch.ones(2, 16, 16), noisy),
        torch.ones(2, 16, 16, dtype=torch.bool),
        torch.Generator().manual_seed(0),
    )
    assert (
        torch.equal(pseudo.noisy == IGNORE, ~valid)
        and (~valid).any()
        and not images[:, 0][~valid].any()
    )


def test_a_mixing_that_drops_masks_is_refused():
    weak = dict(type='WeakSelfTrainingObjective')
    model = tiny_model('fixmatch', objectives=[*tiny_recipe('fixmatch')['objectives'], weak])
    mixing = copy.copy(model.mixing)

    def forgetful(*strong):
        images, pseudo, valid = type(mixing).forward(mixing, *strong)
        return images, PseudoLabels(pseudo.labels, pseudo.confidence), valid

    model.mixing.forward = forgetful
    with pytest.raises(SetupError, match='model.mixing dropped the weak masks'):
        tiny_losses(model, 3, weak_batch())


# -- the log ---------------------------------------------------------------------------------------


def test_monitoring_names_the_values_of_weak_masks_and_no_other():
    weak = [dict(type='WeakSelfTrainingObjective', weight=0.25)]
    pairs = [
        (cct_model(), tiny_model('cct')),
        (
            tiny_model('fixmatch', objectives=tiny_recipe('fixmatch')['objectives'] + weak),
            tiny_model('fixmatch'),
        ),
    ]
    found = set()
    for with_masks, without in pairs:
        found |= set(tiny_losses(with_masks, 5, weak_batch())) - set(tiny_losses(without, 5))
    assert found == documented('## Values of weak masks')
