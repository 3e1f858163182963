"""U2PL's negatives, queues, contrast and objective against loops, and against what the authors' code computes.

The constants were computed by ``compute_contra_memobank_loss`` and ``compute_unsupervised_loss`` of
https://github.com/Haochen-Wang409/U2PL at ab3d2be, with ``torch.randint`` counting up instead of drawing.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_semi import TinyLoop, snapshot, tiny_batch, tiny_losses, tiny_model, tiny_recipe
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.u2pl import (
    ClassQueue,
    QueueContrastLoss,
    UnreliableNegatives,
    negative_classes,
    queue_contrast,
)
from mmseg_semi.methods.u2pl.negatives import class_ranks, draw_allowed
from mmseg_semi.step.losses import self_training_loss
from mmseg_semi.step.pixels import nearest
from mmseg_semi.step.pseudo_labels import most_certain

K, D, N, SIDE = 5, 4, 2, 6


def wave(*shape: int, f: float, p: float = 0.0) -> Tensor:
    """Numbers that look random and are the same everywhere."""
    count = math.prod(shape)
    return torch.sin(torch.arange(count, dtype=torch.float64) * f + p).float().view(shape)


# -- which pixels are negatives ----------------------------------------------------------------------


def ranks_of(scores: list[float]) -> list[int]:
    order = sorted(range(len(scores)), key=lambda c: -scores[c])
    return [order.index(c) for c in range(len(scores))]


def test_ranks_are_those_of_sorting():
    logits = torch.randn(2, K, 3, 4)
    ranks = class_ranks(logits)
    for n in range(2):
        for y in range(3):
            for x in range(4):
                assert ranks[n, :, y, x].tolist() == ranks_of(logits[n, :, y, x].tolist())


@pytest.mark.parametrize('unreliable', [0.0, 20.0, 100.0])
def test_negatives_are_those_of_a_loop(unreliable):
    low, high = 2, 4
    logits = torch.randn(2 * N, K, SIDE, SIDE)
    labels = torch.randint(0, K, (N, SIDE, SIDE))
    labels[0, 0] = IGNORE
    valid = torch.ones(N, SIDE, SIDE, dtype=torch.bool)
    valid[1, :, 3:] = False
    masks = negative_classes(labels, logits[:N], logits[N:], valid, unreliable, low, high)

    p = logits.double().softmax(dim=1)
    h = -(p * p.log()).sum(dim=1)[N:]
    values = sorted(h[valid].tolist())
    position = (1 - unreliable / 100) * (len(values) - 1)
    below = math.floor(position)
    above = min(below + 1, len(values) - 1)
    bound = values[below] + (position - below) * (values[above] - values[below])
    for n in range(N):
        for y in range(SIDE):
            for x in range(SIDE):
                ranks = ranks_of(logits[n, :, y, x].tolist())
                label = labels[n, y, x].item()
                mine = [r < low and c != label and label != IGNORE for c, r in enumerate(ranks)]
                assert masks[0][n, :, y, x].tolist() == mine
                ranks = ranks_of(logits[N + n, :, y, x].tolist())
                uncertain = valid[n, y, x] and h[n, y, x] >= bound - 1e-6 and unreliable > 0
                mine = [bool(uncertain and low <= r < high) for r in ranks]
                assert masks[1][n, :, y, x].tolist() == mine
    assert masks[1].any() == (unreliable > 0)


def test_draws_are_uniform_among_allowed_pixels():
    allowed = torch.rand(3, 40) < 0.5
    allowed[2] = False
    drawn = torch.zeros(3, 40)
    for _ in range(300):
        keys, index, counts = draw_allowed(allowed, 6)
        assert counts.tolist() == [6, 6, 0] and (keys.diff(dim=1) >= 0).all()
        for c in range(2):
            assert len({*index[c].tolist()}) == 6
            drawn[c, index[c]] += 1
    assert not drawn[~allowed].any()
    for c in range(2):
        share = 6 / allowed[c].sum().item()
        error = (drawn[c][allowed[c]] - 300 * share).abs().max()
        assert error < 5 * math.sqrt(300 * share * (1 - share))
    assert draw_allowed(allowed, 100)[1].shape == (3, 40)


# -- queues ------------------------------------------------------------------------------------------


def test_queues_equal_lists_first_in_first_out(path):
    sizes = [7, 20, 7]
    queue = ClassQueue(3, D, size=7, sizes={1: 20})
    lists = [[], [], []]
    for seed in range(9):
        draw = torch.Generator().manual_seed(seed)
        rows = torch.randn(3, 5, D, generator=draw)
        counts = torch.randint(0, 6, (3,), generator=draw)
        queue.push(rows, counts)
        for c, count in enumerate(counts.tolist()):
            lists[c] = (lists[c] + rows[c, :count].tolist())[-sizes[c] :]
        assert queue.counts.tolist() == [len(x) for x in lists]
        for c in range(3):
            start = queue.starts[c].item()
            mine = queue.rows[start : start + len(lists[c])].tolist()
            assert sorted(mine) == sorted(lists[c])
    assert queue.counts.tolist() == sizes


def test_rows_are_drawn_uniformly_from_the_filled_ones():
    queue = ClassQueue(2, D, size=9, sizes={0: 4})
    queue.push(torch.randn(2, 3, D), torch.tensor([1, 3]))
    drawn = queue.places(1, 3000).bincount(minlength=13)
    assert drawn[:4].sum() == 0 and drawn[7:].sum() == 0
    assert (drawn[4:7] - 1000).abs().max() < 5 * math.sqrt(3000 * 2 / 9)
    assert set(queue.places(0, 50).tolist()) == {0}


# -- contrast ----------------------------------------------------------------------------------------


def contrast_of(anchor: list, prototype: list, negatives: list, temperature: float) -> float:
    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    own = math.exp(cosine(anchor, prototype) / temperature)
    return -math.log(
        own / (own + sum(math.exp(cosine(anchor, n) / temperature) for n in negatives))
    )


def test_contrast_and_its_gradient_are_those_of_the_formula():
    anchors = torch.randn(6, D, dtype=torch.float64).requires_grad_()
    prototype, negatives = torch.randn(D).double(), torch.randn(6, 9, D).double()
    losses = queue_contrast(anchors, prototype, negatives, 0.3)
    for i in range(6):
        expected = contrast_of(anchors[i].tolist(), prototype.tolist(), negatives[i].tolist(), 0.3)
        assert losses[i].item() == pytest.approx(expected, rel=1e-5)
    (gradient,) = torch.autograd.grad(losses.sum(), anchors)
    step = 1e-4
    for i, d in ((0, 0), (3, 2), (5, 3)):
        values = []
        for sign in (1, -1):
            row = anchors[i].tolist()
            row[d] += sign * step
            values.append(contrast_of(row, prototype.tolist(), negatives[i].tolist(), 0.3))
        assert gradient[i, d].item() == pytest.approx(
            (values[0] - values[1]) / (2 * step), rel=1e-3, abs=1e-5
        )


def counting(queue: ClassQueue):
    """Places that count up, as the authors' code draws with the test's randint."""

    def places(number: int, count: int) -> Tensor:
        return queue.starts[number] + torch.arange(count) % queue.counts[number].clamp(min=1)

    return places


def test_loss_is_that_of_the_authors_code():
    """Their function's anchors, prototypes and queues, with its draws; class 2 has no negatives there."""
    features = wave(2 * N, D, SIDE, SIDE, f=0.73).requires_grad_()
    theirs = wave(2 * N, D, SIDE, SIDE, f=0.41, p=0.5)
    logits = 3 * wave(2 * N, K, SIDE, SIDE, f=1.19, p=0.2)
    labels = (torch.arange(N * SIDE * SIDE) * 7 % 11 % K).view(N, SIDE, SIDE)
    labels[0, 0] = IGNORE
    pseudo = logits[N:].argsort(dim=1, descending=True)[:, 2]
    everyone = torch.cat([labels, pseudo])
    p = logits.softmax(dim=1)
    h = -(p * (p + 1e-10).log()).sum(dim=1)[N:]
    bound = torch.quantile(h.flatten().double(), 0.8)
    reliable = torch.cat([labels != IGNORE, h < bound])
    uncertain = h >= bound
    queue = ClassQueue(K, D, size=40)
    anchors, counts = torch.zeros(K, 8, D), torch.zeros(K, dtype=torch.int64)
    prototypes, rows, new = torch.zeros(K, D), torch.zeros(K, 9, D), torch.zeros(K).long()
    picked = []
    for c in range(K):
        own = (everyone == c) & reliable
        candidates = features.permute(0, 2, 3, 1)[own & (p[:, c] > 0.3)]
        picked.append(candidates[torch.arange(8) % len(candidates)])
        counts[c] = 8
        prototypes[c] = theirs.permute(0, 2, 3, 1)[own].mean(dim=0)
        # there, a negative of class c is a pixel with the pseudo-label c that another pass ranks third or fourth
        ranks = class_ranks(logits[N:])[:, c]
        negative = uncertain & (pseudo == c) & (ranks >= 2) & (ranks < 4)
        kept = theirs[N:].permute(0, 2, 3, 1)[negative]
        rows[c, : len(kept)], new[c] = kept, len(kept)
    assert new.tolist() == [3, 3, 0, 5, 4]
    queue.push(rows, new)
    queue.places = counting(queue)
    anchors = torch.stack(picked)
    loss = QueueContrastLoss(negatives=6, temperature=0.5)(anchors, counts, prototypes, queue)
    # they divide by the classes that have pixels, we by those that have negatives, too
    assert loss.item() * 4 / 5 == pytest.approx(1.796436071395874, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss * 4 / 5, features)
    assert gradient.abs().sum().item() == pytest.approx(2.558424949645996, rel=1e-5)
    expected = [0.0, 0.01040217, -0.05801299, 0.06247202, 0.01317374, 0.01400197]
    assert gradient[0, 0, 1].tolist() == pytest.approx(expected, abs=1e-6)


def test_self_training_is_that_of_the_authors_code():
    """Labels of all but the most uncertain fifth, and the mean over them divided by their share."""
    logits = 3 * wave(2 * N, K, SIDE, SIDE, f=1.19, p=0.2)[N:]
    labels = logits.argsort(dim=1, descending=True)[:, 2].clone()
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[0, :, 4:] = False
    kept = most_certain(logits, valid, drop=20).labels != IGNORE
    labels[~kept] = IGNORE
    predicted = 2 * wave(N, K, SIDE, SIDE, f=0.9, p=1.0)
    loss = self_training_loss(predicted, labels, valid, 'inverse')
    assert loss.item() == pytest.approx(3.26200008392334, rel=1e-5)


def test_classes_without_anchors_prototype_or_negatives_are_left_out():
    queue = ClassQueue(4, D, size=30)
    queue.push(torch.randn(4, 20, D), torch.tensor([20, 20, 20, 0]))
    anchors = torch.randn(4, 7, D, requires_grad=True)
    counts, known = torch.tensor([7, 3, 0, 7]), torch.tensor([True, True, True, True])
    loss = QueueContrastLoss()
    torch.manual_seed(0)
    both = loss(anchors, counts, torch.ones(4, D), queue, known)
    (gradient,) = torch.autograd.grad(both, anchors)
    used = gradient.abs().sum(dim=2) > 0
    assert used.sum(dim=1).tolist() == [7, 3, 0, 0] and used[1, :3].all()
    torch.manual_seed(0)
    known[0] = False
    one = loss(anchors, counts, torch.ones(4, D), queue, known)
    torch.manual_seed(0)
    counts[1] = 0
    known[0] = True
    other = loss(anchors, counts, torch.ones(4, D), queue, known)
    assert both.item() == pytest.approx((one.item() + other.item()) / 2, rel=1e-5)
    nothing = loss(anchors, counts * 0, torch.ones(4, D), queue, known)
    assert nothing.item() == 0 and nothing.requires_grad


def test_the_loss_is_finite_where_the_sum_of_half_precision_anchors_is_not():
    queue = ClassQueue(3, D, size=30)
    queue.push(torch.randn(3, 20, D), torch.tensor([20, 20, 20]))
    anchors = torch.full((3, 8, D), 6e4, dtype=torch.float16)
    assert not anchors.sum().isfinite()
    assert QueueContrastLoss()(anchors, torch.tensor([8, 8, 8]), torch.ones(3, D), queue).isfinite()


# -- the objective -----------------------------------------------------------------------------------


def build(method: str = 'u2pl', **changes):
    objectives = tiny_recipe(method)['objectives']
    objectives[-1] |= changes
    model = tiny_model(method, objectives=objectives)
    return model, model.objectives[-1]


def views_of(model, iteration: int = 4):
    """The views of a step."""
    seen = {}
    objective = model.objectives[-1]
    compute = objective.compute
    objective.compute = lambda views: seen.setdefault('views', views) and compute(views)
    losses = tiny_losses(model, iteration, tiny_batch(seed=1))
    objective.compute = compute
    return seen['views'], losses


def test_anchors_are_confident_pixels_with_a_label():
    model, objective = build(confidence=0.34)
    views, _ = views_of(model)
    size = views.student.labeled.features.shape[2:]
    found = objective.anchor_labels(views).view(4, *size)
    labels = nearest(views.batch.label_l, size)
    p = views.teacher.labeled.logits.double().softmax(dim=1)
    mixed = views.teacher.mixed.pseudo_m
    for n in range(2):
        for y in range(size[0]):
            for x in range(size[1]):
                label = labels[n, y, x].item()
                confident = label != IGNORE and p[n, label, y, x].item() > 0.34
                assert found[n, y, x] == (label if confident else IGNORE)
                # on torch's nearest grid
                at = (
                    n,
                    *(
                        i * whole // part
                        for i, whole, part in zip((y, x), (32, 32), size, strict=True)
                    ),
                )
                label = mixed.labels[at].item()
                confident = label != IGNORE and mixed.confidence[at].item() > 0.34
                assert found[2 + n, y, x] == (label if confident else IGNORE)
    assert (found != IGNORE).any() and (found == IGNORE).any()


def test_prototypes_are_the_teachers_means():
    model, objective = build()
    views, _ = views_of(model)
    prototypes, known = objective.prototypes(views)
    size = views.student.labeled.features.shape[2:]
    labels = torch.cat(
        [nearest(views.batch.label_l, size), nearest(views.teacher.pseudo_u.labels, size)]
    )
    objective.averaged.eval()
    with torch.no_grad():
        maps = [objective.averaged(x.features) for x in (views.teacher.labeled, views.teacher.weak)]
    rows = torch.cat(maps).permute(0, 2, 3, 1).double()
    for c in range(3):
        own = rows[labels == c]
        assert known[c] == (len(own) > 0)
        if len(own):
            torch.testing.assert_close(
                prototypes[c].double(), own.mean(dim=0), rtol=1e-5, atol=1e-6
            )


def test_queues_fill_after_the_step_and_only_then_the_loss_begins():
    model, objective = build()
    loop = TinyLoop(model)
    values = [loop.step() for _ in range(6)]
    active = [step for step in values if 'u2pl.fill' in step]
    assert len(active) == 4 and active[0]['u2pl.loss'] == 0 and active[0]['u2pl.fill'] == 0
    # 8 new rows a step, and 20 in a queue
    assert [step['u2pl.fill'] for step in active] == pytest.approx([0, 0.4, 0.8, 1.0])
    assert all(step['u2pl.loss'] > 0 and step['u2pl.classes'] == 3 for step in active[1:])


def test_the_average_begins_as_a_copy_when_the_objective_begins():
    """However late: what the projection was before, and the statistics that it had not, are not part of it."""
    weight = dict(type='Steps', values=[0.0, 0.5], milestones=[2])  # iteration 4
    model, objective = build(weight=weight, momentum=0.1)
    loop = TinyLoop(model)
    first = snapshot(objective.averaged)
    for _ in range(4):
        loop.step()
    for name, value in objective.averaged.state_dict().items():
        assert torch.equal(value, first[name]), name
    loop.step()
    mine, theirs = objective.averaged.state_dict(), objective.projection.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert mine['1.running_mean'].abs().sum() > 0
    before = snapshot(objective.averaged)
    loop.step()
    mine = objective.averaged.state_dict()
    for name, value in objective.projection.state_dict().items():
        if value.is_floating_point():  # 1 - 1 / 2 of the average stays
            expected = (before[name] + value) / 2
            torch.testing.assert_close(mine[name], expected, rtol=1e-5, atol=1e-7, msg=name)
    assert objective.updates == 2
    assert not objective.averaged.training and objective.projection.training


def test_a_resumed_average_goes_on():
    model, objective = build(momentum=0.1)
    loop = TinyLoop(model)
    for _ in range(5):
        loop.step()
    other, resumed = build(momentum=0.1)
    other.load_state_dict(model.state_dict())
    again = TinyLoop(other)
    again.iter = loop.iter
    for one in (loop, again):
        one.optimizer.param_groups[0]['lr'] = 0.0
        one.step()
    assert objective.updates == resumed.updates == 4
    for name, value in objective.averaged.state_dict().items():
        torch.testing.assert_close(value, resumed.averaged.state_dict()[name], msg=name)


def test_a_student_that_is_its_own_teacher_keeps_its_statistics():
    teacher = dict(weights='student', mode='eval', rows='labeled+weak')
    objectives = tiny_recipe('u2pl')['objectives']
    model = tiny_model('dgcl', objectives=objectives, teacher=teacher)
    norm = model.student.decode_head.projection[1]
    before = norm.num_batches_tracked.item()
    losses = tiny_losses(model, 4)
    assert 'u2pl.loss' in losses and norm.num_batches_tracked.item() == before + 1


def test_a_labeller_with_weights_is_refused():
    with pytest.raises(SetupError, match='SoftMatchWeight weights the pseudo-labels'):
        tiny_model('u2pl', pseudo_label=dict(type='SoftMatchWeight'))


def test_a_heads_projection_is_used_and_its_teachers():
    model = tiny_model(
        'dgcl', objectives=tiny_recipe('u2pl')['objectives'], teacher=dict(rows='labeled+weak')
    )
    objective = model.objectives[-1]
    assert objective.averaged is None and not list(objective.parameters())
    assert objective.get_projection() is model.student.decode_head.projection
    assert objective._projections[1] is model.teacher.decode_head.projection
    loop = TinyLoop(model)
    assert [loop.step() for _ in range(4)][-1]['u2pl.loss'] > 0


def test_dgcl_takes_its_negatives_from_the_queues():
    model, objective = build('u2pl_dgcl')
    loop = TinyLoop(model)
    for _ in range(4):
        loop.step()
    views, losses = views_of(model)
    assert losses['dgcl.loss'] > 0
    queue = objective.unreliable_negatives.queue
    negatives, counts = objective.draw_negatives(
        views, None, lambda index: torch.zeros(len(index), 8)
    )
    assert negatives.shape == (3, 16, 8) and counts.tolist() == [16] * 3
    for c in range(3):
        start, count = queue.starts[c].item(), queue.counts[c].item()
        own = queue.rows[start : start + count]
        assert (negatives[c][:, None] == own).all(dim=2).any(dim=1).all()


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(low_rank=3), 'low_rank=3, high_rank=3 with 3 classes'),
        (dict(low_rank=2, high_rank=2), 'low_rank < high_rank'),
        (dict(keys_per_step=21), 'the smallest queue has 20 rows'),
        (dict(queue_sizes={0: 5}), 'the smallest queue has 5 rows'),
        (dict(queue_sizes={3: 50}), 'names class 3'),
        (dict(queue_size=0), 'queue: size=0'),
        (dict(queue_dtype='float16'), "'float32' or 'bfloat16'"),
        (dict(keys_per_step=0), 'keys_per_step=0'),
        (dict(unreliable=101), 'percentages'),
        (dict(confidence=1.0), 'confidence=1.0'),
        (dict(momentum=0.0), 'momentum=0.0'),
        (dict(contrast=dict(type='QueueContrastLoss', negatives=0)), 'negatives=0'),
    ],
)
def test_wrong_values_are_named(changes, words):
    with pytest.raises(SetupError, match=words.replace('(', r'\(')):
        build(**changes)


@pytest.mark.parametrize('method', ['u2pl', 'u2pl_dgcl'])
def test_a_teacher_that_does_not_see_labelled_images_is_refused(method):
    with pytest.raises(SetupError, match="set model.teacher.rows='labeled\\+weak'"):
        tiny_model(method, teacher=dict(rows='weak'))


def test_keys_are_bounded_and_of_all_pixels():
    negatives = UnreliableNegatives(K, D, keys_per_step=3, size=9, low_rank=2)
    maps, labels = torch.randn(N, K, SIDE, SIDE), torch.randint(0, K, (N, SIDE, SIDE))
    rows = torch.randn(2 * N * SIDE * SIDE, D)
    negatives.keep(lambda index: rows[index], labels, maps, maps, labels < K, time=0)
    negatives.push()
    assert negatives.queue.counts.tolist() == [3] * K
    kept = negatives.queue.rows.view(K, 9, D)[:, :3].flatten(0, 1)
    assert (kept[:, None] == rows).all(dim=2).any(dim=1).all()
    negatives.push()  # nothing is pushed a second time
    assert negatives.queue.counts.tolist() == [3] * K


def test_cosine_is_that_of_torch():
    one, other = torch.randn(3, D), torch.randn(D)
    losses = queue_contrast(one, other, torch.zeros(3, 1, D) + other, temperature=1.0)
    assert losses.tolist() == pytest.approx([math.log(2)] * 3)
    expected = F.cosine_similarity(one, other[None]) + F.cosine_similarity(one, -other[None]).neg()
    losses = queue_contrast(one, other, -other.expand(3, 1, D), temperature=1.0)
    assert losses.tolist() == pytest.approx(F.softplus(-expected).tolist(), rel=1e-5)
