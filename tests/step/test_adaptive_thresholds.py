"""Labellers with running statistics: formulas, what counts when, two ranks, and a state that is saved."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_semi import TinyLoop, snapshot, tiny_losses, tiny_model
from whole_runs import on_ranks

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.adaptive_thresholds import (
    DECADES,
    ClassShareThreshold,
    DistributionAlignment,
    FlexMatchThreshold,
    FreeMatchThreshold,
    SoftMatchWeight,
)

K = 4
LABELLERS = {
    'freematch': dict(type='FreeMatchThreshold', momentum=0.5),
    'freematch, clipped': dict(type='FreeMatchThreshold', momentum=0.9, clip=(0.3, 0.5)),
    'aligned': dict(
        type='DistributionAlignment',
        labeller=dict(type='ConfidenceThreshold', threshold=0.4),
        momentum=0.5,
        power=0.7,
    ),
    'aligned freematch': dict(
        type='DistributionAlignment',
        labeller=dict(type='FreeMatchThreshold', momentum=0.5),
        target='uniform',
    ),
    'softmatch': dict(type='SoftMatchWeight', momentum=0.5),
    'softmatch by class': dict(type='SoftMatchWeight', momentum=0.9, per_class=True, n_sigma=1),
    'aligned softmatch': dict(
        type='DistributionAlignment', labeller=dict(type='SoftMatchWeight', momentum=0.5)
    ),
    'flexmatch': dict(type='FlexMatchThreshold', threshold=0.6, momentum=0.5),
    'class share': dict(type='ClassShareThreshold', keep=0.4, momentum=0.5, bins=32),
}


def build(name: str):
    init_default_scope('mmseg')
    return MODELS.build(dict(LABELLERS[name], num_classes=K) | fill(LABELLERS[name]))


def fill(config: dict) -> dict:
    """The number of classes for a labeller inside, which ``bind`` gives in a run."""
    inner = config.get('labeller')
    if inner is None or inner['type'] == 'ConfidenceThreshold':
        return {}
    return dict(labeller=dict(inner, num_classes=K))


def batch(seed: int, count: int = 2, scale: float = 2.0):
    """Logits, validity and the labels of labelled images."""
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, K, 6, 7, generator=draw)
    logits[:, 0] += 1.5
    valid = torch.rand(count, 6, 7, generator=draw) > 0.2
    label_l = torch.randint(0, K - 1, (count, 6, 7), generator=draw)  # the last class never occurs
    label_l[torch.rand(label_l.shape, generator=draw) < 0.3] = IGNORE
    return logits, valid, label_l


def run(labeller, *parts):
    """A step up to the optimiser's: labels, then what the step saw."""
    logits, valid, label_l = parts
    pseudo = labeller(logits, valid, time=0.0)
    labeller.count(SimpleNamespace(batch=SimpleNamespace(label_l=label_l)))
    return pseudo


def rows(logits, valid):
    """Place and probabilities of every valid pixel, as lists of float64."""
    for n, y, x in valid.nonzero().tolist():
        scores = [math.exp(v) for v in logits[n, :, y, x].double().tolist()]
        yield (n, y, x), [score / sum(scores) for score in scores]


# -- FreeMatch -----------------------------------------------------------------------------------


@pytest.mark.parametrize('clip', [None, (0.45, 0.6)])
def test_freematch_is_its_equations(clip):
    labeller, momentum = FreeMatchThreshold(K, 0.6, clip), 0.6
    level, shares = 1 / K, [1 / K] * K
    kept_by_step = []
    for seed in range(4):
        logits, valid, label_l = batch(seed, scale=1.0 + seed / 2)
        pseudo = run(labeller, logits, valid, label_l)
        limited = level if clip is None else min(max(level, clip[0]), clip[1])
        kept = 0
        total, sums, count = 0.0, [0.0] * K, 0
        for place, p in rows(logits, valid):
            best = p.index(max(p))
            threshold = shares[best] / max(shares) * limited
            assert abs(max(p) - threshold) > 1e-6
            assert pseudo.labels[place] == (best if max(p) > threshold else IGNORE)
            assert pseudo.confidence[place].item() == pytest.approx(max(p), abs=1e-6)
            kept += max(p) > threshold
            total, count = total + max(p), count + 1
            sums = [a + b for a, b in zip(sums, p, strict=True)]
        assert (pseudo.labels[~valid] == IGNORE).all() and not pseudo.confidence[~valid].any()
        level = momentum * level + (1 - momentum) * total / count
        shares = [
            momentum * a + (1 - momentum) * b / count for a, b in zip(shares, sums, strict=True)
        ]
        labeller.after_step()
        assert labeller.level.item() == pytest.approx(level, abs=1e-7)
        assert labeller.shares.tolist() == pytest.approx(shares, abs=1e-7)
        kept_by_step.append((kept, count))
    if clip is None:  # thresholds begin at 1/K
        assert kept_by_step[0][0] > 0.9 * kept_by_step[0][1]
    assert kept_by_step[-1][0] < kept_by_step[-1][1]


def test_freematch_begins_at_one_over_k():
    labeller = FreeMatchThreshold(K)
    assert labeller.thresholds().tolist() == [1 / K] * K
    uniform = torch.zeros(1, K, 2, 2)
    assert (labeller(uniform, torch.ones(1, 2, 2, dtype=torch.bool), 0.0).labels == IGNORE).all()


# -- SoftMatch -----------------------------------------------------------------------------------


@pytest.mark.parametrize('n_sigma', [1.0, 2.0])
@pytest.mark.parametrize('per_class', [False, True])
def test_softmatch_is_its_equations(per_class, n_sigma):
    labeller = SoftMatchWeight(K, momentum=0.6, n_sigma=n_sigma, per_class=per_class)
    mean, variance = [1 / K] * K, [1.0] * K
    for seed in range(4):
        logits, valid, label_l = batch(seed, scale=1.0 + seed)
        if seed == 1:  # one pixel of class 2, which has no variance
            logits[:, 2] = -9
            logits[0, 2, 0, 0], valid[0, 0, 0] = 9, True
        pseudo = run(labeller, logits, valid, label_l)
        values = [[] for _ in range(K)]
        for place, p in rows(logits, valid):
            best, x = p.index(max(p)), max(p)
            c = best if per_class else 0
            weight = 1.0
            if x < mean[c]:
                weight = math.exp(-((x - mean[c]) ** 2) / (2 * variance[c] / n_sigma**2))
            assert pseudo.labels[place] == best
            assert pseudo.weight[place].item() == pytest.approx(weight, abs=1e-5)
            values[c].append(x)
        for c, x in enumerate(values):
            if len(x) > 1:
                m = sum(x) / len(x)
                v = sum((one - m) ** 2 for one in x) / (len(x) - 1)
                mean[c] = 0.6 * mean[c] + 0.4 * m
                variance[c] = 0.6 * variance[c] + 0.4 * v
        labeller.after_step()
        assert (pseudo.labels[~valid] == IGNORE).all() and not pseudo.weight[~valid].any()
        used = slice(None) if per_class else slice(1)
        assert labeller.mean.view(-1).tolist() == pytest.approx(mean[used], abs=1e-6)
        assert labeller.variance.view(-1).tolist() == pytest.approx(variance[used], abs=1e-6)
    assert pseudo.weight.min() == 0 and 0.2 < pseudo.weight[valid].min() < pseudo.weight.max() == 1


def test_weights_of_softmatch_reach_the_loss():
    model = tiny_model('fixmatch', pseudo_label=LABELLERS['softmatch'], dropout=0.0)
    model.pseudo_label.mean.fill_(0.4)
    model.pseudo_label.variance.fill_(0.01)
    losses = tiny_losses(model, 3)
    mixed = model.last_views.teacher.mixed
    assert 0.001 < mixed.pseudo_m.weight[mixed.valid_m].mean() < 0.9
    plain = tiny_model(
        'fixmatch', pseudo_label=dict(type='ConfidenceThreshold', threshold=0.0), dropout=0.0
    )
    expected = tiny_losses(plain, 3)
    assert losses['selftrain.confident'] == expected['selftrain.confident'] == 1
    assert losses['selftrain.loss'] < 0.9 * expected['selftrain.loss']


# -- FlexMatch -----------------------------------------------------------------------------------


def test_flexmatch_is_its_equations():
    labeller, tau = FlexMatchThreshold(0.7, momentum=0.3, num_classes=K), 0.7
    shares, shown = [0.0] * K, set()
    for seed in range(5):
        logits, valid, label_l = batch(seed, scale=1.0 + seed)
        pseudo = run(labeller, logits, valid, label_l)
        unused = 1 - sum(shares)
        beta = [share / max(*shares, unused) for share in shares]
        shown.add(max(shares) > unused)
        thresholds = [tau * b / (2 - b) for b in beta]
        assert labeller.thresholds().tolist() == pytest.approx(thresholds, abs=1e-9)
        counts, count = [0] * K, 0
        for place, p in rows(logits, valid):
            best, x = p.index(max(p)), max(p)
            assert pseudo.labels[place] == (best if x > thresholds[best] else IGNORE)
            counts[best] += x > tau
            count += 1
        shares = [0.3 * a + 0.7 * b / count for a, b in zip(shares, counts, strict=True)]
        labeller.after_step()
        assert labeller.shares.tolist() == pytest.approx(shares, abs=1e-12)
    assert shown == {False, True}  # with and without the warm-up


def test_flexmatch_of_a_class_that_is_learned_best_is_the_fixed_threshold():
    labeller = FlexMatchThreshold(0.95, num_classes=2)
    assert labeller.thresholds().tolist() == [0, 0]
    labeller.shares.copy_(torch.tensor([0.6, 0.3]))
    assert labeller.thresholds().tolist() == pytest.approx([0.95, 0.95 / 3])


# -- shares by class -----------------------------------------------------------------------------


@pytest.mark.parametrize('keep', [0.2, 0.5, 0.85])
def test_class_shares_are_the_quantile_of_all_pixels_so_far(keep):
    """Against the weighted quantile of the sorted confidences of all steps, to a bin's width."""
    bins, momentum = 64, 0.6
    labeller = ClassShareThreshold(keep, momentum, bins, num_classes=K)
    steps = []
    for seed in range(4):
        logits, valid, label_l = batch(seed, count=6, scale=1.0 + seed)
        run(labeller, logits, valid, label_l)
        labeller.after_step()
        steps.append(
            [(p.index(max(p)), -math.log10(1 - max(p)) / DECADES) for _, p in rows(logits, valid)]
        )
    levels = labeller.levels(keep).tolist()
    for c in range(K):
        weighted = []
        for age, pixels in enumerate(reversed(steps)):
            weighted += [(u, momentum**age / len(pixels)) for best, u in pixels if best == c]
        weighted.sort(reverse=True)
        above = itertools.accumulate(w for _, w in weighted)
        wanted = keep * sum(w for _, w in weighted)
        exact = next(u for (u, _), sum_ in zip(weighted, above, strict=True) if sum_ >= wanted)
        assert levels[c] == pytest.approx(exact, abs=1.01 / bins)


def test_class_shares_keep_every_class_alike():
    labeller = ClassShareThreshold(0.3, momentum=0.0, num_classes=K)
    logits, valid, label_l = batch(0, count=400)
    everything = run(labeller, logits, valid, label_l).labels
    assert torch.equal(everything != IGNORE, valid)  # no histogram yet
    labeller.after_step()
    kept = run(labeller, logits, valid, label_l)
    for c in range(K):
        share = (kept.labels == c).sum() / (everything == c).sum()
        assert share.item() == pytest.approx(0.3, abs=0.02)
        mine = everything == c
        lowest = kept.confidence[kept.labels == c].min()
        assert lowest >= kept.confidence[mine & (kept.labels == IGNORE)].max()


def test_class_shares_of_none_all_and_a_schedule():
    logits, valid, label_l = batch(0)
    for keep, expected in ((0.0, torch.zeros_like(valid)), (1.0, valid)):
        labeller = ClassShareThreshold(keep, num_classes=K)
        for seed in range(2):
            assert torch.equal(
                run(labeller, logits * (seed + 1), valid, label_l).labels != IGNORE, expected
            )
            labeller.after_step()
    growing = ClassShareThreshold(
        dict(type='Steps', values=[0.2, 0.5], milestones=[3]), num_classes=K
    )
    run(growing, *batch(0, count=50))
    growing.after_step()
    logits, valid, _ = batch(0, count=50)
    shares = [
        (growing(logits, valid, time).labels != IGNORE).sum() / valid.sum() for time in (2, 3)
    ]
    assert [share.item() for share in shares] == pytest.approx([0.2, 0.5], abs=0.04)


def test_confidences_of_one_have_a_bin():
    labeller = ClassShareThreshold(0.5, momentum=0.0, num_classes=2)
    logits = torch.tensor([100.0, -100.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    for _ in range(2):
        kept = run(labeller, logits, valid, torch.zeros(1, 4, 4, dtype=torch.long)).labels
        labeller.after_step()
    assert (kept == 0).all() and labeller.histogram[0, -1] == 1  # equals are kept together


# -- alignment -----------------------------------------------------------------------------------


@pytest.mark.parametrize('target', ['labels', 'uniform'])
@pytest.mark.parametrize('power', [1.0, 0.4, 0.0])
def test_alignment_is_its_equation(power, target):
    labeller = DistributionAlignment(momentum=0.8, power=power, target=target, num_classes=K)
    running, counts = None, [0] * K
    for seed in range(4):
        logits, valid, label_l = batch(seed)
        pseudo = run(labeller, logits, valid, label_l)
        factors = [1.0] * K
        if running is not None:
            for c in range(K):
                wanted = 1 / K if target == 'uniform' else counts[c] / sum(counts)
                if wanted > 0:
                    factors[c] = (wanted / running[c]) ** power
        sums, count = [0.0] * K, 0
        for place, p in rows(logits, valid):
            aligned = [a * b for a, b in zip(p, factors, strict=True)]
            aligned = [a / sum(aligned) for a in aligned]
            assert pseudo.labels[place] == aligned.index(max(aligned))
            assert pseudo.confidence[place].item() == pytest.approx(max(aligned), abs=1e-6)
            sums = [a + b for a, b in zip(sums, p, strict=True)]  # unaligned
            count += 1
        mean = [a / count for a in sums]
        running = [
            b if running is None else 0.8 * a + 0.2 * b
            for a, b in zip(running or mean, mean, strict=True)
        ]
        for label in label_l.flatten().tolist():
            if label != IGNORE:
                counts[label] += 1
        labeller.after_step()
        assert labeller.running.tolist() == pytest.approx(running, abs=1e-7)
        assert labeller.counts.tolist() == counts
    assert counts[-1] == 0 < min(counts[:-1])


def test_alignment_moves_predictions_towards_the_labels():
    labeller = DistributionAlignment(momentum=0.0, num_classes=K)
    logits, valid, label_l = batch(0)
    before = run(labeller, logits, valid, label_l).labels
    labeller.after_step()
    after = run(labeller, logits, valid, label_l).labels
    # class 0 has the highest scores, but a third of the labels
    assert (after == 0).sum() < (before == 0).sum()
    assert torch.equal(run(labeller, logits, valid, label_l).labels, after)  # not yet counted


def test_without_labels_or_predictions_nothing_is_aligned():
    labeller = DistributionAlignment(num_classes=K)
    logits, valid, label_l = batch(0)
    expected = logits.softmax(dim=1).argmax(dim=1).masked_fill(~valid, IGNORE)
    assert torch.equal(
        run(labeller, logits, valid, torch.full_like(label_l, IGNORE)).labels, expected
    )
    labeller.after_step()
    assert labeller.running.sum() > 0 and not labeller.offset().any()
    other = DistributionAlignment(num_classes=K)
    run(other, logits, torch.zeros_like(valid), label_l)
    other.after_step()
    assert other.counts.any() and not other.offset().any()


def test_a_class_that_is_never_predicted_has_a_finite_factor():
    labeller = DistributionAlignment(num_classes=2)
    labeller.running.copy_(torch.tensor([1.0, 0.0]))
    labeller.counts.copy_(torch.tensor([1, 1]))
    assert labeller.offset().exp().tolist() == pytest.approx([0.5, 5e5])


def test_alignment_passes_on_what_its_labeller_does():
    graph = dict(type='GraphCorrection', rounds=1, graph=dict(top_k=5), tau=0.34, stride=4)
    inner = dict(graph, label=dict(type='FreeMatchThreshold'))
    model = tiny_model(
        'fixmatch', pseudo_label=dict(type='DistributionAlignment', labeller=inner, momentum=0.5)
    )
    assert model.pseudo_label.needs.teacher_features
    loop = TinyLoop(model)
    loop.iter = 2
    for _ in range(2):
        log = loop.step()
    assert {'pseudo.alignment', 'pseudo.threshold', 'pseudo.label_threshold'} <= log.keys()
    assert model.pseudo_label.running.sum().item() == pytest.approx(1)
    assert model.pseudo_label.labeller.thresholds.counts.any()
    assert model.pseudo_label.labeller.label.level != 1 / 3


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize('name', LABELLERS)
def test_a_step_counts_after_it_and_a_failed_one_does_not(name):
    labeller = build(name)
    start = snapshot(labeller)
    run(labeller, *batch(0))  # this step fails in its losses
    assert all(torch.equal(start[key], value) for key, value in labeller.state_dict().items())
    run(labeller, *batch(1))
    labeller.after_step()
    after = snapshot(labeller)
    labeller.after_step()  # a step of a phase without pseudo-labels
    other = build(name)
    run(other, *batch(1))
    other.after_step()
    for key, value in other.state_dict().items():
        assert torch.equal(value, after[key]) and torch.equal(value, labeller.state_dict()[key])
    assert any(not torch.equal(start[key], value) for key, value in after.items())


@pytest.mark.parametrize('name', LABELLERS)
def test_padding_and_numbers_that_are_none_do_not_count(name):
    logits, valid, label_l = batch(0)
    valid[0, 0, :2] = True
    noisy = logits.clone()
    noisy[0, :, 0, 0] = math.nan
    noisy[0, 1, 0, 1] = math.inf
    fewer = valid.clone()
    fewer[0, 0, :2] = False
    noisy = torch.where(valid[:, None], noisy, 100 * torch.randn_like(noisy))
    one, other = build(name), build(name)
    for _ in range(2):
        found = run(one, noisy, valid, label_l)
        expected = run(other, logits, fewer, label_l)
        assert torch.equal(found.labels, expected.labels)
        if found.weight is not None:
            assert torch.allclose(found.weight, expected.weight) and found.weight.isfinite().all()
        one.after_step()
        other.after_step()
    for key, value in one.state_dict().items():
        assert torch.allclose(value, other.state_dict()[key], rtol=1e-12), key


@pytest.mark.parametrize('name', LABELLERS)
def test_a_batch_of_padding_alone_changes_no_statistic_of_predictions(name):
    labeller = build(name)
    logits, valid, label_l = batch(0)
    run(labeller, logits, valid, label_l)
    labeller.after_step()
    before = snapshot(labeller)
    pseudo = run(labeller, logits, torch.zeros_like(valid), torch.full_like(label_l, IGNORE))
    labeller.after_step()
    assert (pseudo.labels == IGNORE).all() and not pseudo.confidence.any()
    assert all(torch.equal(before[key], value) for key, value in labeller.state_dict().items())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', LABELLERS)
def test_half_precision_logits(name, dtype):
    one, other = build(name), build(name)
    for seed in range(2):
        logits, valid, label_l = batch(seed)
        found = run(one, logits.to(dtype), valid, label_l)
        expected = run(other, logits.to(dtype).float(), valid, label_l)
        assert found.confidence.dtype == torch.float32
        assert torch.equal(found.labels, expected.labels)
        one.after_step()
        other.after_step()
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
        assert value.dtype in (torch.float64, torch.int64)


@pytest.mark.parametrize('name', LABELLERS)
def test_a_run_goes_on_from_its_state(name):
    """Stopped after three steps: the next two are the same, bit for bit."""
    settings = dict(pseudo_label=LABELLERS[name], mixing=dict(type='ClassMix'), dropout=0.0)
    loop = TinyLoop(tiny_model('fixmatch', **settings))
    for _ in range(3):
        loop.step()
    again = TinyLoop(tiny_model('fixmatch', seed=1, **settings))
    again.model.load_state_dict(snapshot(loop.model))
    again.iter = loop.iter
    fresh = build(name).state_dict()
    assert {key for key in loop.model.state_dict() if key.startswith('pseudo_label.')} == {
        f'pseudo_label.{key}' for key in fresh
    }
    for _ in range(2):
        assert loop.step() == again.step()
    mine, theirs = loop.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def states_of(rank: int, world_size: int) -> dict[str, list]:
    """Three steps of every labeller on this rank's part of the batch: its labels, and the last state."""
    if world_size > 1:
        torch.distributed.init_process_group('gloo')
    found = {}
    for name in LABELLERS:
        labeller = build(name)
        labels = []
        for seed in range(3):
            parts = batch(seed, count=4)
            mine = slice(None) if world_size == 1 else slice(rank * 3, 3 + rank)  # 3 images and 1
            labels.append(run(labeller, *(part[mine] for part in parts)).labels.tolist())
            labeller.after_step()
        found[name] = labels, {key: value.tolist() for key, value in labeller.state_dict().items()}
    return found


def test_two_ranks_are_one_process_with_the_joint_batch():
    expected = states_of(0, 1)
    one, other = on_ranks(states_of, 2, 2)
    for name, (labels, state) in expected.items():
        joint = [a + b for a, b in zip(one[name][0], other[name][0], strict=True)]
        assert joint == labels, name
        assert one[name][1] == other[name][1], name
        for key, value in state.items():
            found = torch.tensor(one[name][1][key], dtype=torch.float64)
            wanted = torch.tensor(value, dtype=torch.float64)
            assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12), (name, key)


@pytest.mark.parametrize('name', LABELLERS)
def test_the_number_of_classes_is_the_students(name):
    model = tiny_model('fixmatch', num_classes=5, pseudo_label=LABELLERS[name])
    state = model.pseudo_label.state_dict()
    assert all(value.shape[0] == 5 for value in state.values() if value.ndim)
    wrong = dict(LABELLERS[name], num_classes=4)
    with pytest.raises(SetupError, match='model.pseudo_label.num_classes=4, but the student has 5'):
        tiny_model('fixmatch', num_classes=5, pseudo_label=wrong)


@pytest.mark.parametrize('name', LABELLERS)
def test_what_it_logs_is_finite(name):
    model = tiny_model('fixmatch', pseudo_label=LABELLERS[name])
    losses = tiny_losses(model, 3)
    own = {key: value for key, value in losses.items() if key.startswith('pseudo.')}
    assert own and all(value.ndim == 0 and value.isfinite() for value in own.values())


MISTAKES = {
    'momentum=1.0': dict(type='FreeMatchThreshold', momentum=1.0),
    'momentum=-0.1': dict(type='DistributionAlignment', momentum=-0.1),
    'momentum=nan': dict(type='DistributionAlignment', momentum=math.nan),
    r'clip=\(0.9, 0.1\)': dict(type='FreeMatchThreshold', clip=(0.9, 0.1)),
    r'clip=\(0.0, 1.5\)': dict(type='FreeMatchThreshold', clip=(0.0, 1.5)),
    r'clip=\(0.5,\)': dict(type='FreeMatchThreshold', clip=(0.5,)),
    'num_classes=0': dict(type='FreeMatchThreshold', num_classes=0),
    'n_sigma=0': dict(type='SoftMatchWeight', n_sigma=0),
    'n_sigma=inf': dict(type='SoftMatchWeight', n_sigma=math.inf),
    'threshold=0': dict(type='FlexMatchThreshold', threshold=0),
    'threshold=1.5': dict(type='FlexMatchThreshold', threshold=1.5),
    'keep=1.2': dict(type='ClassShareThreshold', keep=1.2),
    'keep: found': dict(type='ClassShareThreshold', keep=-0.1),
    'bins=1': dict(type='ClassShareThreshold', bins=1),
    'power=-1': dict(type='DistributionAlignment', power=-1),
    'power=nan': dict(type='DistributionAlignment', power=math.nan),
    "target='prior'": dict(type='DistributionAlignment', target='prior'),
    'labeller is ClassMix': dict(type='DistributionAlignment', labeller=dict(type='ClassMix')),
}


@pytest.mark.parametrize('sentence', MISTAKES)
def test_values_out_of_range(sentence):
    init_default_scope('mmseg')
    with pytest.raises(SetupError, match=f'pseudo_label.{sentence}'):
        MODELS.build(MISTAKES[sentence])
