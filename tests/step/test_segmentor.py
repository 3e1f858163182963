"""What a step computes, for whom, and what it must leave alone."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_semi import (
    CROP,
    METHODS,
    TinyLoop,
    snapshot,
    tiny_batch,
    tiny_head,
    tiny_losses,
    tiny_model,
    tiny_preprocessor,
    tiny_recipe,
    tiny_student,
)
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.segmentor import NonFiniteLossError

UNSURE = dict(type='ConfidenceThreshold', threshold=1.0)  # nothing is ever confident
LAST = 4  # iteration in which all objectives of all recipes are active


def views_of(model, iteration: int, batch: dict | None = None, seed: int = 0):
    """The views and the losses of one step."""
    losses = tiny_losses(model, iteration, batch, seed)
    return model.last_views, losses


def total(losses: dict) -> torch.Tensor:
    return sum(value for key, value in losses.items() if 'loss' in key)


class Calls:
    """Inputs and training modes of a network's backbone, call by call."""

    def __init__(self, network: nn.Module) -> None:
        self.images, self.modes, self.grad = [], [], []
        network.backbone.register_forward_hook(self._note)

    def _note(self, module, args, output) -> None:
        self.images.append(args[0].detach().clone())
        self.modes.append(module.training)
        self.grad.append(torch.is_grad_enabled())

    @property
    def rows(self) -> list[int]:
        return [len(images) for images in self.images]


class Forbidden(nn.Module):
    def __getattr__(self, name):
        raise AssertionError(f'{name}: was not asked for')


@MODELS.register_module()
class _WeakObjective(Objective):
    """Asks for student rows of the weak view, as entropy minimisation would."""

    all_needs = Needs(labeled=True, weak=True)

    def compute(self, views):
        assert views.student.mixed is None and views.teacher is None
        return {'loss': views.student.weak.logits.square().mean()}


@MODELS.register_module()
class _WeakFeaturesObjective(Objective):
    """Learns from features of the weak view, against the head's own prediction."""

    all_needs = Needs(weak_features=True)

    def compute(self, views):
        return {'loss': views.student.weak.fused.square().mean()}


# -- what no objective asks for is not computed --------------------------------------------------------


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Equal up to 1e-5 of the largest value: the order in which kernels sum."""
    return bool((first - second).abs().max() <= 1e-5 * second.abs().max().clamp(min=1e-3))


@pytest.mark.parametrize('memory_format', ['contiguous', 'channels_last'])
def test_supervised_only_is_the_plain_segmentor(memory_format):
    model = tiny_model(
        'supervised',
        memory_format=memory_format,
        student=tiny_student(dropout=0.1)
        | dict(
            auxiliary_head=[
                tiny_head('FCNHead', in_channels=32, in_index=2),
                tiny_head('FCNHead', in_channels=16, in_index=1),
            ]
        ),
    )
    assert model.teacher is None and set(model.networks) == {'student'}
    plain = copy.deepcopy(model.student)
    batch = tiny_batch(2, 0)
    calls = Calls(model.student)
    views, losses = views_of(model, 0, batch)
    assert calls.rows == [2] and calls.grad == [True]
    assert views.batch.unlabeled is None and views.teacher is None
    torch.manual_seed(0)
    model.start_step(0)  # the same dropout
    data = model.data_preprocessor(batch, training=True)
    expected = plain.loss(data['inputs']['labeled'], data['data_samples']['labeled'])
    assert {f'sup.{key}' for key in expected} == set(losses)
    same = torch.equal if memory_format == 'contiguous' else close
    for key, value in expected.items():
        assert same(losses[f'sup.{key}'].reshape(-1), value.reshape(-1)), key
    total(losses).backward()
    total(expected).backward()
    pairs = zip(model.student.named_parameters(), plain.parameters(), strict=True)
    assert all(same(mine.grad, theirs.grad) for (_, mine), theirs in pairs)
    buffers = zip(model.student.buffers(), plain.buffers(), strict=True)
    assert all(same(mine, theirs) for mine, theirs in buffers)


@pytest.mark.parametrize('method', ['fixmatch', 'ddfp'])
def test_in_the_first_phase_only_labelled_images_pass(method):
    model = tiny_model(method)
    model.mixing = model.pseudo_label = Forbidden()
    student, teacher = Calls(model.student), Calls(model.teacher)
    views, losses = views_of(model, 1)
    assert student.rows == [2] and not teacher.rows
    assert torch.equal(student.images[0], views.batch.img_l)
    assert not any(key.startswith('selftrain') for key in losses)


@pytest.mark.parametrize('rows', ['labeled+weak', 'weak'])
@pytest.mark.parametrize('forward', ['joint', 'stream'])
def test_every_image_passes_the_student_once(rows, forward):
    model = tiny_model('fixmatch', teacher=dict(rows=rows), forward=forward)
    student, teacher = Calls(model.student), Calls(model.teacher)
    views, _ = views_of(model, 2, tiny_batch(2, 3))
    calls = [2, 3] if forward == 'stream' else [5]
    assert student.rows == calls and student.grad == [True] * len(calls)
    assert torch.equal(
        torch.cat(student.images), torch.cat([views.batch.img_l, views.teacher.mixed.img_u_m])
    )
    assert teacher.grad == [False]
    labelled = [views.batch.img_l] if rows == 'labeled+weak' else []
    assert torch.equal(teacher.images[0], torch.cat([*labelled, views.batch.unlabeled.img_u_w]))
    assert (views.teacher.labeled is None) == (rows == 'weak')
    assert views.teacher.weak.features is None and views.student.weak is None
    for segment, count in ((views.student.labeled, 2), (views.student.mixed, 3)):
        for tensor in (segment.fused, segment.lifted, segment.features, segment.logits):
            assert len(tensor) == count and tensor.requires_grad
        assert [len(level) for level in segment.backbone] == [count] * 4


@pytest.mark.parametrize('method', ['ddfp', 'ddfp_reference'])
def test_ddfp_costs_no_further_rows(method):
    model = tiny_model(method)
    teacher = Calls(model.teacher)
    student = Calls(model.student)
    views, losses = views_of(model, LAST)
    assert student.rows == [4] and teacher.rows == [4]
    assert len(views.teacher.weak.features) == len(views.teacher.labeled.features) == 2
    assert {'sup.decode.loss_ce', 'selftrain.loss', 'ddfp.loss'} <= set(losses)


def test_flow_alone_needs_the_teacher_but_no_strong_view():
    model = tiny_model('ddfp')
    model.objectives[1].weight = lambda time: 0.0
    model.mixing = model.pseudo_label = Forbidden()
    student, teacher = Calls(model.student), Calls(model.teacher)
    views, _ = views_of(model, 2)
    assert student.rows == [2] and teacher.rows == [4]
    assert views.teacher.weak.features is not None


@pytest.mark.parametrize('forward', ['joint', 'stream'])
def test_an_objective_may_ask_for_weak_rows(forward):
    objectives = [dict(type='SupervisedObjective'), dict(type='_WeakObjective', name='weak')]
    model = tiny_model('supervised', objectives=objectives, forward=forward)
    student = Calls(model.student)
    views, losses = views_of(model, 0, tiny_batch(2, 3))
    assert student.rows == ([5] if forward == 'joint' else [2, 3])
    assert torch.equal(
        torch.cat(student.images), torch.cat([views.batch.img_l, views.batch.unlabeled.img_u_w])
    )
    assert losses['weak.loss'].item() > 0


@pytest.mark.parametrize('also_weak', [False, True])
@pytest.mark.parametrize('forward', ['joint', 'stream'])
@pytest.mark.parametrize('head', ['DeepLabV3PlusHead', 'SegformerHead'])
def test_features_may_be_learned_from_while_the_answer_is_not(head, forward, also_weak):
    objectives = [
        dict(type='SupervisedObjective'),
        dict(type='_WeakFeaturesObjective', name='features'),
        *[dict(type='_WeakObjective', name='weak')] * also_weak,
    ]
    model = tiny_model('supervised', head=head, objectives=objectives, forward=forward, dropout=0.0)
    student = Calls(model.student)
    views, losses = views_of(model, 0, tiny_batch(2, 3))
    assert student.rows == ([5] if forward == 'joint' else [2, 3])
    assert torch.equal(
        torch.cat(student.images), torch.cat([views.batch.img_l, views.batch.unlabeled.img_u_w])
    )
    weak, labelled = views.student.weak, views.student.labeled
    assert len(weak.fused) == len(weak.lifted) == len(weak.logits) == 3
    assert weak.fused.requires_grad and labelled.logits.requires_grad and len(labelled.logits) == 2
    assert weak.logits.requires_grad == also_weak
    # the prediction is the same function of the features, norms apart
    if head == 'SegformerHead':
        assert torch.equal(model.stages.finish(weak.lifted).logits, weak.logits)
    classifier = model.student.decode_head.conv_seg.weight
    losses['features.loss'].backward(retain_graph=True)
    assert classifier.grad is None
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0


def test_joint_and_stream_differ_by_batch_statistics_only():
    found = {}
    for norm in ('GN', 'BN'):
        for forward in ('joint', 'stream'):
            model = tiny_model('fixmatch', norm=norm, dropout=0.0, forward=forward)
            _, losses = views_of(model, 2)
            total(losses).backward()
            weight = model.student.backbone.stem[0].weight
            found[norm, forward] = torch.cat([total(losses).reshape(1), weight.grad.flatten()])
    gap = {
        norm: (found[norm, 'joint'] - found[norm, 'stream']).abs().max().item()
        for norm in ('GN', 'BN')
    }
    assert gap['GN'] < 1e-5 < 1e-3 < gap['BN']


@pytest.mark.parametrize(
    ('segments', 'remembered'),
    [
        (None, ['labeled', 'mixed']),
        (['labeled'], ['labeled']),
        (['labeled', 'weak'], ['labeled', 'weak']),
        (['labeled', 'mixed', 'weak'], ['labeled', 'mixed', 'weak']),
    ],
)
def test_norms_remember_the_named_segments_alone(segments, remembered):
    found = []
    for running_stats in (segments, None):
        model = tiny_model(
            'fixmatch', norm='BN', dropout=0.0, forward='stream', running_stats=running_stats
        )
        views, losses = views_of(model, 2, tiny_batch(2, 3))
        total(losses).backward()
        found.append((model, views, total(losses).detach()))
    (model, views, loss), (plain, _, plain_loss) = found
    images = dict(
        labeled=views.batch.img_l,
        mixed=views.teacher.mixed.img_u_m,
        weak=views.batch.unlabeled.img_u_w,
    )
    conv, norm = model.student.backbone.stem[:2]
    expected = torch.zeros(norm.num_features, dtype=torch.float64)
    for name in remembered:
        mean = F.conv2d(
            images[name].double(), conv.weight.double(), None, conv.stride, conv.padding
        ).mean(dim=(0, 2, 3))
        expected = (1 - norm.momentum) * expected + norm.momentum * mean
    assert torch.allclose(norm.running_mean.double(), expected, atol=1e-6)
    norms = [m for m in model.student.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) > 3
    assert {int(m.num_batches_tracked) for m in norms} == {len(remembered)}
    assert {m.momentum for m in norms} == {0.1}
    # what is learned is the same: every segment is normalised by its own batch
    assert loss == plain_loss
    for mine, other in zip(model.student.parameters(), plain.student.parameters(), strict=True):
        assert (mine.grad is None and other.grad is None) or torch.equal(mine.grad, other.grad)


@pytest.mark.parametrize(
    ('segments', 'forward', 'words'),
    [
        ('labeled', 'stream', 'expected None or a list of labeled, mixed, weak'),
        (['mixed'], 'stream', 'with labeled among them'),
        (['labeled', 'strong'], 'stream', 'expected None or a list'),
        (['labeled'], 'joint', "needs model.forward='stream'"),
    ],
)
def test_segments_that_no_norm_can_remember(segments, forward, words):
    with pytest.raises(SetupError, match=words):
        tiny_model('fixmatch', running_stats=segments, forward=forward)


# -- the views -----------------------------------------------------------------------------------


def test_pseudo_labels_are_the_teachers_answer_at_image_size():
    model = tiny_model('fixmatch')
    nn.init.normal_(model.teacher.decode_head.conv_seg.weight)
    views, _ = views_of(model, 2)
    with torch.no_grad():
        plain = copy.deepcopy(model.teacher).eval()
        logits = plain._forward(views.batch.unlabeled.img_u_w)
        logits = F.interpolate(logits, (CROP, CROP), mode='bilinear', align_corners=True)
        confidence, labels = logits.softmax(dim=1).max(dim=1)
    threshold = 1.05 / 3
    clear = (confidence - threshold).abs() > 1e-5
    expected = labels.masked_fill(
        (confidence <= threshold) | ~views.batch.unlabeled.valid_u, IGNORE
    )
    assert torch.equal(views.teacher.pseudo_u.labels[clear], expected[clear])
    assert (
        views.teacher.pseudo_u.confidence - confidence * views.batch.unlabeled.valid_u
    ).abs().max() < 1e-5
    assert (views.teacher.pseudo_u.labels[~views.batch.unlabeled.valid_u] == IGNORE).all()
    assert (~views.batch.unlabeled.valid_u).any() and (expected != IGNORE).any()


def test_without_mixing_the_student_sees_the_strong_view():
    model = tiny_model('fixmatch', mixing=None)
    views, _ = views_of(model, 2)
    mixed, strong = views.teacher.mixed, views.batch.unlabeled.img_u_s
    assert mixed.img_u_m is strong and mixed.pseudo_m is views.teacher.pseudo_u
    assert not torch.equal(views.batch.unlabeled.img_u_s, views.batch.unlabeled.img_u_w)


def test_time_is_counted_in_epochs_and_draws_follow_from_seed_rank_and_iteration():
    model = tiny_model('fixmatch', mixing=dict(type='CutMix', prob=1.0))
    batch = tiny_batch()

    def mixed(iteration: int, seed: int = 0, rank: int = 0) -> torch.Tensor:
        model.start_step(iteration, seed, rank)
        data = model.data_preprocessor(copy.deepcopy(batch), training=True)
        model.loss(data['inputs'], data['data_samples'])
        assert model.last_views.batch.time == iteration / 2
        return model.last_views.teacher.mixed.img_u_m

    first = mixed(6)
    assert torch.equal(first, mixed(6))
    for other in (mixed(7), mixed(6, seed=1), mixed(6, rank=1)):
        assert not torch.equal(first, other)


@pytest.mark.parametrize('method', METHODS)
def test_a_step_repeats_bit_for_bit(method):
    logs = []
    for noise in (0, 1):
        model = tiny_model(method)
        torch.manual_seed(noise)  # whatever was drawn before
        logs.append(model.parse_losses(tiny_losses(model, LAST))[1])
    assert logs[0] == logs[1]


def test_watching_a_run_does_not_change_it():
    states = []
    for interval in (1, 1000):
        loop = TinyLoop(tiny_model('ddfp', monitor_interval=interval))
        for _ in range(6):
            loop.step()
        states.append(snapshot(loop.model))
    assert equal(*states)


def test_monitored_values_come_at_the_log_interval():
    model = tiny_model('ddfp', monitor_interval=3)
    for iteration in (4, 5, 6):
        _, losses = views_of(model, iteration)
        seen = {'selftrain.agreement', 'selftrain.accuracy', 'ddfp.density_drop'} & set(losses)
        assert len(seen) == (3 if iteration == 5 else 0)


# -- the teacher ---------------------------------------------------------------------------------


def test_the_teacher_begins_as_the_student():
    for method in ('fixmatch', 'ddfp_reference'):
        model = tiny_model(method)
        student, teacher = model.student.state_dict(), model.teacher.state_dict()
        assert student.keys() == teacher.keys()
        assert all(torch.equal(student[key], teacher[key]) for key in student)


def test_methods_that_share_a_seed_start_from_the_same_student():
    methods = ('supervised', 'fixmatch', 'ddfp', 'dgcl', 'ddfp_dgcl')
    students = [tiny_model(method, seed=7).student.state_dict() for method in methods]
    for other in students[1:]:
        assert other.keys() >= students[0].keys()  # DDFP's has auxiliary norms, DGCL's a projection
        assert all(torch.equal(students[0][key], other[key]) for key in students[0])


def test_an_averaged_teacher_has_weights_of_its_own_and_no_gradient():
    model = tiny_model('fixmatch')
    mine = {p.data_ptr() for p in model.teacher.parameters()}
    assert not mine & {p.data_ptr() for p in model.student.parameters()}
    assert not any(p.requires_grad for p in model.teacher.parameters())
    total(views_of(model, 2)[1]).backward()
    assert all(p.grad is None for p in model.teacher.parameters())


def test_a_shared_teacher_costs_no_second_copy():
    model = tiny_model('ddfp_reference')
    shared = zip(model.teacher.parameters(), model.student.parameters(), strict=True)
    assert all(mine is theirs for mine, theirs in shared)
    own = zip(model.teacher.buffers(), model.student.buffers(), strict=True)
    assert all(mine is not theirs for mine, theirs in own)
    counted = sum(p.numel() for p in model.parameters())
    density = sum(p.numel() for p in model.objectives[2].density.parameters())
    assert counted == sum(p.numel() for p in model.student.parameters()) + density
    # copying and loading keep the bond
    copied = copy.deepcopy(model)
    copied.load_state_dict(model.state_dict())
    pairs = zip(copied.teacher.parameters(), copied.student.parameters(), strict=True)
    assert all(mine is theirs for mine, theirs in pairs)
    assert {key.split('.')[0] for key in model.state_dict()} == {'student', 'teacher', 'objectives'}


@pytest.mark.parametrize('mode', ['eval', 'train'])
@pytest.mark.parametrize('weights', ['ema', 'shared', 'student'])
def test_the_teacher_keeps_its_recipes_mode(weights, mode):
    buffers = 'own' if mode == 'train' else 'copy'
    model = tiny_model('fixmatch', teacher=dict(weights=weights, mode=mode, buffers=buffers))
    calls = Calls(model.teacher_network)
    for _ in range(2):
        model.eval()
        assert not any(module.training for module in model.modules())
        model.train()  # as the runner does in front of every iteration
        assert model.student.training
        views, _ = views_of(model, 2)
        assert calls.modes[0] == (mode == 'train') and not calls.grad[0]
        assert all(module.training for module in model.student.modules())
        if weights != 'student':
            modes = {module.training for module in model.teacher.modules()}
            assert modes == {mode == 'train'}
            # batch statistics and dropout, or neither
            with torch.no_grad():
                again = model.teacher._forward(
                    torch.cat([views.batch.img_l, views.batch.unlabeled.img_u_w])
                )
            same = torch.equal(again[2:], views.teacher.weak.logits)
            assert same == (mode == 'eval')
        else:
            assert model.teacher is None and calls.modes == [mode == 'train', True]
        calls.modes.clear()


def buffers_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.named_buffers()}


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize('buffers', ['copy', 'average', 'own'])
@pytest.mark.parametrize('mode', ['eval', 'train'])
@pytest.mark.parametrize('weights', ['ema', 'shared'])
def test_buffers_of_the_teacher(weights, mode, buffers):
    recipe = dict(weights=weights, mode=mode, buffers=buffers, start=0)
    if mode == 'eval' and buffers == 'own':
        with pytest.raises(SetupError, match="buffers='own'"):
            tiny_model('fixmatch', teacher=recipe)
        return
    model = tiny_model('fixmatch', teacher=recipe)
    loop = TinyLoop(model, momentum=0.25)
    loop.iter = 2  # from here on the teacher labels
    for step in range(3):
        before = buffers_of(model.teacher)
        losses = tiny_losses(model, loop.iter, tiny_batch(seed=step))
        forward = buffers_of(model.teacher)
        assert equal(before, forward) == (mode == 'eval')
        total(losses).backward()
        loop.optimizer.step()
        decay = min(1 - 1 / (loop.iter + 1), 0.75)
        loop.finish()
        student, after = buffers_of(model.student), buffers_of(model.teacher)
        if buffers == 'copy':
            assert equal(after, student)
        elif buffers == 'own':
            assert equal(after, forward) and not equal(after, student)
        else:
            for key, value in after.items():
                expected = student[key]
                if value.is_floating_point():
                    expected = decay * forward[key].double() + (1 - decay) * student[key].double()
                assert (value - expected).abs().max() < 1e-5, key
        parameters = zip(model.teacher.parameters(), model.student.parameters(), strict=True)
        assert (weights == 'shared') == all(torch.equal(mine, s) for mine, s in parameters)


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_a_student_that_teaches_itself(mode):
    model = tiny_model('fixmatch', teacher=dict(weights='student', mode=mode, buffers='copy'))
    assert set(model.networks) == {'student'} and model.predicting_network == 'student'
    assert not any(key.startswith('teacher') for key in model.state_dict())
    before = model.student.backbone.stem[1].num_batches_tracked.item()
    TinyLoop(model).step()  # labels only
    views_of(model, 2)
    passes = model.student.backbone.stem[1].num_batches_tracked.item() - before
    assert passes == (2 if mode == 'eval' else 3)


def test_predicting_network_and_networks():
    predictions = {'supervised': 'student', 'fixmatch': 'teacher', 'ddfp_reference': 'student'}
    for method, prediction in predictions.items():
        model = tiny_model(method)
        assert model.predicting_network == prediction
        assert model.network() is model.network(prediction) is getattr(model, prediction)
        names = ['student'] if method == 'supervised' else ['teacher', 'student']
        assert list(model.networks) == names
        with pytest.raises(SetupError, match="network 'ema'"):
            model.network('ema')
    with pytest.raises(SetupError, match="network 'teacher'"):
        tiny_model('supervised').network('teacher')


# -- predictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('name', ['teacher', 'student'])
def test_predictions_are_those_of_the_plain_segmentor_bit_for_bit(name, mode):
    test_cfg = dict(mode='whole')
    if mode == 'slide':
        test_cfg = dict(mode='slide', crop_size=(24, 24), stride=(16, 16))
    # in another memory format kernels sum in another order
    model = tiny_model('ddfp', test_cfg=test_cfg, memory_format='contiguous')
    loop = TinyLoop(model)
    for _ in range(4):
        loop.step()
    model.eval()
    init_default_scope('mmseg')
    config = tiny_student(3, 'DDFPHead', split_norms=True) | dict(test_cfg=test_cfg)
    plain = MODELS.build(ConfigDict(config))
    plain.load_state_dict(getattr(model, name).state_dict(), strict=True)
    plain.eval()
    batch = tiny_batch(2, 0)
    data = dict(inputs=batch['inputs']['labeled'], data_samples=batch['data_samples']['labeled'])
    with torch.no_grad():
        inputs = model.data_preprocessor(data, training=False)['inputs']
        with model.predict_with(name):
            samples = model.test_step(copy.deepcopy(data))
            tensor = model(inputs, mode='tensor')
            levels = model.extract_feat(inputs)
        expected = plain.predict(inputs, copy.deepcopy(data['data_samples']))
        assert torch.equal(tensor, plain(inputs, mode='tensor'))
        assert all(map(torch.equal, levels, plain.extract_feat(inputs)))
    for mine, theirs in zip(samples, expected, strict=True):
        assert torch.equal(mine.seg_logits.data, theirs.seg_logits.data)
        assert torch.equal(mine.pred_sem_seg.data, theirs.pred_sem_seg.data)
    other = model.networks['student' if name == 'teacher' else 'teacher']
    assert not torch.equal(tensor, other(inputs, mode='tensor'))


def test_predict_with_ends_with_its_block():
    model = tiny_model('fixmatch').eval()
    nn.init.constant_(model.teacher.decode_head.conv_seg.bias, 1.0)
    image = torch.randn(1, 3, CROP, CROP)
    with torch.no_grad():
        prediction = model(image)
        with pytest.raises(ZeroDivisionError), model.predict_with('student'):
            assert torch.equal(model(image), model.student(image))
            raise ZeroDivisionError
        assert torch.equal(model(image), prediction) and not torch.equal(
            prediction, model.student(image)
        )
    with pytest.raises(SetupError), model.predict_with('neither'):
        pass


def test_evaluation_depends_neither_on_the_flow_nor_on_auxiliary_norms():
    model = tiny_model('ddfp').eval()
    image = torch.randn(1, 3, CROP, CROP)
    expected = model(image), model.student(image)
    for name, parameter in model.named_parameters():
        if 'aux_norm' in name or 'density' in name:
            nn.init.normal_(parameter)
    assert all(map(torch.equal, expected, (model(image), model.student(image))))


# -- losses that are not finite ------------------------------------------------------------------


def broken_weights(model) -> str:
    nn.init.constant_(model.student.decode_head.conv_seg.bias, math.nan)
    return 'sup.decode.loss_ce=nan'


def broken_objective(model) -> str:
    model.objectives[2].nll.fill_(math.inf)  # the flow of the step before
    return 'ddfp.bits_per_dim=inf'


@pytest.mark.parametrize('inject', [broken_weights, broken_objective])
def test_a_loss_that_is_not_finite_stops_before_anything_moves(inject):
    model = tiny_model('ddfp')
    loop = TinyLoop(model)
    for _ in range(LAST):
        loop.step()
    expected = inject(model)
    wrapper = OptimWrapper(torch.optim.SGD(model.student.parameters(), 0.1, momentum=0.9))
    parameters = [p for p in model.parameters()]
    before = [p.detach().clone() for p in parameters]
    model.start_step(LAST)
    with pytest.raises(NonFiniteLossError) as caught:
        model.train_step(tiny_batch(), wrapper)
    assert expected in str(caught.value)
    for path in ('l0.png', 'l1.png', 'u2.png', 'u3.png'):
        assert path in str(caught.value)
    assert all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, parameters, strict=True)
    )
    assert not wrapper.optimizer.state


def test_log_values_are_the_losses_in_numbers():
    model = tiny_model('ddfp')
    losses = tiny_losses(model, LAST)
    loss, log_values = model.parse_losses(losses)
    assert set(log_values) == {'loss'} | set(losses)
    assert all(type(value) is float for value in log_values.values())
    assert log_values['loss'] == pytest.approx(total(losses).item(), rel=1e-6)
    assert loss.requires_grad


# -- phases of the published recipe --------------------------------------------------------------


@pytest.mark.parametrize('method', ['ddfp', 'ddfp_reference'])
def test_phases(method, monkeypatch):
    model = tiny_model(method)
    loop = TinyLoop(model)
    ddfp = model.objectives[2]
    weights = []
    lengths = []
    perturb = ddfp.perturbation

    def note(*args):
        delta = perturb(*args)
        lengths.append(delta.norm(dim=1).max().item())
        return delta

    monkeypatch.setattr(ddfp, 'perturbation', note)
    for iteration in range(6):
        before = snapshot(ddfp.density)
        log = loop.step()
        moved = any(not torch.equal(before[key], v) for key, v in ddfp.density.state_dict().items())
        assert moved == (iteration >= 2), iteration  # invariant: no flow step in epoch 0
        assert len(lengths) == max(0, iteration - 3)  # and no perturbation before epoch 2
        assert (log['ddfp.bits_per_dim'] != 0) == (iteration >= 3)  # told one step later
        weights.append([o.weight(iteration / 2) for o in model.objectives])
        active = [
            key for key in ('sup.decode.loss_ce', 'selftrain.loss', 'ddfp.loss') if log.get(key)
        ]
        assert len(active) == (1, 1, 2, 2, 3, 3)[iteration]
    assert weights == [[1, 0, 0]] * 2 + [[1, 1, 0]] * 2 + [[1, 0.5, 0.5]] * 2
    assert lengths == pytest.approx([4.0, 4.0], rel=1e-4)


def test_weights_scale_the_losses():
    """The same step at both sides of the last milestone: self-training is halved, labels are not."""
    model = tiny_model('ddfp', dropout=0.0, mixing=None)
    model.objectives[2].weight = lambda time: 0.0  # the same forward pass at both times
    batch = tiny_batch()
    _, early = views_of(model, 3, batch)
    _, late = views_of(model, 4, batch)
    assert late['selftrain.loss'].item() == pytest.approx(0.5 * early['selftrain.loss'].item())
    assert late['sup.decode.loss_ce'].item() == early['sup.decode.loss_ce'].item()
    # what is no loss is not scaled
    assert late['selftrain.confident'].item() == early['selftrain.confident'].item() > 0


def test_released_warm_up_sends_half_of_the_rows_through_auxiliary_norms():
    model = tiny_model('ddfp_reference', dropout=0.0)
    norm = model.student.decode_head.norm1
    for iteration, rows in ((0, 1), (2, 2), (4, 4)):  # of the 2, 4 and 4 rows of the student
        norm.reset_running_stats()
        views, _ = views_of(model, iteration)
        segments = [s.lifted for s in (views.student.labeled, views.student.mixed) if s is not None]
        seen = torch.cat(segments)[:rows].double()
        assert (norm.running_mean - 0.1 * seen.mean(dim=(0, 2, 3))).abs().max() < 1e-6
        assert norm.num_batches_tracked == 1
    # the paper's reading sends none
    model = tiny_model('ddfp', dropout=0.0)
    model.student.decode_head.norm1.reset_running_stats()
    views, _ = views_of(model, 2)
    seen = torch.cat([views.student.labeled.lifted, views.student.mixed.lifted]).double()
    found = model.student.decode_head.norm1.running_mean
    assert (found - 0.1 * seen.mean(dim=(0, 2, 3))).abs().max() < 1e-6


# -- the perturbation ----------------------------------------------------------------------------


def test_main_statistics_do_not_depend_on_the_perturbed_rows():
    states = []
    for factor in (0.0, 1.0, 1e3):
        model = tiny_model('ddfp')
        ddfp = model.objectives[2]
        perturb = ddfp.perturbation
        ddfp.perturbation = lambda *a, perturb=perturb, factor=factor: factor * perturb(*a)
        views, losses = views_of(model, LAST)
        states.append((buffers_of(model.student), losses['ddfp.loss'].item()))
    assert equal(states[0][0], states[1][0]) and equal(states[0][0], states[2][0])
    assert len({loss for _, loss in states}) == 3


def test_the_perturbation_touches_nothing_and_trains_the_encoder():
    model = tiny_model('ddfp')
    ddfp = model.objectives[2]
    views, losses = views_of(model, LAST)
    assert all(p.grad is None for p in model.parameters())
    frozen = snapshot(model.teacher), snapshot(ddfp.density)
    confident = torch.ones(2, *views.student.mixed.lifted.shape[2:], dtype=torch.bool)
    delta = ddfp.perturbation(views.student.mixed.fused, views.student.mixed.lifted, confident)
    assert not delta.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert equal(frozen[0], model.teacher.state_dict()) and equal(
        frozen[1], ddfp.density.state_dict()
    )
    losses['ddfp.loss'].backward()
    for name in ('backbone.stem.0.weight', 'backbone.layer4.0.downsample.0.weight'):
        assert model.student.get_parameter(name).grad.abs().sum() > 0, name
    for name in ('conv1', 'aux_norm1', 'aux_norm2', 'conv_seg', 'low.0', 'bottleneck.0'):
        weight = model.student.decode_head.get_parameter(f'{name}.weight')
        assert weight.grad.abs().sum() > 0, name
    # the clean norms have no part in it
    assert model.student.decode_head.norm1.weight.grad is None
    assert all(p.grad is None for p in model.teacher.parameters())
    assert all(p.grad is None and not p.requires_grad for p in ddfp.density.parameters())


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('iteration', [0, 2, 4])
def test_every_trained_parameter_is_reached_in_every_phase(method, iteration):
    """DistributedDataParallel demands it: no find_unused_parameters."""
    model = tiny_model(method)
    total(tiny_losses(model, iteration)).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    owned = {name for name in trained if name.startswith('objectives.')}
    students = {f'student.{name}' for name, _ in model.student.named_parameters()}
    if model.peer is not None:
        students |= {f'peer.{name}' for name in students}
    assert trained - owned == students
    # CCT's auxiliary decoders; DGCL's and U2PL's projection, where the head has none
    own = {'cct': '.decoders.', 'ddfp_dgcl': '.projection.', 'u2pl': '.projection.'}.get(method)
    assert bool(owned) == bool(own) and all(own in name for name in owned)


@pytest.mark.parametrize('method', ['fixmatch', 'ddfp', 'ddfp_reference'])
def test_without_a_confident_pixel_unlabelled_losses_are_zero(method):
    model = tiny_model(method, pseudo_label=UNSURE)
    loop = TinyLoop(model)
    loop.iter = LAST
    losses = tiny_losses(model, LAST)
    names = ['selftrain.loss'] + (['ddfp.loss'] if 'ddfp' in method else [])
    for name in names:
        assert losses[name].item() == 0 and losses[name].requires_grad
    assert losses['selftrain.confident'] == 0
    unlabelled = sum(losses[name] for name in names)
    gradients = torch.autograd.grad(unlabelled, list(model.student.parameters()), allow_unused=True)
    assert all(g is None or torch.equal(g, torch.zeros_like(g)) for g in gradients)
    model.finish_step()
    log = loop.step()
    assert all(math.isfinite(value) for value in log.values()) and log['loss'] > 0


@pytest.mark.parametrize('method', METHODS)
def test_a_batch_of_padding_and_void_alone(method):
    batch = tiny_batch(padding=CROP)
    labels = batch['data_samples']['labeled'][0].gt_sem_seg.data
    assert (labels == IGNORE).all()
    model = tiny_model(method)
    loop = TinyLoop(model, lr=0.0)
    loop.iter = LAST
    density = snapshot(model.objectives[-1])
    log = loop.step(batch)
    assert log['loss'] == 0
    assert all(math.isfinite(value) for value in log.values())
    # no sample, so no gradient for the flow, and nothing for a bank; a projection's norm has seen a batch
    after = model.objectives[-1].state_dict()
    moving = ('running', 'num_batches', 'updates')
    fixed = [key for key in density if not any(word in key for word in moving)]
    assert all(torch.equal(density[key], after[key]) for key in fixed)
    assert all(math.isfinite(value) for value in loop.step().values())


@pytest.mark.parametrize('head', ['FCNHead', 'SegformerHead', 'PSPHead'])
@pytest.mark.parametrize('direction', ['density', 'random'])
def test_ddfp_with_a_head_that_is_not_ours(head, direction):
    recipe = tiny_recipe('ddfp', head=head)
    recipe['objectives'][2]['direction'] = direction
    everything = dict(type='ConfidenceThreshold', threshold=0.0)
    model = tiny_model('ddfp', head=head, objectives=recipe['objectives'], pseudo_label=everything)
    loop = TinyLoop(model)
    before = snapshot(model.student)
    for _ in range(6):
        log = loop.step()
    assert log['ddfp.loss'] > 0 and all(math.isfinite(value) for value in log.values())
    assert not equal(before, model.student.state_dict())
    views, losses = views_of(model, LAST)
    channels = model.student.decode_head.conv_seg.in_channels
    assert views.student.mixed.fused.shape[1] == channels == model.objectives[2].density.channels
    losses['ddfp.loss'].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0


# -- mistakes ------------------------------------------------------------------------------------


def objectives(**changes) -> list[dict]:
    """The objectives of DDFP with keys of its own one changed."""
    found = tiny_recipe('ddfp')['objectives']
    found[2] |= changes
    return found


MISTAKES = {
    'split_norms=True': dict(student=tiny_student(3, 'DeepLabV3PlusHead')),
    "'DDFPHead', split_norms=True": dict(student=tiny_student(3, 'DDFPHead')),
    'is odd': dict(student=tiny_student(3, 'FCNHead', channels=15)),
    "rows='weak'": dict(teacher=dict(rows='weak')),
    'needs a teacher': dict(teacher=None),
    'needs pseudo-labels': dict(pseudo_label=None),
    "model.forward='both'": dict(forward='both'),
    'iters_per_epoch=0': dict(iters_per_epoch=0),
    'monitor_interval=0': dict(monitor_interval=0),
    "model.teacher.weights='mean'": dict(teacher=dict(weights='mean')),
    "model.teacher.mode='test'": dict(teacher=dict(mode='test')),
    "model.teacher.buffers='ema'": dict(teacher=dict(buffers='ema')),
    "model.teacher.rows='all'": dict(teacher=dict(rows='all')),
    'start=-1': dict(teacher=dict(start=-1)),
    'momentum': dict(teacher=dict(momentum=0.1)),
    'model.init_cfg': dict(init_cfg=dict(type='Pretrained', checkpoint='x.pth')),
    'model.data_preprocessor is a SegData': dict(data_preprocessor=tiny_preprocessor()),
    'model.data_preprocessor is a Base': dict(data_preprocessor=None),
    'model.mixing.num_classes=4': dict(mixing=dict(type='ClassMix', num_classes=4)),
    r"names \['sup', 'sup'\]": dict(objectives=[dict(type='SupervisedObjective')] * 2),
    r'names \[\]': dict(objectives=[]),
    "contains 'loss'": dict(objectives=[dict(type='SupervisedObjective', name='my_loss')]),
    'eps=0': dict(objectives=objectives(eps=0)),
    'samples=0': dict(objectives=objectives(samples=0)),
    'noise=-1': dict(objectives=objectives(noise=-1)),
    'density_start=-1': dict(objectives=objectives(density_start=-1)),
    "divisor='mean'": dict(objectives=objectives(divisor='mean')),
    "direction='up'": dict(objectives=objectives(direction='up')),
    'ddfp.weight': dict(objectives=objectives(weight=-1)),
    'hidden_channels=0': dict(objectives=objectives(hidden_channels=0)),
}


@pytest.mark.parametrize('sentence', MISTAKES)
def test_a_recipe_that_cannot_work_is_refused(sentence):
    with pytest.raises(SetupError, match=sentence):
        tiny_model('ddfp', **MISTAKES[sentence])


def test_mistakes_that_only_a_batch_shows():
    model = tiny_model('fixmatch')
    data = model.data_preprocessor(tiny_batch(), training=True)
    with pytest.raises(SetupError, match='SemiStepHook'):
        model.loss(data['inputs'], data['data_samples'])
    with pytest.raises(SetupError, match='no unlabelled images'):
        tiny_losses(model, 2, tiny_batch(2, 0))
    mixed = tiny_batch()
    larger = tiny_batch(size=48)
    for branch in ('weak', 'strong'):
        for part in ('inputs', 'data_samples'):
            mixed[part][branch] = larger[part][branch]
    with pytest.raises(SetupError, match=r'\(32, 32\).*\(48, 48\)'):
        tiny_losses(model, 2, mixed)
    model = tiny_model('fixmatch', forward='stream', teacher=dict(rows='weak'))
    assert tiny_losses(model, 2, mixed)['selftrain.loss'].item() > 0
    for sample in mixed['data_samples']['weak'][2:]:
        del sample.valid_map
    with pytest.raises(SetupError, match='InitValidMap'):
        tiny_losses(model, 2, mixed)


def test_a_recipe_without_a_loss_says_so():
    weight = dict(type='Steps', values=[0.0, 1.0], milestones=[1])
    model = tiny_model('supervised', objectives=[dict(type='SupervisedObjective', weight=weight)])
    with pytest.raises(SetupError, match=r"no objective has a loss at iteration 1 .*\['sup'\]"):
        tiny_losses(model, 1)
    assert tiny_losses(model, 2)['sup.decode.loss_ce'].item() > 0
