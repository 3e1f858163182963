"""DGCL's objective against its formulas, written out in loops."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_semi import (
    CROP,
    TinyLoop,
    snapshot,
    tiny_batch,
    tiny_losses,
    tiny_model,
    tiny_recipe,
)
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from mmseg_semi import host_reads
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.dgcl import class_tables
from mmseg_semi.methods.dgcl import objective as module
from mmseg_semi.methods.dgcl.class_bank import UNKNOWN_DENSITY
from mmseg_semi.methods.dgcl.class_tables import draw_others, draw_over_ranks, extremes, take
from mmseg_semi.methods.dgcl.head import Projection
from mmseg_semi.step.pixels import rows_of
from mmseg_semi.step.segmentor import NonFiniteLossError
from mmseg_semi.step.views import (
    Batch,
    StepViews,
    StudentOutputs,
    StudentViews,
    TeacherOutputs,
    TeacherViews,
    UnlabeledBatch,
)

K, C, D, SIDE = 3, 16, 8, 8
PIXELS = 4 * SIDE * SIDE


def build(method: str = 'dgcl', full: bool = True, **changes) -> tuple[nn.Module, nn.Module]:
    """A segmentor and its DGCL objective; by default with banks that are full."""
    objectives = tiny_recipe(method)['objectives']
    objectives[-1] |= changes
    model = tiny_model(method, objectives=objectives)
    objective = model.objectives[-1]
    if full:
        fill(objective)
    return model, objective


def fill(objective: nn.Module, classes=range(K)) -> None:
    bank = objective.bank
    draw = torch.Generator().manual_seed(5)
    number, size = bank.densities.shape
    rows = max(1, size // 2)
    counts = torch.tensor([rows if c in classes else 0 for c in range(number)])
    for _ in range(4):  # the first rows, which have no density, are replaced
        features = torch.randn(number, rows, bank.features.shape[2], generator=draw).relu() + 0.01
        embeddings = torch.randn(number, rows, bank.embeddings.shape[2], generator=draw)
        bank.push(features, 3 * embeddings, counts)


def step(
    seed: int = 0,
    labels: Tensor | None = None,
    time: float = 1.0,
    channels: int = C,
    width: int = D,
) -> StepViews:
    """Views of a step, two labelled and two unlabelled images of 32 pixels and maps of 8, with leaf tensors."""
    draw = torch.Generator().manual_seed(seed)

    def outputs() -> StudentOutputs:
        features = torch.randn(2, channels, SIDE, SIDE, generator=draw).relu()
        projection = torch.randn(2, width, SIDE, SIDE, generator=draw)
        empty = torch.empty(0)
        maps = features.requires_grad_(), empty
        return StudentOutputs((), empty, empty, *maps, projection=projection.requires_grad_())

    if labels is None:
        labels = torch.randint(0, K, (2, SIDE, SIDE), generator=draw)
        labels[0, :2] = IGNORE
    valid = torch.ones(2, 4 * SIDE, 4 * SIDE, dtype=torch.bool)
    valid[1, :, 16:] = False
    teacher_l = TeacherOutputs(torch.randn(2, K, SIDE, SIDE, generator=draw))
    teacher_u = TeacherOutputs(3 * torch.randn(2, K, SIDE, SIDE, generator=draw))
    batch = Batch(
        torch.empty(0),
        labels.repeat_interleave(4, 1).repeat_interleave(4, 2),
        UnlabeledBatch(torch.empty(0), torch.empty(0), valid),
        iteration=2,
        time=time,
        monitor=True,
    )
    student = StudentViews(labeled=outputs(), weak=outputs())
    return StepViews(batch, TeacherViews(teacher_u, teacher_l), student)


def as_rows(name: str, views: StepViews) -> list[list[float]]:
    """Pixels of the labelled and the weak maps, one after the other."""
    return [
        pixel.double().tolist()
        for rows in (views.student.labeled, views.student.weak)
        for image in getattr(rows, name).detach()
        for pixel in image.flatten(1).T
    ]


def cosine(one, other) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    length = math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other))
    return dot / max(length, 1e-12)


def density_of(row: list[float], rows: list[list[float]], scales) -> float:
    nearest = sorted((cosine(row, other) for other in rows), reverse=True)
    return sum(sum(nearest[:k]) / k for k in scales) / len(scales)


def ranked(objective, views: StepViews, labels: list[int]) -> dict[int, list[int]]:
    """Pixels of every class, the sparsest first."""
    features, bank = as_rows('features', views), objective.bank
    found = {}
    for c in range(K):
        stored = bank.features[c].double().tolist()
        own = [i for i, label in enumerate(labels) if label == c]
        densities = {i: density_of(features[i], stored, bank.scales) for i in own}
        found[c] = sorted(own, key=densities.get)
    return found


def by_definition(objective, views: StepViews, labels: list[int], classes) -> tuple[float, dict]:
    """The loss with all other pixels as negatives, and the anchors of each class."""
    embeddings, bank = as_rows('projection', views), objective.bank
    terms, anchors = [], {}
    for c, order in ranked(objective, views, labels).items():
        if c not in classes or not order:
            continue
        anchors[c] = order[: objective.anchors]
        dense = [embeddings[i] for i in order[::-1][: objective.positives]]
        stored = bank.densities[c].argsort(descending=True)[: objective.bank_positives]
        dense += bank.embeddings[c, stored].double().tolist()
        prototype = [sum(values) / len(dense) for values in zip(*dense, strict=True)]
        negatives = [embeddings[i] for i, label in enumerate(labels) if label not in (c, IGNORE)]
        total = 0.0
        for i in anchors[c]:
            own = math.exp(cosine(embeddings[i], prototype) / 0.5)
            others = sum(math.exp(cosine(embeddings[i], n) / 0.5) for n in negatives)
            total -= math.log(own / (own + others))
        terms.append(total / len(anchors[c]))
    return sum(terms) / len(terms), anchors


ALL = dict(max_density_queries=PIXELS, negatives=PIXELS)


@pytest.mark.parametrize('excluded', [(), (0,), (1, 2)])
def test_loss_is_its_definition(excluded, path):
    _, objective = build(excluded_classes=excluded, **ALL)
    views = step()
    labels = objective.label_map(views).tolist()
    classes = set(range(K)) - set(excluded)
    expected, anchors = by_definition(objective, views, labels, classes)
    values = objective.compute(views)
    assert values['loss'].item() == pytest.approx(expected, rel=1e-5)
    assert values['classes'].item() == len(anchors) == len(classes)

    # the gradient of the projections is at the anchors and nowhere else
    values['loss'].backward()
    touched = [
        index
        for index, row in enumerate(
            torch.cat(
                [
                    r.projection.grad.movedim(1, -1).flatten(0, 2)
                    for r in (views.student.labeled, views.student.weak)
                ]
            )
        )
        if row.any()
    ]
    assert touched == sorted(i for own in anchors.values() for i in own)
    assert len(touched) == sum(len(own) for own in anchors.values()) == 8 * len(classes)
    assert all(labels[i] in classes for i in touched)
    # densities, bank and centres are fixed: nothing reaches the features that way
    assert views.student.labeled.features.grad is None and views.student.weak.features.grad is None


def test_small_classes_are_anchored_whole():
    labels = torch.full((2, SIDE, SIDE), IGNORE)
    labels[0, 0, :3], labels[1, 4, 4:] = 1, 2  # 3 and 4 pixels
    _, objective = build(**ALL, uncertain=100)
    views = step(labels=labels)
    flat = objective.label_map(views).tolist()
    assert [flat.count(c) for c in range(K)] == [0, 3, 4]
    expected, anchors = by_definition(objective, views, flat, range(K))
    values = objective.compute(views)
    assert values['loss'].item() == pytest.approx(expected, rel=1e-5)
    assert {c: len(own) for c, own in anchors.items()} == {1: 3, 2: 4}
    assert values['classes'] == 2


def test_anchors_are_sparsest_of_the_ranked_sample():
    """With fewer queries than pixels the ranking is that of a sample; the published number is 10,000."""
    _, objective = build(max_density_queries=12, negatives=PIXELS)
    views = step()
    order = ranked(objective, views, objective.label_map(views).tolist())
    objective.compute(views)['loss'].backward()
    grads = torch.cat(
        [
            r.projection.grad.movedim(1, -1).flatten(0, 2)
            for r in (views.student.labeled, views.student.weak)
        ]
    )
    touched = {i for i, row in enumerate(grads) if row.any()}
    for own in order.values():
        mine = [rank for rank, i in enumerate(own) if i in touched]
        # the 8 sparsest of 12 drawn ones of more than 24, which are not the 8 sparsest of all
        assert len(own) > 24 and len(mine) == 8 and mine != list(range(8))


def test_centre_is_the_mean_of_what_is_not_normalised():
    _, objective = build(**ALL)
    views = step()
    labels = objective.label_map(views).tolist()
    order = ranked(objective, views, labels)
    before = objective.compute(views)['loss'].item()

    def scaled(index: int) -> float:
        image, pixel = divmod(index, SIDE * SIDE)
        rows = (views.student.labeled, views.student.weak)[image // 2]
        at = rows.projection.data[image % 2].flatten(1)
        at[:, pixel] *= 10
        value = objective.compute(views)['loss'].item()
        at[:, pixel] /= 10
        return value

    # a positive, and an anchor that is none
    assert abs(scaled(order[0][-1]) - before) > 1e-4
    assert scaled(order[0][0]) == pytest.approx(before, abs=1e-5)


def test_rows_without_a_density_are_in_no_centre():
    """A bank can be full before its rows have densities: then the centre is that of the batch."""
    _, objective = build(**ALL)
    dense, counts = torch.randn(K, 5, D), torch.tensor([5, 2, 0])
    bank = objective.bank
    bank.densities.fill_(UNKNOWN_DENSITY)
    bank.densities[0, 3] = 0.1
    found = objective.prototypes(dense, counts)
    expected = (dense[0].sum(dim=0) + bank.embeddings[0, 3]) / 6
    assert torch.allclose(found[0], expected, atol=1e-6)
    assert torch.allclose(found[1], dense[1, :2].mean(dim=0), atol=1e-6)
    assert not found[2].any()


def test_the_host_reads_no_value(monkeypatch):
    """Fake tensors raise where it would have to; a CPU alone is asked for the number of blocks."""
    monkeypatch.setattr(host_reads, 'READABLE', ())
    _, objective = build()
    with FakeTensorMode(allow_non_fake_inputs=True):
        values = objective.compute(step())
        assert {'loss', 'density_anchor', 'anchor_error'} <= set(values)
        with pytest.raises(DataDependentOutputException):
            float(values['loss'])


# -- which classes -----------------------------------------------------------------------------


@pytest.mark.parametrize('gate', ['per_class', 'all'])
def test_a_bank_that_is_not_full_keeps_its_class_out_or_all(gate):
    model, objective = build(full=False, gate=gate, **ALL)
    fill(objective, classes=(0, 2))
    assert objective.bank.full.tolist() == [True, False, True]
    views = step()
    labels = objective.label_map(views).tolist()
    values = objective.compute(views)
    values['loss'].backward()
    gradients = views.student.labeled.projection.grad, views.student.weak.projection.grad
    if gate == 'all':
        # an exact zero, with a gradient that is zero and not missing
        assert values['loss'].item() == 0 and values['classes'] == 0
        assert not any(gradient.any() for gradient in gradients)
    else:
        expected, anchors = by_definition(objective, views, labels, (0, 2))
        assert values['loss'].item() == pytest.approx(expected, rel=1e-5)
        assert set(anchors) == {0, 2} and any(gradient.any() for gradient in gradients)
    assert values['full'] == 2 and values['fill'].item() == pytest.approx(2 / 3)


def test_an_excluded_class_still_has_to_fill_its_bank_for_the_gate_of_all():
    _, objective = build(full=False, gate='all', excluded_classes=(1,), **ALL)
    fill(objective, classes=(0, 2))
    assert objective.compute(step())['loss'] == 0
    fill(objective)
    assert objective.compute(step())['loss'] > 0


def test_one_class_that_never_comes_does_not_keep_the_loss_off():
    """The silent failure of the global gate: with one class missing the loss is off for ever."""
    batch = tiny_batch(num_classes=2)
    losses = {}
    for gate in ('per_class', 'all'):
        model, _ = build(full=False, gate=gate)
        # the teacher must not name the third class either
        with torch.no_grad():
            model.student.decode_head.conv_seg.bias[2] = -1e3
            model.teacher.decode_head.conv_seg.bias[2] = -1e3
        loop = TinyLoop(model)
        losses[gate] = [loop.step(batch).get('dgcl.loss', 0) for _ in range(8)]
        assert model.objectives[-1].bank.counts.tolist() == [12, 12, 0]
    assert losses['all'] == [0] * 8
    assert losses['per_class'][-1] > 0


def test_no_class_is_left_after_the_exclusion():
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.int64)
    _, objective = build(excluded_classes=(0,), uncertain=100)
    views = step(labels=labels)
    values = objective.compute(views)
    values['loss'].backward()
    assert values['loss'].item() == 0 and values['classes'] == 0
    assert not views.student.labeled.projection.grad.any()


def test_a_class_without_negatives_is_left_out():
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.int64)
    _, objective = build(uncertain=100)
    values = objective.compute(step(labels=labels))
    assert values['loss'].item() == 0 and values['classes'] == 0


def test_nothing_labelled_at_all():
    labels = torch.full((2, SIDE, SIDE), IGNORE)
    _, objective = build(uncertain=100)
    before = snapshot(objective)
    views = step(labels=labels)
    values = objective.compute(views)
    values['loss'].backward()
    assert all(math.isfinite(float(value)) for value in values.values()) and values['loss'] == 0
    objective.after_step(views)
    assert all(torch.equal(before[key], value) for key, value in objective.state_dict().items())


# -- labels of pixels --------------------------------------------------------------------------


@pytest.mark.parametrize('share', [80, 40, 10])
def test_label_map_keeps_the_most_certain_unlabelled_pixels(share):
    _, objective = build(uncertain=share)
    views = step()
    labels = objective.label_map(views).view(4, SIDE, SIDE)
    assert torch.equal(labels[:2], views.batch.label_l[:, ::4, ::4])
    valid = views.batch.unlabeled.valid_u[:, ::4, ::4]
    logits = views.teacher.weak.logits.double()
    p = logits.softmax(dim=1)
    entropy = -(p * p.log()).sum(dim=1)
    kept = labels[2:] != IGNORE
    # of the unpadded pixels, over both images together, and the padding is none of them
    assert not (kept & ~valid).any()
    assert abs(int(kept.sum()) - (1 - share / 100) * int(valid.sum())) <= 1
    assert entropy[kept].max() <= entropy[valid & ~kept].min() + 1e-6
    assert torch.equal(labels[2:][kept], logits.argmax(dim=1)[kept])


def test_shares_over_time():
    recipe = tiny_recipe('dgcl')
    recipe['objectives'][-1]['uncertain'] = dict(
        type='Line', values=(80, 10), times=(1, 1 + 0.875 * 79)
    )
    objective = tiny_model('dgcl', objectives=recipe['objectives']).objectives[-1]
    for progress, expected in ((0, 80), (0.5, 40), (0.875, 10), (1, 10)):
        assert objective.uncertain(1 + 79 * progress) == pytest.approx(expected)


# -- the bank over steps -----------------------------------------------------------------------


def test_every_step_pushes_a_sample_of_its_pixels():
    _, objective = build(full=False, excluded_classes=(0,))
    bank, views = objective.bank, step()
    labels = objective.label_map(views)
    objective.compute(views)
    assert bank.counts.tolist() == [0, 0, 0]  # only after the optimiser's step
    objective.after_step(views.without_student())
    assert bank.counts.tolist() == [6, 6, 6]  # the excluded class has a bank, too
    assert (bank.densities == UNKNOWN_DENSITY).all()

    views = step(seed=1)
    labels = objective.label_map(views)
    features = torch.tensor(as_rows('features', views))
    embeddings = torch.tensor(as_rows('projection', views))
    objective.compute(views)
    objective.after_step(views)
    assert bank.counts.tolist() == [12, 12, 12]
    for c in range(K):
        for place in range(6, 12):
            (pixel,) = (embeddings - bank.embeddings[c, place]).abs().sum(dim=1).lt(1e-5).nonzero()
            assert labels[pixel] == c  # never 255
            direction = features[pixel].flatten() / features[pixel].norm().clamp(min=1e-12)
            assert (direction - bank.features[c, place]).abs().max() < 1e-5
    assert (bank.densities == UNKNOWN_DENSITY).all()  # 6 rows in front of them are not more than 6

    views = step(seed=2)
    before = bank.features.double().tolist()
    objective.compute(views)
    objective.after_step(views)
    for c in range(K):
        for place in range(6):
            expected = density_of(bank.features[c, place].double().tolist(), before[c], (2, 4))
            assert bank.densities[c, place].item() == pytest.approx(expected, abs=1e-5)


def test_rows_are_those_of_before_the_optimisers_step():
    model, objective = build(full=False)
    loop = TinyLoop(model, lr=1.0)
    loop.iter = 2
    losses = tiny_losses(model, 2)
    rows = model.last_views.student.labeled, model.last_views.student.weak
    seen = torch.cat([r.projection.detach().movedim(1, -1).flatten(0, 2) for r in rows])
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    loop.optimizer.step()
    model.last_views = model.last_views.without_student()
    model.finish_step()
    bank = objective.bank
    for c in range(K):
        for row in bank.embeddings[c, : bank.counts[c]]:
            assert (seen - row).abs().sum(dim=1).min() < 1e-5
    assert int(bank.counts.sum()) >= 12


def test_needs_and_phases():
    model, objective = build(full=False)
    assert not any(vars(objective.needs(0.5)).values())
    needs = objective.needs(1.0)
    assert needs.labeled and needs.weak and needs.teacher and needs.projection
    before = snapshot(objective)
    loop = TinyLoop(model)
    logs = [loop.step() for _ in range(2)]
    assert all(log['dgcl.loss'] == 0 for log in logs)  # touches the projection
    assert all(torch.equal(before[key], value) for key, value in objective.state_dict().items())
    logs = [loop.step() for _ in range(5)]
    assert logs[0]['dgcl.loss'] == 0 and logs[-1]['dgcl.loss'] > 0
    assert [log['dgcl.fill'] for log in logs[:2]] == [0, pytest.approx(0.5)]


def test_teacher_of_the_reference_is_the_student_for_an_epoch():
    model = tiny_model('dgcl_reference')
    loop = TinyLoop(model, lr=0.5)
    for iteration in range(6):
        loop.step()
        pairs = list(zip(model.teacher.parameters(), model.student.parameters(), strict=True))
        same = all(torch.equal(mine, theirs) for mine, theirs in pairs)
        # copied in front of and all through epoch 1, iterations 2 and 3
        assert same == (iteration in (1, 2, 3))
        assert not any(mine.data_ptr() == theirs.data_ptr() for mine, theirs in pairs)
    # batch norms of its own
    name = 'backbone.stem.1.running_mean'
    assert not torch.equal(model.teacher.get_buffer(name), model.student.get_buffer(name))


# -- the projection ----------------------------------------------------------------------------


def test_projection_of_a_head_without_one_is_trained_and_its_own():
    model, objective = build('ddfp_dgcl', full=False)
    assert isinstance(objective.projection, Projection)
    loop = TinyLoop(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    loop.optimizer = torch.optim.SGD(trained, 0.1)
    before = snapshot(objective.projection)
    for _ in range(6):
        log = loop.step()
    assert log['dgcl.loss'] > 0 and log['ddfp.loss'] > 0
    after = objective.projection.state_dict()
    assert not torch.equal(before['3.weight'], after['3.weight'])
    assert {key.split('.')[2] for key in model.state_dict() if key.startswith('objectives.3')} == {
        'bank',
        'projection',
    }


@pytest.mark.parametrize('head', ['FCNHead', 'SegformerHead', 'PSPHead', 'CCTHead'])
def test_with_a_head_that_is_not_ours(head):
    model = tiny_model('dgcl', head=head)
    loop = TinyLoop(model)
    for _ in range(7):
        log = loop.step()
    # the maps of three of them have few pixels, not every class comes often; the last one predicts at eight times their size
    assert log['dgcl.loss'] > 0 and log['dgcl.full'] >= 1


def test_evaluation_knows_neither_projection_nor_bank():
    model, objective = build()
    image = torch.randn(1, 3, CROP, CROP)
    model.eval()
    with torch.no_grad():
        before = model.encode_decode(image, [dict(img_shape=(CROP, CROP), ori_shape=(CROP, CROP))])
        for tensor in (
            *objective.bank.buffers(),
            *model.student.decode_head.projection.parameters(),
        ):
            tensor.fill_(0)
        after = model.encode_decode(image, [dict(img_shape=(CROP, CROP), ori_shape=(CROP, CROP))])
    assert torch.equal(before, after)


def test_bfloat16_banks_train():
    model, objective = build(full=False, bank_dtype='bfloat16')
    loop = TinyLoop(model)
    for _ in range(6):
        log = loop.step()
    assert log['dgcl.loss'] > 0 and objective.bank.features.dtype == torch.bfloat16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = tiny_losses(model, 6)
    assert losses['dgcl.loss'].dtype == torch.float32 and losses['dgcl.loss'] > 0


# -- metrics for logging ---------------------------------------------------------------------------


def test_watched_values_are_what_they_say():
    _, objective = build(**ALL)
    views = step()
    labels = objective.label_map(views).tolist()
    features, bank = as_rows('features', views), objective.bank
    sparse, dense, errors = [], [], []
    predictions = views.teacher.labeled.logits.argmax(dim=1).flatten().tolist()
    for c, order in ranked(objective, views, labels).items():
        stored = bank.features[c].double().tolist()
        values = [density_of(features[i], stored, bank.scales) for i in order]
        sparse += values[:8]
        dense += values[-4:]
        errors += [predictions[i] != c for i in order[:8] if i < 2 * SIDE * SIDE]
    values = objective.compute(views)
    assert values['density_anchor'].item() == pytest.approx(sum(sparse) / len(sparse), abs=1e-5)
    assert values['density_positive'].item() == pytest.approx(sum(dense) / len(dense), abs=1e-5)
    assert 0 < values['anchor_error'].item() < 1
    assert values['anchor_error'].item() == pytest.approx(sum(errors) / len(errors), abs=1e-6)
    views = replace(views, batch=replace(views.batch, monitor=False))
    assert not {'density_anchor', 'density_positive', 'anchor_error'} & set(
        objective.compute(views)
    )


def test_watching_does_not_change_a_run():
    states = []
    for interval in (1, 1000):
        loop = TinyLoop(tiny_model('dgcl', monitor_interval=interval))
        for _ in range(6):
            loop.step()
        states.append(snapshot(loop.model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_log_names_the_classes_that_are_in(monkeypatch):
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, logger: lines.append(text))
    _, objective = build(full=False)
    views = step()
    for classes in ((), (), (0, 2), (0, 2), (0, 1, 2)):
        fill(objective, classes)
        objective._kept = None
        objective.compute(views)
        objective._kept = (*objective._kept[:3], 0 * objective._kept[3])  # nothing more is pushed
        objective.after_step(views)
    assert len(lines) == 3  # when it changes
    assert 'dgcl: 0 of 3 banks of 12 rows are full: []; not yet: 0 (0), 1 (0), 2 (0)' in lines[0]
    assert '2 of 3 banks of 12 rows are full: [0, 2]; not yet: 1 (0)' in lines[1]
    assert lines[2].endswith('3 of 3 banks of 12 rows are full: [0, 1, 2]')


# -- draws ---------------------------------------------------------------------------------------


def test_negatives_are_drawn_uniformly_among_other_classes():
    labels = torch.tensor([0, 0, 1, 2, 2, IGNORE, 1, 0, 2, IGNORE])
    classes = torch.tensor([2, 0])
    torch.manual_seed(0)
    drawn = torch.zeros(2, 10)
    for _ in range(500):
        index, counts = draw_others(labels, classes, 3)
        assert counts.tolist() == [3, 3]
        for row, c in enumerate(classes):
            assert len(set(index[row].tolist())) == 3
            assert all(labels[i] not in (c, IGNORE) for i in index[row])
            drawn[row, index[row]] += 1
    for row, c in enumerate(classes):
        allowed = (labels != c) & (labels != IGNORE)
        expected = 500 * 3 / int(allowed.sum())
        assert (drawn[row, allowed] - expected).abs().max() < 5 * math.sqrt(500 * 0.24)
    index, counts = draw_others(labels, classes, 100)
    assert counts.tolist() == [5, 5] and index.shape == (2, 10)
    assert sorted(index[0, :5].tolist()) == [0, 1, 2, 6, 7]


def test_extremes_of_a_table():
    density = torch.tensor([[3.0, 1.0, 2.0, 9.0], [5.0, 4.0, 0.0, 0.0], [7.0, 0.0, 0.0, 0.0]])
    counts = torch.tensor([3, 2, 0])
    for largest, expected in ((False, [[1, 2], [1, 0]]), (True, [[0, 2], [0, 1]])):
        places, number = extremes(density, counts, 2, largest)
        assert number.tolist() == [2, 2, 0]
        assert places[:2].tolist() == expected
    places, number = extremes(density, counts, 9, False)
    assert number.tolist() == [3, 2, 0] and places.shape == (3, 4)


def test_rows_of_a_table_that_count(path):
    pool, table = torch.randn(30, D), torch.randint(0, 30, (3, 5))
    counts, read = torch.tensor([5, 0, 2]), []

    def rows(index: Tensor) -> Tensor:
        read.append(len(index))
        return pool[index]

    found = take(rows, table, counts)
    for c, count in enumerate(counts):
        assert torch.equal(found[c, :count], pool[table[c, :count]])
    assert found.shape == (3, 5, D) and read == [7 if path == 'host' else 15]


@pytest.mark.parametrize('rank', [0, 1])
def test_rows_over_ranks_are_those_with_the_smallest_keys(rank, path, monkeypatch):
    """Two ranks, one after the other: what one sends is added to what the other has sent."""
    draw = torch.Generator().manual_seed(1)
    counts = torch.tensor([[4, 0, 1, 3, 0], [2, 3, 0, 4, 0]])
    keys = torch.rand(2, 5, 4, generator=draw, dtype=torch.float64).sort(dim=2).values
    rows = torch.randn(2, 5, 4, D, generator=draw)
    for r, own in enumerate(counts):  # what does not count may be anything
        rows[r][torch.arange(4) >= own[:, None]] = math.nan
    sent: dict[int, Tensor] = {}
    padded = [
        torch.cat(
            [k.where(torch.arange(4) < c[:, None], torch.inf), k.new_full((5, 1), torch.inf)], 1
        )
        for k, c in zip(keys, counts, strict=True)
    ]
    monkeypatch.setattr(class_tables, 'all_gather', lambda own: padded)

    def call(number: int) -> tuple[Tensor, Tensor]:
        monkeypatch.setattr(class_tables, 'get_rank', lambda: number)
        (found,), total = draw_over_ranks(keys[number], [rows[number]], counts[number], 5)
        return found, total

    monkeypatch.setattr(class_tables, 'all_reduce', lambda x: sent.setdefault(0, x.clone()))
    call(1 - rank)
    monkeypatch.setattr(class_tables, 'all_reduce', lambda x: x.add_(sent[0]))
    found, total = call(rank)
    if path == 'host':
        assert len(sent[0]) == int(total.sum())
    for c in range(5):
        every = [(keys[r, c, i], rows[r, c, i]) for r in (0, 1) for i in range(counts[r, c])]
        expected = [row for _, row in sorted(every, key=lambda pair: pair[0])[:5]]
        assert total[c] == len(expected)
        assert not found[c, len(expected) :].any()
        for row, other in zip(found[c], expected, strict=False):
            assert torch.equal(row, other)


def test_rows_of_two_maps():
    first, second = torch.randn(2, 5, 3, 4), torch.randn(3, 5, 2, 2)
    flat = torch.cat([m.movedim(1, -1).flatten(0, 2) for m in (first, second)])
    index = torch.randperm(36)
    assert torch.equal(rows_of(first, second)(index), flat[index])


# -- state of the gate, and one step's mistakes -----------------------------------------------------


def test_the_projection_has_a_zero_gradient_before_the_banks_are_full():
    model, objective = build(full=False, gate='all')
    losses = tiny_losses(model, 2)
    assert losses['dgcl.loss'].item() == 0
    losses['dgcl.loss'].backward()
    for parameter in model.student.decode_head.projection.parameters():
        assert parameter.grad is not None and not parameter.grad.any()


def test_a_contrast_that_is_not_finite_names_itself():
    model, _ = build()
    nn.init.constant_(model.student.decode_head.projection[3].bias, math.nan)
    with pytest.raises(
        NonFiniteLossError, match=r'^dgcl\.loss=nan: not finite; nothing was updated'
    ):
        model.parse_losses(tiny_losses(model, 2))


def test_one_contrast_a_model():
    objectives = tiny_recipe('dgcl')['objectives']
    objectives.append(objectives[-1] | dict(name='second'))
    with pytest.raises(SetupError, match="\\['dgcl', 'second'\\] each project the features"):
        tiny_model('dgcl', objectives=objectives)


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(anchors=0), "'anchors': 0"),
        (dict(negatives=-1), 'expected numbers >= 1'),
        (dict(rows_per_step=13), 'rows_per_step=13, bank_size=12'),
        (dict(gate='any'), r"dgcl.gate='any'"),
        (dict(uncertain=101), 'dgcl.uncertain=101'),
        (dict(uncertain='much'), 'dgcl.uncertain'),
        (dict(excluded_classes=(3,)), r'dgcl.excluded_classes=\[3\] with 3 classes'),
        (dict(excluded_classes=(0, 1, 2)), 'with 3 classes'),
        (dict(density_after=12), 'density_after=12, size=12'),
        (dict(scales=(8, 16)), r'scales=\(8, 16\)'),
        (dict(bank_dtype='int8'), "dtype='int8'"),
    ],
)
def test_settings_that_cannot_be(changes, sentence):
    with pytest.raises(SetupError, match=sentence):
        build(**changes)
