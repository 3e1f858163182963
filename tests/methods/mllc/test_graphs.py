"""MLLC's graphs against the dense matrices of the released code.

Those are N x N for one image, sorted as a whole and multiplied with diagonal matrices.
"""

import pytest
import torch
import torch.nn.functional as F

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.mllc import graphs
from mmseg_semi.methods.mllc.benchmarks.reference import (
    dense_class,
    dense_round,
    dense_semantic,
)
from mmseg_semi.methods.mllc.graphs import (
    ClassGraph,
    GraphRound,
    Level,
    SemanticGraph,
    at_nodes,
    run_rounds,
)

HALF = torch.full((64,), 0.5, dtype=torch.float64)


def maps(images=2, nodes=(6, 7), classes=5, channels=12, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(images, classes, *nodes, generator=generator, dtype=dtype)
    features = torch.randn(images, channels, *nodes, generator=generator, dtype=dtype)
    return Level(logits, features)


def layered(classes=5, channels=12, dtype=torch.float64, **changes):
    torch.manual_seed(1)
    one = GraphRound(**{'top_k': 8} | changes)
    one.class_layer = torch.nn.Sequential(
        torch.nn.Conv2d(classes, classes, 1), torch.nn.Conv2d(classes, classes, 1)
    )
    one.feature_layer = torch.nn.Sequential(
        torch.nn.Conv2d(channels, channels, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(channels, channels, 1),
    )
    return one.to(dtype)


def nodes(x):
    return x.flatten(2).transpose(1, 2)


# -- against the dense form ------------------------------------------------------------------------


@pytest.mark.parametrize(
    'dtype, tolerance', [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=['float64', 'float32']
)
@pytest.mark.parametrize('scores', [50, 10_000])
def test_a_round_equals_the_dense_round(dtype, tolerance, scores, monkeypatch):
    monkeypatch.setattr(graphs, 'SCORES', scores)
    monkeypatch.setattr(graphs, 'COLUMNS', 10)  # classes in three groups
    level, one = maps(dtype=dtype), layered(dtype=dtype)
    eta = torch.tensor([0.9, 0.5, 0.0, 0.95, 0.7], dtype=torch.float64)
    out = one(level, eta)
    for image in range(2):
        logits, features = dense_round(
            one, nodes(level.logits)[image], nodes(level.features)[image], eta
        )
        assert (nodes(out.logits)[image] - logits).abs().max() < tolerance
        assert (nodes(out.features)[image] - features).abs().max() < tolerance


def test_gradients_equal_those_of_the_dense_round():
    level, one = maps(images=1), layered()
    eta = HALF[:5]

    def gradients(function):
        x, f = (t.clone().requires_grad_() for t in level)
        logits, features = function(x, f)
        weights = torch.randn(
            logits.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
        )
        return torch.autograd.grad((logits * weights).sum() + features.pow(2).sum(), [x, f])

    def dense(x, f):
        logits, features = dense_round(one, nodes(x)[0], nodes(f)[0], eta)
        return logits.T.view(1, 5, 6, 7), features.T.view(1, 12, 6, 7)

    ours = gradients(lambda x, f: one(Level(x, f), eta))
    for mine, theirs in zip(ours, gradients(dense), strict=True):
        assert (mine - theirs).abs().max() < 1e-10


def test_nothing_square_is_allocated(monkeypatch):
    """N = 1,200: an N x N float32 tensor is 5.8 MB; a round with its backward pass never holds one."""
    from mmseg_semi.runtime.measuring import trace_memory

    level = maps(images=1, nodes=(30, 40), dtype=torch.float32)
    level = Level(*(x.requires_grad_() for x in level))
    one = layered(dtype=torch.float32)

    def step():
        out = one(level, HALF[:5])
        (out.logits.sum() + out.features.sum()).backward()

    monkeypatch.setattr(graphs, 'SCORES', 60_000)
    memory = trace_memory(step, torch.device('cpu'))
    assert memory.largest < 1200 * 1200 * 4 / 2


# -- the semantic-level graph ----------------------------------------------------------------------


def matrix(graph, size):
    """An operator as a matrix, column by column."""
    return graph(torch.eye(size, dtype=torch.float64)[None])[0]


def test_each_row_keeps_itself_and_twenty_neighbours():
    features = torch.randn(1, 90, 16, dtype=torch.float64, generator=torch.manual_seed(0))
    graph = SemanticGraph(features, 20)
    assert graph.values.shape == graph.columns.shape == (90, 21)
    assert (graph.values >= 0).all()
    assert all(len(set(row.tolist())) == 21 for row in graph.columns)
    assert torch.equal(graph.columns[:, 0], torch.arange(90))
    assert (graph.values[:, 0] - 1).abs().max() < 1e-6


def test_fewer_nodes_than_neighbours():
    features = torch.randn(2, 5, 4, dtype=torch.float64)
    graph = SemanticGraph(features, 20)
    expected = dense_semantic(features[1])[2]
    assert (graph(torch.eye(5, dtype=torch.float64).expand(2, 5, 5))[1] - expected).abs().max() < (
        1e-12
    )


def test_normalized_adjacency_is_symmetric_with_its_known_eigenvector():
    features = torch.randn(1, 60, 8, dtype=torch.float64, generator=torch.manual_seed(2))
    graph = SemanticGraph(features, 20)
    a = matrix(graph, 60)
    assert (a - a.T).abs().max() < 1e-12
    root = graph.degrees.sqrt()
    assert (a @ root - root).abs().max() < 1e-5
    eigenvalues = torch.linalg.eigvalsh(a)
    assert eigenvalues.min() >= -1 - 1e-9 and eigenvalues.max() <= 1 + 1e-9
    # a row-stochastic propagation would be another one
    assert (a.sum(dim=1) - 1).abs().max() > 1e-2


def test_propagation_conserves_the_degree_weighted_sum():
    features = torch.randn(1, 80, 8, generator=torch.manual_seed(3))
    graph = SemanticGraph(features, 20)
    rows = torch.rand(1, 80, 4) + 1
    root = graph.degrees.sqrt()
    before, after = (root.T @ x[0] for x in (rows, graph(rows)))
    assert ((after - before) / before).abs().max() < 1e-4


def test_orthogonal_features_change_nothing():
    graph = SemanticGraph(torch.eye(30, dtype=torch.float64)[None], 20)
    assert (matrix(graph, 30) - torch.eye(30, dtype=torch.float64)).abs().max() < 1e-8
    level = Level(
        torch.randn(1, 4, 5, 6, dtype=torch.float64),
        torch.eye(30, dtype=torch.float64).view(1, 30, 5, 6),
    )
    for eta in (0.0, 1.1):
        out = GraphRound()(level, torch.full((4,), eta, dtype=torch.float64))
        assert (out.logits - level.logits).abs().max() < 1e-8


@pytest.mark.parametrize('size', [1, 7, 21])
def test_groups_of_identical_features_give_their_mean(size):
    groups = 4
    features = torch.eye(groups, dtype=torch.float64).repeat_interleave(size, 0)[None]
    rows = torch.randn(1, groups * size, 3, dtype=torch.float64)
    spread = SemanticGraph(features, 20)(rows).view(groups, size, 3)
    mean = rows.view(groups, size, 3).mean(dim=1, keepdim=True)
    assert (spread - mean).abs().max() < 1e-8


def test_ties_at_the_cut_go_to_the_node_itself_then_to_lower_positions():
    features = torch.ones(1, 6, 3, dtype=torch.float64)
    graph = SemanticGraph(features, 2)
    assert graph.columns.tolist() == [
        [0, 1, 2],
        [1, 0, 2],
        [2, 0, 1],
        [3, 0, 1],
        [4, 0, 1],
        [5, 0, 1],
    ]


# -- blend and class-level graph -------------------------------------------------------------------


def test_confident_nodes_keep_four_fifths_of_their_own():
    level = maps(images=1)
    spread = SemanticGraph(nodes(level.features), 20)(nodes(level.logits))
    own = nodes(level.logits)
    for eta, share in ((0.0, 0.2), (1.1, 0.8)):
        out = GraphRound()(level, torch.full((5,), eta, dtype=torch.float64))
        expected = share * spread + (1 - share) * own
        assert (nodes(out.logits) - expected).abs().max() < 1e-12


def test_sureness_is_by_class():
    logits = torch.log(torch.tensor([[[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]]]))
    confident, classes = graphs.confident_nodes(logits, torch.tensor([0.95, 0.475, 0.0]).double())
    assert confident.tolist() == [[False, True, True]] and classes.tolist() == [[0, 1, 2]]


def test_one_hot_classes_give_their_mean_feature():
    gate = torch.tensor([[0, 1, 1, 2, 1, 2]])
    logits = 100 * F.one_hot(gate, 4).double()
    features = torch.randn(1, 6, 8, dtype=torch.float64)
    smooth = ClassGraph(logits, gate)(features)
    for c in range(3):
        mine = gate[0] == c
        assert (smooth[0, mine] - features[0, mine].mean(dim=0)).abs().max() < 1e-8
    assert (smooth[0, 0] - features[0, 0]).abs().max() < 1e-8  # alone in its class


def test_class_graph_joins_no_two_classes_and_is_positive():
    logits = torch.randn(1, 40, 5, dtype=torch.float64, generator=torch.manual_seed(4))
    gate = logits.argmax(dim=2)
    w = matrix(ClassGraph(logits, gate), 40)
    expected = dense_class(logits[0], gate[0])[1]
    assert (w - expected).abs().max() < 1e-12
    assert w[gate[0][:, None] != gate[0]].abs().max() == 0
    eigenvalues = torch.linalg.eigvalsh(w)
    assert eigenvalues.min() > -1e-12 and eigenvalues.max() < 1 + 1e-9


def test_the_gate_is_the_rounds_own_class_or_the_refined_one():
    level = maps(images=1)
    outs = [GraphRound(clg_gate=g)(level, HALF[:5]) for g in ('input', 'refined')]
    refined = nodes(outs[0].logits)
    for out, gate in zip(
        outs, (nodes(level.logits).argmax(2), nodes(outs[1].logits).argmax(2)), strict=True
    ):
        expected = dense_class(refined[0], gate[0])[1] @ nodes(level.features)[0]
        assert (nodes(out.features)[0] - expected).abs().max() < 1e-10
    assert (outs[0].features - outs[1].features).abs().max() > 1e-3
    default = GraphRound()(level, HALF[:5])
    assert torch.equal(default.features, outs[0].features)


def scrambled(classes, num_classes):
    """The released code's view of one image's class map (h, w), number by number: rows (h w, K)."""
    height, width = classes.shape
    rows = torch.zeros(height * width, num_classes, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            # the one-hot map (h, w, K), laid out as (w, K, h), then read K numbers a node
            place = x * num_classes * height + int(classes[y, x]) * height + y
            rows[place // num_classes, place % num_classes] = True
    return rows


def dense_permuted(logits, rows):
    """W and W^ of one image, entry by entry: an edge where two rows share a mark."""
    q = logits.softmax(dim=1)
    q = q / (q.norm(dim=1, keepdim=True) + 1e-9)
    w = torch.zeros(len(q), len(q), dtype=q.dtype)
    for i in range(len(q)):
        for j in range(len(q)):
            if (rows[i] & rows[j]).any():
                w[i, j] = q[i] @ q[j]
    root = torch.diag((w.sum(dim=1) + 1e-10) ** -0.5)
    return w, root @ w @ root


@pytest.mark.parametrize('scores', [50, 10_000])
def test_the_permuted_gate_is_the_released_codes_view_of_the_class_map(scores, monkeypatch):
    monkeypatch.setattr(graphs, 'SCORES', scores)  # one row at a time, or all
    level = maps(nodes=(5, 8))
    classes = level.logits.argmax(dim=1)
    marks = graphs.permuted_classes(classes, 5)
    weights = torch.randn(40, 12, dtype=torch.float64, generator=torch.manual_seed(7))
    features = level.features.clone().requires_grad_()
    out = GraphRound(clg_gate='permuted')(Level(level.logits, features), HALF[:5])
    (nodes(out.features) * weights).sum().backward()
    plain = GraphRound()(level, HALF[:5])
    assert torch.equal(out.logits, plain.logits)  # the labels of this round do not pass this graph
    assert (out.features - plain.features).abs().max() > 0.1
    for image in range(2):
        rows = scrambled(classes[image], 5)
        assert torch.equal(marks[image], rows)
        # none, one and several marks a node
        assert {0, 1, 2} <= set(rows.sum(dim=1).tolist())
        w, normalised = dense_permuted(nodes(out.logits)[image], rows)
        assert (w[~rows.any(dim=1)] == 0).all()
        expected = normalised @ nodes(level.features)[image]
        assert (nodes(out.features)[image] - expected).abs().max() < 1e-10
        gradient = nodes(features.grad)[image]
        assert (gradient - normalised.T @ weights).abs().max() < 1e-10


# -- rounds ----------------------------------------------------------------------------------------


def test_permuting_nodes_permutes_the_outcome_and_images_do_not_meet():
    level = maps(images=2, nodes=(1, 42))
    one = GraphRound()
    out = one(level, HALF[:5])
    order = torch.randperm(42, generator=torch.Generator().manual_seed(0))
    moved = one(Level(*(x[..., order] for x in level)), HALF[:5])
    alone = one(Level(*(x[1:] for x in level)), HALF[:5])
    for mine, theirs, single in zip(out, moved, alone, strict=True):
        assert (mine[..., order] - theirs).abs().max() < 1e-12
        assert (mine[1:] - single).abs().max() < 1e-12


def test_logits_do_not_learn_through_features_nor_features_through_logits():
    level = Level(*(x.requires_grad_() for x in maps(images=1)))
    out = layered()(level, HALF[:5])
    pairs = {
        (i, j): torch.autograd.grad(out[i].sum(), level[j], retain_graph=True, allow_unused=True)[0]
        for i in (0, 1)
        for j in (0, 1)
    }
    assert pairs[0, 1] is None and pairs[1, 0] is None
    assert pairs[0, 0].abs().max() > 0 and pairs[1, 1].abs().max() > 0


def test_rounds_feed_each_other():
    level, rounds = maps(), [layered(), layered(top_k=3)]
    levels = run_rounds(rounds, level, HALF[:5])
    assert levels[0] is level and len(levels) == 3
    again = rounds[1](rounds[0](level, HALF[:5]), HALF[:5])
    assert torch.equal(levels[2].logits, again.logits)
    assert torch.equal(levels[2].features, again.features)
    short = run_rounds(rounds, level, HALF[:5], last_features=False)
    assert short[2].features is None and torch.equal(short[2].logits, again.logits)


def test_a_flipped_node_among_look_alikes_is_corrected_unless_it_is_sure():
    """Two clusters of 21 nodes; one node of the first says the second's class."""
    features = torch.eye(2, dtype=torch.float64).repeat_interleave(21, 0).T.reshape(1, 2, 6, 7)
    margins = torch.cat([torch.full((21,), 2.0), torch.full((21,), -2.0)]).double()

    def outcome(flip, eta):
        m = margins.clone()
        m[3] = -flip
        logits = torch.stack([m / 2, -m / 2]).view(1, 2, 6, 7)
        out = GraphRound()(Level(logits, features), torch.full((2,), eta, dtype=torch.float64))
        return int(out.logits.flatten(2)[0, :, 3].argmax())

    assert outcome(2.0, eta=1.1) == 0  # not confident: the neighbours have four fifths
    assert outcome(2.0, eta=0.0) == 1  # confident: 0.8 * 2 against 0.2 * 1.81
    mean = (20 * 2.0 - 0.4) / 21
    assert outcome(0.24 * mean, eta=0.0) == 0
    assert outcome(0.27 * mean, eta=0.0) == 1


@pytest.mark.parametrize('filler', [1e4, -3.0])
def test_nodes_that_are_not_valid_change_nothing_elsewhere(filler):
    level = maps()
    valid = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0)) > 0.3
    overwritten = Level(*(torch.where(valid[:, None], x, filler) for x in level))
    one = layered()
    out, other = (
        run_rounds([one, one], start, HALF[:5], valid)[2] for start in (level, overwritten)
    )
    for mine, theirs in zip(out, other, strict=True):
        mask = valid[:, None].expand_as(mine)
        assert torch.equal(mine[mask], theirs[mask])
    free = GraphRound(top_k=8)(level, HALF[:5], valid)
    for mine, theirs in zip(free, level, strict=True):
        mask = ~valid[:, None].expand_as(mine)
        assert torch.equal(mine[mask], theirs[mask])
    assert not torch.equal(free.logits, GraphRound(top_k=8)(level, HALF[:5]).logits)


def test_graphs_are_float32_under_autocast():
    level = maps(dtype=torch.float32, nodes=(9, 9), channels=64)
    one = GraphRound()
    plain = one(level, HALF[:5])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = one(level, HALF[:5])
        half = one(Level(*(x.bfloat16() for x in level)), HALF[:5])
    assert torch.equal(plain.logits, mixed.logits)
    assert torch.equal(plain.features, mixed.features)
    assert half.logits.dtype == torch.float32


# -- the grid --------------------------------------------------------------------------------------


@pytest.mark.parametrize('side, count', [(256, 33), (321, 41), (512, 65), (7, 1), (10, 10)])
def test_nodes_stand_where_upsampling_puts_them(side, count):
    index = graphs.node_positions(count, side, True, 'aligned', torch.device('cpu'))
    if count > 1:
        exact = torch.arange(count, dtype=torch.float64) * (side - 1) / (count - 1)
        assert (index - exact).abs().max() <= 0.5
        assert index[0] == 0 and index[-1] == side - 1
    legacy = graphs.node_positions(count, side, True, 'nearest', torch.device('cpu'))
    ramp = torch.arange(side, dtype=torch.float32)[None, None]
    assert torch.equal(legacy, F.interpolate(ramp, count, mode='nearest')[0, 0].long())
    half = graphs.node_positions(count, side, False, 'aligned', torch.device('cpu'))
    assert torch.equal(half, F.interpolate(ramp, count, mode='nearest-exact')[0, 0].long())


def test_labels_at_nodes():
    labels = torch.arange(5 * 9).view(1, 5, 9)
    assert at_nodes(labels, (2, 3)).tolist() == [[[0, 4, 8], [36, 40, 44]]]
    # the released code's grid stops short of the far edge: index 248 instead of 255
    assert int(at_nodes(torch.arange(256).view(1, 1, 256), (1, 33), grid='nearest')[0, 0, -1]) == (
        248
    )


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(top_k=-1), r'graph\.top_k=-1'),
        (dict(blend_reliable=1.5), r'blend_reliable=1\.5'),
        (dict(clg_gate='other'), r"graph\.clg_gate='other'"),
    ],
)
def test_values_out_of_range(wrong, message):
    with pytest.raises(SetupError, match=message):
        GraphRound(**wrong)
