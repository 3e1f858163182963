"""MLLC's objective in whole steps: losses from their formulas, phases, prototypes, counts, gradients."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_semi import TinyLoop, snapshot, tiny_batch, tiny_losses, tiny_model, tiny_recipe

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc.graphs import Level, at_nodes, run_rounds
from mmseg_semi.methods.mllc.node_contrast import class_prototype_contrast, pairwise_contrast
from mmseg_semi.methods.mllc.pseudo_labels import GraphCorrection
from mmseg_semi.step.views import PseudoLabels, TeacherOutputs

K = 3
LATE = 4  # iteration at which the prototypes' contrast has begun


@pytest.fixture
def model():
    return tiny_model('mllc', dropout=0.0)


def objective_of(model):
    return model.objectives[1]


def watched(model, iteration=LATE, batch=None):
    """One step with what the objective was given and made of it."""
    objective, seen = objective_of(model), {}
    compute, contrasts = objective.compute, objective.contrasts

    def watch(views):
        seen['views'] = views
        return compute(views)

    def watch_levels(views, levels_l, levels_m, contrast):
        seen.update(levels_l=levels_l, levels_m=levels_m)
        return contrasts(views, levels_l, levels_m, contrast)

    objective.compute, objective.contrasts = watch, watch_levels
    try:
        losses = tiny_losses(model, iteration, batch)
    finally:
        del objective.compute, objective.contrasts
    return losses, seen


def fill(model):
    """Prototypes as after some steps."""
    bank = objective_of(model).bank
    bank.prototypes.normal_(generator=torch.Generator().manual_seed(0))
    bank.counts.fill_(3)
    return bank


def up(logits, size):
    return F.interpolate(logits, size, mode='bilinear', align_corners=True)


# -- losses ----------------------------------------------------------------------------------------


def test_losses_are_those_of_the_formulas(model):
    bank = fill(model)
    losses, seen = watched(model)
    views, levels_l, levels_m = seen['views'], seen['levels_l'], seen['levels_m']
    assert len(levels_l) == len(levels_m) == 3
    labels, confidence = (
        views.teacher.mixed.pseudo_m.labels,
        views.teacher.mixed.pseudo_m.confidence,
    )

    sup = sum(
        F.cross_entropy(up(level.logits, (32, 32)), views.batch.label_l, ignore_index=IGNORE)
        for level in levels_l[1:]
    )
    assert float(losses['mllc.loss_sup']) == pytest.approx(float(sup), rel=1e-5)

    used = views.teacher.mixed.valid_m
    omega = float(((confidence >= 1.02 / K) & used).sum() / used.sum())
    assert 0 < omega <= 1 and float(losses['mllc.omega']) == pytest.approx(omega)
    clg = 0.0
    for level in levels_m:
        entropy = F.cross_entropy(
            up(level.logits, (32, 32)), labels, ignore_index=IGNORE, reduction='none'
        )
        clg += omega * float(entropy.sum() / used.sum())
    assert float(losses['mllc.loss_clg']) == pytest.approx(clg, rel=1e-5)

    size = levels_l[0].features.shape[2:]
    nodes = [at_nodes(views.batch.label_l, size), at_nodes(labels, size)]
    every = torch.ones(K, dtype=torch.bool)
    inter = sum(
        float(class_prototype_contrast(levels[k].features, own, bank.prototypes[k], every))
        for k in range(3)
        for levels, own in zip((levels_l, levels_m), nodes, strict=True)
    )
    assert float(losses['mllc.loss_inter']) == pytest.approx(0.1 * inter, rel=1e-5)
    intra = sum(
        float(pairwise_contrast(levels[1].features, own))
        for levels, own in zip((levels_l, levels_m), nodes, strict=True)
    )
    assert float(losses['mllc.loss_intra']) == pytest.approx(0.1 * intra, rel=1e-5)


def test_without_certain_pixels_the_strong_view_teaches_nothing(model):
    objective_of(model).tau_omega = 1.0
    losses = tiny_losses(model, 0)
    assert float(losses['mllc.omega']) == 0 and float(losses['mllc.loss_clg']) == 0
    losses['mllc.loss_clg'].backward()
    gradients = [p.grad for p in model.student.parameters() if p.grad is not None]
    assert gradients and all(g.abs().max() == 0 for g in gradients)


def test_a_fresh_network_teaches_itself_nothing():
    """Class layers that begin near 0 make corrected predictions uniform: none is certain, at the published threshold."""
    model = tiny_model('mllc_reference', dropout=0.0)
    objective_of(model).tau_omega = 0.968
    losses, seen = watched(model, 0)
    assert seen['views'].teacher.mixed.pseudo_m.confidence.max() < 1.1 / K
    assert float(losses['mllc.omega']) == 0 and float(losses['mllc.loss_clg']) == 0
    total = sum(v for k, v in losses.items() if k.startswith('sup') and 'loss' in k)
    total = float(total + losses['mllc.loss_sup'])
    assert total == pytest.approx(3 * math.log(K), rel=0.1)


@pytest.mark.parametrize('mode', ['threshold_uniform', 'power', 'sigmoid', 'none'])
def test_modes_of_the_weight(model, mode):
    objective = objective_of(model)
    objective.omega_mode, objective.tau_omega, objective.omega_length = mode, 0.968, 100.0
    confidence = torch.tensor([[[0.968, 0.5, 0.9679, 0.0]]])
    used = torch.tensor([[[True, True, True, False]]])
    omega = objective.omega(PseudoLabels(None, confidence), used, 50.0)
    if mode == 'power':
        assert omega.flatten().tolist() == pytest.approx([c**6 for c in (0.968, 0.5, 0.9679, 0.0)])
    else:
        expected = dict(threshold_uniform=1 / 3, sigmoid=math.exp(-5 * 0.25), none=1.0)[mode]
        assert float(omega) == pytest.approx(expected)
    if mode == 'sigmoid':
        assert float(objective.omega(PseudoLabels(None, confidence), used, 200.0)) == 1


def test_weights_by_pixel(model):
    objective = objective_of(model)
    objective.omega_mode = 'power'
    losses, seen = watched(model)
    views = seen['views']
    expected = 0.0
    for level in seen['levels_m']:
        entropy = F.cross_entropy(
            up(level.logits, (32, 32)),
            views.teacher.mixed.pseudo_m.labels,
            ignore_index=IGNORE,
            reduction='none',
        )
        expected += float(
            (entropy * views.teacher.mixed.pseudo_m.confidence**6).sum()
            / views.teacher.mixed.valid_m.sum()
        )
    assert float(losses['mllc.loss_clg']) == pytest.approx(expected, rel=1e-5)


# -- phases and gradients --------------------------------------------------------------------------


def test_prototypes_contrast_from_its_start_only():
    model = tiny_model('mllc')
    objective_of(model).w_intra = 0.0
    fill(model)
    head = model.student.decode_head
    for iteration in (1, 2):  # time 0.5 and 1
        losses = tiny_losses(model, iteration)
        assert ('mllc.loss_inter' in losses) == (iteration == 2)
        model.zero_grad()
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        gradient = head.conv_embedding.weight.grad
        assert (gradient.abs().max() > 0) == (iteration == 2)


@pytest.mark.parametrize('w_intra', [0.0, 0.1])
@pytest.mark.parametrize('method', ['mllc', 'mllc_reference'])
@pytest.mark.parametrize('rounds', [0, 1, 2])
@pytest.mark.parametrize('iteration', [0, LATE])
def test_every_parameter_is_reached_in_every_phase(method, rounds, iteration, w_intra):
    student = tiny_recipe(method)['student']
    student['decode_head']['rounds'] = rounds
    model = tiny_model(method, student=student)
    objective_of(model).w_intra = w_intra
    losses = tiny_losses(model, iteration)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_mixed_precision_trains_in_every_phase(model, recwarn):
    fill(model)
    for iteration in (0, LATE):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = tiny_losses(model, iteration)
        model.zero_grad()
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        for name, parameter in model.named_parameters():
            assert not parameter.requires_grad or torch.isfinite(parameter.grad).all(), name
    assert not [w for w in recwarn if 'autocast' in str(w.message) or 'CUDA' in str(w.message)]


def test_labelled_loss_on_the_last_level_reaches_the_encoder(model):
    tiny_losses(model, 0)['mllc.loss_sup'].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().max() > 0


def test_the_teachers_pass_leaves_the_student_alone(model):
    before = {k: v.clone() for k, v in model.student.named_buffers()}
    model.start_step(LATE)
    data = model.data_preprocessor(tiny_batch(), training=True)
    batch = model._gather(data['inputs'], data['data_samples'])
    teacher = model._label(batch, objective_of(model).all_needs)
    for name, value in model.student.named_buffers():
        assert torch.equal(value, before[name]), name
    assert not teacher.weak.logits.requires_grad
    assert len(teacher.levels) == 3


def test_prediction_needs_no_graph(model, monkeypatch):
    image = torch.randn(1, 3, 32, 32)
    model.eval()
    expected = model.student.encode_decode(image, [dict(img_shape=(32, 32), ori_shape=(32, 32))])
    for part in ('rounds', 'conv_embedding'):
        setattr(model.student.decode_head, part, None)
    found = model.student.encode_decode(image, [dict(img_shape=(32, 32), ori_shape=(32, 32))])
    assert torch.equal(found, expected)


# -- counts and prototypes -------------------------------------------------------------------------


def test_counts_are_those_of_level_0_after_the_step(model):
    losses, seen = watched(model)
    views = seen['views']
    thresholds = model.pseudo_label.thresholds
    assert thresholds.counts.sum() == 0
    model.finish_step()
    expected = torch.zeros(K, dtype=torch.int64)
    for logits, valid in (
        (views.student.labeled.logits.detach(), views.batch.label_l != IGNORE),
        (views.teacher.weak.logits, views.batch.unlabeled.valid_u),
    ):
        confidence, labels = up(logits, (32, 32)).softmax(dim=1).max(dim=1)
        for c in range(K):
            expected[c] += ((confidence >= 1.05 / K) & (labels == c) & valid).sum()
    assert torch.equal(thresholds.counts, expected)
    assert 0 < expected.sum() <= 4 * 32 * 32


def test_each_bank_holds_the_features_of_its_level(model):
    _, seen = watched(model, 0)
    views = seen['views']
    model.finish_step()
    bank = objective_of(model).bank
    size = seen['levels_l'][0].features.shape[2:]
    labels_l = at_nodes(views.batch.label_l, size)
    levels_w = views.teacher.levels
    labels_w = levels_w[2].logits.argmax(dim=1)
    # nodes are cells of 2 x 2 positions, and take part where one of them does
    inside = [
        at_nodes(valid, (8, 8)).unflatten(2, (4, 2)).unflatten(1, (4, 2)).any(dim=4).any(dim=2)
        for valid in (views.batch.label_l != IGNORE, views.batch.unlabeled.valid_u)
    ]
    labels_l = labels_l.masked_fill(~inside[0], IGNORE)
    labels_w = labels_w.masked_fill(~inside[1], IGNORE)
    for k in range(3):
        for c in range(K):
            rows = [
                levels[k].features.detach().permute(0, 2, 3, 1)[labels == c]
                for levels, labels in ((seen['levels_l'], labels_l), (levels_w, labels_w))
            ]
            rows = torch.cat(rows)
            if len(rows):
                assert (bank.prototypes[k, c] - rows.mean(dim=0)).abs().max() < 1e-5
            assert int(bank.counts[k, c]) == (len(rows) > 0)


def test_a_shared_bank_is_fed_by_all_levels_in_turn():
    model = tiny_model('mllc_reference', dropout=0.0)
    _, seen = watched(model, 0)
    bank, kept = objective_of(model).bank, list(objective_of(model)._kept)
    model.finish_step()
    assert bank.prototypes.shape[0] == 1
    means = [sums / counts.clamp(min=1)[:, None] for sums, counts in kept]
    expected = means[0]
    for mean in means[1:]:
        expected = 0.99 * expected + 0.01 * mean
    present = kept[0][1] > 0
    assert (bank.prototypes[0] - expected)[present].abs().max() < 1e-5
    assert bank.counts[0][present].tolist() == [3] * int(present.sum())


def test_the_teacher_equals_the_student_after_the_first_update():
    loop = TinyLoop(tiny_model('mllc', teacher=dict(start=0)), momentum=0.01)
    loop.step()
    for mine, theirs in zip(
        loop.model.teacher.parameters(), loop.model.student.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert [loop.teacher.average.decay(t) for t in (0, 1, 99, 5000)] == [0, 0.5, 0.99, 0.99]


def test_a_state_dict_restores_banks_and_counts():
    loop = TinyLoop(tiny_model('mllc'))
    for _ in range(3):
        loop.step()
    state = snapshot(loop.model)
    assert state['pseudo_label.thresholds.counts'].sum() > 0
    assert state['objectives.1.bank.counts'].sum() > 0
    other = tiny_model('mllc', seed=1)
    other.load_state_dict(state)
    expected, found = (tiny_losses(m, 3) for m in (loop.model, other))
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


# -- void and padding ------------------------------------------------------------------------------


@pytest.mark.parametrize('filler', [30.0, -7.0])
@pytest.mark.parametrize('cells', [1, 2])
def test_what_stands_at_void_and_padded_nodes_changes_nothing(model, cells, filler):
    """At the output of the head, and as far from valid pixels as no bilinear upsampling reaches.

    With cells of 2 x 2 positions, the border runs through the second of them.
    """
    objective, labeler, head = objective_of(model), model.pseudo_label, model.student.decode_head
    bank = fill(model)
    head.graph_pool = model.teacher.decode_head.graph_pool = cells
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, K, 8, 8, generator=generator)
    embedding = torch.randn(2, 8, 8, 8, generator=generator)
    label = torch.randint(0, K, (2, 32, 32), generator=generator)
    label[:, :, 12:] = IGNORE
    valid = label != IGNORE
    outcomes = []
    for value in (None, filler):
        p, f = logits.clone(), embedding.clone()
        if value is not None:  # nodes 4 and on stand at pixel 17.7 and on; node 3 at 13.3 is void
            p[..., 4:], f[..., 3:] = value, value
        p.requires_grad_(), f.requires_grad_()
        outputs = TeacherOutputs(p, embedding=f)
        levels = labeler.levels_of(head, outputs, valid)
        pseudo = PseudoLabels(label, valid.float())
        labeler.thresholds._new = None
        labeler._count(p, valid)
        nodes = objective._at_nodes(label, levels[0])
        assert nodes.shape[1:] == (8 // cells, 8 // cells) and (nodes != IGNORE).any()
        samples = [SegDataSample(gt_sem_seg=PixelData(data=own[None])) for own in label]
        losses = [
            objective.supervise(levels, samples),
            objective.distill(levels, pseudo, valid, objective.omega(pseudo, valid, 0.0)),
            pairwise_contrast(levels[1].features, nodes),
            *(
                class_prototype_contrast(
                    level.features, nodes, bank.prototypes[k], bank.counts[k] > 0
                )
                for k, level in enumerate(levels)
            ),
        ]
        outcomes.append([*losses, labeler.thresholds._new])
    for mine, theirs in zip(*outcomes, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize('filler', [1000.0, math.nan])
@pytest.mark.parametrize('border', range(4, 31, 3))
def test_padding_reaches_no_mean_of_a_cell(border, filler):
    """Corrected logits at valid positions, with nodes at half and at a quarter of the maps' resolution."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, K, 8, 8, generator=generator)
    features = torch.randn(2, 8, 8, 8, generator=generator)
    valid = torch.arange(32).expand(2, 32, 32) < border
    own = at_nodes(valid, (8, 8))[:, None]
    model = tiny_model('fixmatch')
    for stride in (8, 16):
        labeler = GraphCorrection(K, stride=stride, graph=dict(top_k=3))
        labeler.bind(model.bound)
        outcomes = []
        for value in (0.0, filler):
            maps = [maps.masked_fill(~own, value) for maps in (logits, features)]
            outputs = TeacherOutputs(*maps)
            corrected = labeler.corrected(outputs, labeler.levels(outputs, valid))
            outcomes.append([maps.masked_fill(~own, 0.0) for maps in corrected])
        for mine, theirs in zip(*outcomes, strict=True):
            assert torch.equal(mine, theirs)
        assert not torch.equal(outcomes[0][0], outcomes[0][2])


def test_without_the_mask_padding_counts():
    model = tiny_model('mllc_reference')
    _, seen = watched(model, 0)
    views = seen['views']
    assert (views.teacher.mixed.pseudo_m.labels != IGNORE).all()
    assert model.pseudo_label.valid_nodes(views.batch.unlabeled.valid_u, (4, 4)) is None


# -- what cannot serve -----------------------------------------------------------------------------


def test_without_an_embedding_there_is_classmix_alone():
    objectives = [
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', w_inter=0.0, w_intra=0.0, tau_omega=1.02 / K),
    ]
    model = tiny_model('mllc', head='DeepLabV3PlusHead', objectives=objectives, dropout=0.0)
    losses, seen = watched(model)
    views = seen['views']
    assert seen['levels_m'][0].logits is views.student.mixed.logits and len(seen['levels_m']) == 1
    assert 'mllc.loss_sup' not in losses and 'mllc.loss_inter' not in losses
    assert torch.equal(
        views.teacher.pseudo_u.labels[views.batch.unlabeled.valid_u],
        up(views.teacher.weak.logits, (32, 32)).argmax(dim=1)[views.batch.unlabeled.valid_u],
    )
    assert not list(model.objectives[1].buffers())


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(pseudo_label=dict(type='ConfidenceThreshold')), "pseudo_label=dict\\(type='Trained"),
        (dict(head='DeepLabV3PlusHead'), 'DeepLabV3PlusHead has no embedding'),
        (
            dict(pseudo_label=dict(type='TrainedGraphCorrection', num_classes=5)),
            'model.pseudo_label.num_classes=5',
        ),
    ],
)
def test_recipes_that_cannot_serve(changes, message):
    with pytest.raises(SetupError, match=message):
        tiny_model('mllc', **changes)


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(omega_mode='other'), "omega_mode='other'"),
        (dict(banks='two'), "banks='two'"),
        (dict(w_inter=-1.0), "'w_inter': -1"),
        (dict(tau_omega=1.5), 'tau_omega=1.5'),
        (dict(inter_start=-1), 'inter_start=-1'),
        (dict(bank_momentum=1.0), 'bank_momentum=1'),
    ],
)
def test_values_out_of_range(wrong, message):
    objectives = [dict(type='SupervisedObjective'), dict(type='MLLCObjective', **wrong)]
    with pytest.raises(SetupError, match=message):
        tiny_model('mllc', objectives=objectives)


# -- correction alone, for other recipes -----------------------------------------------------------


@pytest.mark.parametrize('method', ['fixmatch', 'ddfp'])
def test_correction_without_layers_labels_for_other_methods(method):
    labeler = dict(
        type='GraphCorrection',
        num_classes=K,
        stride=4,
        tau=1.05 / K,
        graph=dict(top_k=5),
        label=dict(type='ConfidenceThreshold', threshold=0.0),
    )
    model = tiny_model(method, pseudo_label=labeler, dropout=0.0)
    assert not list(model.pseudo_label.parameters())
    model.start_step(LATE)
    data = model.data_preprocessor(tiny_batch(), training=True)
    losses = model.loss(data['inputs'], data['data_samples'])
    views = model.last_views
    rows = views.teacher.weak
    features = rows.features
    eta = torch.zeros(K).double()
    valid = at_nodes(views.batch.unlabeled.valid_u, features.shape[2:])
    levels = run_rounds(
        model.pseudo_label.rounds, Level(rows.logits, features), eta, valid, last_features=False
    )
    prediction = up(levels[2].logits, (32, 32)).argmax(dim=1)
    assert torch.equal(
        views.teacher.pseudo_u.labels[views.batch.unlabeled.valid_u],
        prediction[views.batch.unlabeled.valid_u],
    )
    assert (views.teacher.pseudo_u.labels[~views.batch.unlabeled.valid_u] == IGNORE).all()
    assert float(losses['selftrain.loss']) > 0
    model.finish_step()
    # the teacher's labelled rows and its weak ones
    assert 0 < model.pseudo_label.thresholds.counts.sum() <= 4 * 32 * 32
    loop = TinyLoop(model)
    loop.iter = LATE + 1  # a step whose log line is printed
    log = loop.step()
    assert 0 <= log['pseudo.accuracy_2'] <= 1 and log['pseudo.righted_1'] >= 0
    assert 0 < log['pseudo.threshold'] <= 1.05 / K


def test_answers_finer_than_their_features_are_averaged_to_the_nodes():
    """CCT's decoder predicts every pixel, on features at stride 8."""
    labeler = dict(type='GraphCorrection', num_classes=K, stride=8, graph=dict(top_k=3))
    model = tiny_model('fixmatch', head='CCTHead', pseudo_label=labeler, dropout=0.0)
    tiny_losses(model, LATE)
    rows, views = model.last_views.teacher.weak, model.last_views
    logits = rows.logits.unflatten(3, (4, 8)).unflatten(2, (4, 8))
    own = at_nodes(views.batch.unlabeled.valid_u, rows.logits.shape[2:])[:, None].unflatten(
        3, (4, 8)
    )
    own = own.unflatten(2, (4, 8)).float()
    means = (logits * own).sum(dim=(3, 5)) / own.sum(dim=(3, 5)).clamp(min=1)
    levels = views.teacher.levels
    assert torch.allclose(levels[0].logits, means, atol=1e-5)
    assert levels[0].features is rows.features and levels[2].logits.shape == means.shape
    finer = GraphCorrection(stride=2)
    finer.bind(model.bound)
    with pytest.raises(SetupError, match='give the coarser stride'):
        finer.levels(rows, views.batch.unlabeled.valid_u)


def test_coarse_graphs_add_what_they_change():
    labeler = dict(type='GraphCorrection', num_classes=K, stride=16, graph=dict(top_k=2), rounds=1)
    model = tiny_model('fixmatch', pseudo_label=labeler, dropout=0.0)
    tiny_losses(model, LATE)
    rows, correction = model.last_views.teacher.weak, model.pseudo_label
    levels = model.last_views.teacher.levels
    predictions = correction.corrected(rows, levels)
    assert predictions[0] is rows.logits and levels[1].logits.shape[2:] == (2, 2)
    change = levels[1].logits - levels[0].logits
    assert torch.allclose(
        predictions[1] - rows.logits, up(change, rows.logits.shape[2:]), atol=1e-6
    )


@pytest.mark.parametrize('method', ['mllc', 'mllc_reference'])
def test_dgcl_beside_mllc_leaves_it_its_embedding(method):
    """Two narrow maps of the same features: the head's, which graphs and prototypes read, and DGCL's projection."""
    alone = tiny_recipe(method, dropout=0.0)
    contrast = tiny_recipe('dgcl')['objectives'][-1]
    contrast.update(projection_channels=6, weight=0.5)
    # banks that fill in a step, of whatever the teacher says
    contrast.update(bank_size=6, density_after=4, uncertain=0.0)
    runs = []
    for objectives in (alone['objectives'], [*alone['objectives'], contrast]):
        model = tiny_model(method, dropout=0.0, objectives=copy.deepcopy(objectives))
        loop = TinyLoop(model)
        losses = tiny_losses(model, 0)
        runs.append({name: value.item() for name, value in losses.items()})
    assert {name: runs[1][name] for name in runs[0]} == runs[0]
    views = model.last_views
    assert (
        views.student.weak.embedding.shape[1] == 8 and views.student.weak.projection.shape[1] == 6
    )
    assert all(math.isfinite(value) for _ in range(4) for value in loop.step().values())
    assert loop.step()['dgcl.loss'] > 0
    for part in ('conv_embedding.', 'objectives.2.projection.'):
        own = [p for name, p in model.named_parameters() if part in name and 'teacher' not in name]
        assert own and all(p.grad is not None and p.grad.any() for p in own), part


@pytest.mark.parametrize('method', ['mllc', 'mllc_reference'])
def test_cct_beside_mllc(method):
    """Its decoders take stage 1's output, of which DeepLabV2's head has more channels than before its classifier."""
    objectives = [*tiny_recipe(method)['objectives'], tiny_recipe('cct')['objectives'][-1]]
    model = tiny_model(method, objectives=objectives)
    loop = TinyLoop(model)
    log = [loop.step() for _ in range(4)][-1]
    assert log['cct.loss'] > 0 and 'mllc.loss_clg' in log
    width = 64 if method == 'mllc_reference' else model.student.decode_head.fused_channels
    assert model.objectives[2].decoders[0].project.shape[2] == width
