"""CCT's objective against the plain loop over auxiliary decoders."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import cv2
import pytest
import torch
import torch.nn.functional as F
from tiny_semi import TinyLoop, tiny_batch, tiny_losses, tiny_model, tiny_recipe
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.cct.benchmarks import reference
from mmseg_semi.methods.cct.objective import PUBLISHED, CCTObjective
from mmseg_semi.methods.cct.perturbations import guided
from mmseg_semi.methods.cct.perturbations.guided import Guidance
from mmseg_semi.methods.cct.perturbations.modules import VirtualAdversarial
from mmseg_semi.runtime.measuring import trace_memory
from mmseg_semi.step.segmentor import NonFiniteLossError
from mmseg_semi.step.views import Batch, StepViews, StudentOutputs, StudentViews, UnlabeledBatch

K = 3
LAST = 4  # of the tiny recipe: the ramp is half way
ALL = [dict(type=kind['type'], count=1 + i % 2) for i, kind in enumerate(PUBLISHED)]
ALL[2]['min_vertices'] = 4
FEATURES = 16


def build(dtype=torch.float64, head: str = 'CCTHead', **changes) -> tuple[nn.Module, CCTObjective]:
    objectives = [
        dict(type='SupervisedObjective'),
        dict(type='CCTObjective', weight=1.0) | dict(perturbations=ALL) | changes,
    ]
    model = tiny_model('cct', head=head, objectives=objectives, dropout=0.0).to(dtype)
    return model, model.objectives[1]


def step(model: nn.Module, size=(32, 32), cell: int = 8, seed: int = 0) -> StepViews:
    """Views of a step: features with a graph down to themselves, the prediction to them without one."""
    draw = torch.Generator().manual_seed(seed)
    grid = [-(-extent // cell) for extent in size]
    dtype = next(model.parameters()).dtype
    fused = torch.rand(2, FEATURES, *grid, generator=draw, dtype=dtype).requires_grad_()
    with torch.no_grad():
        logits = model.stages.finish(fused).logits
        # without training the prediction is nearly uniform
        logits = 3 * torch.randn(logits.shape, generator=draw, dtype=dtype) + logits
    valid = torch.ones(2, *size, dtype=torch.bool)
    valid[0, :, size[1] - 5 :] = False
    batch = Batch(
        torch.empty(0),
        torch.empty(0),
        UnlabeledBatch(torch.empty(0), torch.empty(0), valid),
        iteration=LAST,
        time=2.0,
        generator=torch.Generator().manual_seed(seed),
        monitor=True,
    )
    outputs = StudentOutputs((), fused, fused, fused, logits)
    return StepViews(batch, student=StudentViews(weak=outputs))


def recorded(cct: CCTObjective) -> list:
    """The draws that the objective makes from now on, by decoder."""
    draws, original = [], cct.draw

    def note(module, decoders, *arguments):
        draw = original(module, decoders, *arguments)
        draws.extend((type(module).__name__, draw, k, decoders) for k in range(len(decoders)))
        return draw

    cct.draw = note
    return draws


def distance(name: str, scores: Tensor, target: Tensor) -> Tensor:
    """(N, H, W), summed over classes."""
    p, q = scores.softmax(dim=1), target
    m = (p + q) / 2
    if name == 'js_reversed':
        return (m * (m / p).log() + m * (m / (q + 1e-5)).log()).sum(dim=1) / 2
    if name == 'mse':
        return (p - q).square().sum(dim=1)
    if name == 'kl':
        return (q * (q.log() - p.log())).sum(dim=1)
    return ((p * (p / m).log() + q * (q / m).log()) / 2).sum(dim=1)


def plain_loop(
    cct: CCTObjective, views: StepViews, draws: list, name: str = 'mse', confidence: float = -1.0
) -> tuple[Tensor, dict[str, list[Tensor]], list[dict[str, Tensor]]]:
    """Every decoder by itself on a copy of the features, as the paper writes it: mean of the decoders' losses, what each
    type contributes, and the decoders' own weights."""
    z, valid = views.student.weak.fused, views.batch.unlabeled.valid_u
    target = views.student.weak.logits.softmax(dim=1)
    height, width = valid.shape[1:]
    target = target[:, :, :height, :width]
    counted = valid & (target.amax(dim=1) > confidence)

    def compare(scores: Tensor, target: Tensor) -> Tensor:
        apart = distance(name, scores[:, :, :height, :width], target) * counted
        return apart.sum() / (K * valid.sum())

    own = [decoders.single(k) for _, _, k, decoders in draws]
    seen = [partial(draw.apply, index=k) for _, draw, k, _ in draws]
    values = reference.plain_loop(z, target, zip(seen, own, strict=True), compare)
    kinds = {}
    for (kind, *_), value in zip(draws, values, strict=True):
        kinds.setdefault(kind, []).append(value)
    weights = [dict(decoder.named_parameters()) for decoder in own]
    return sum(values) / len(draws), kinds, weights


SETTINGS = [
    dict(distance='mse'),
    dict(distance='kl'),
    dict(distance='js'),
    dict(distance='js_reversed'),
    dict(distance='mse', confidence=0.6),
    dict(distance='js', confidence=0.6, divisor='confident'),
    dict(distance='mse', final_act=None, bias_init='uniform'),
    dict(distance='mse', compare_padding=True),
]


@pytest.mark.parametrize('size', [(32, 32), (37, 27)])
@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_the_loss_is_that_of_the_plain_loop(settings, size):
    """In values and in the gradients of features and of every decoder's weights."""
    model, cct = build(chunk=700, **settings)
    views = step(model, size)
    draws = recorded(cct)
    values = cct.compute(views)
    assert [draw[0] for draw in draws] == [k['type'] for k in ALL for _ in range(k['count'])]
    if settings.get('compare_padding'):
        views.batch.unlabeled.valid_u[:] = True
    confidence = settings.get('confidence', -1.0)
    expected, kinds, weights = plain_loop(cct, views, draws, settings['distance'], confidence)
    if settings.get('divisor') == 'confident':
        scale = 1 / values['confident'].double()
        expected = scale * expected
        kinds = {kind: [scale * value for value in own] for kind, own in kinds.items()}
    # (the share of confident pixels is a float32)
    close = 1e-6 if 'divisor' in settings else 1e-9
    assert values['loss'].item() == pytest.approx(expected.item(), rel=close)
    for kind, own in kinds.items():
        assert values[kind].item() == pytest.approx(torch.stack(own).mean().item(), rel=close)
    stacked = dict(cct.decoders.named_parameters())
    names = list(stacked)
    found = torch.autograd.grad(values['loss'], [views.student.weak.fused, *stacked.values()])
    theirs = torch.autograd.grad(
        expected, [views.student.weak.fused, *(w for own in weights for w in own.values())]
    )
    assert (found[0] - theirs[0]).abs().max() < close * theirs[0].abs().max()
    found, theirs = dict(zip(names, found[1:], strict=True)), list(theirs[1:])
    for _, _, k, decoders in draws:
        stack = next(i for i, own in enumerate(cct.decoders) if own is decoders)
        for key in decoders.single(k).state_dict():
            kind, _, rest = key.partition('.')
            index, _, what = rest.partition('.')
            own = 'project' if kind == 'project' else f'{what}s'.replace('biass', 'biases')
            path = f'{stack}.project' if kind == 'project' else f'{stack}.{own}.{index}'
            gradient = theirs.pop(0)
            mine = found[path][k].view_as(gradient)
            assert (mine - gradient).abs().max() < close * gradient.abs().max().clamp(min=1e-12)
    assert not theirs


def test_the_published_thirty():
    assert sum(kind['count'] for kind in PUBLISHED) == 30
    model, cct = build(perturbations=None)
    assert cct.counts == [2, 6, 6, 2, 2, 6, 6] and sum(map(len, cct.decoders)) == 30
    counts = [sum(p.numel() for p in stack.parameters()) // len(stack) for stack in cct.decoders]
    assert counts == [FEATURES * K + 3 * (4 * K**2 + 4 * K)] * 7


def test_the_share_of_confident_pixels():
    model, cct = build(confidence=0.6)
    views = step(model)
    confident = (
        views.student.weak.logits.softmax(dim=1).amax(dim=1) > 0.6
    ) & views.batch.unlabeled.valid_u
    share = (confident.sum() / views.batch.unlabeled.valid_u.sum()).item()
    assert 0.2 < share < 0.95
    assert cct.compute(views)['confident'].item() == pytest.approx(share)


def test_two_entries_of_one_type_are_logged_as_their_decoders_mean():
    kinds = [dict(type='FeatureNoise', count=n, uniform_range=r) for n, r in ((1, 0.1), (3, 0.9))]
    model, cct = build(perturbations=kinds)
    views = step(model)
    draws = recorded(cct)
    values = cct.compute(views)
    _, found, _ = plain_loop(cct, views, draws)
    assert len(found['FeatureNoise']) == 4
    expected = torch.stack(found['FeatureNoise']).mean().item()
    assert values['FeatureNoise'].item() == pytest.approx(expected, rel=1e-9)
    assert values['loss'].item() == pytest.approx(expected, rel=1e-9)


def test_every_class_may_be_an_object():
    model, cct = build(background_classes=())
    views = step(model)
    guidance = Guidance(views.student.weak.logits, views.batch.generator, background_classes=())
    assert guidance.foreground.all()
    assert math.isfinite(cct.compute(views)['loss'].item())


def test_a_threshold_of_zero_is_no_mask():
    for divisor in ('valid', 'confident'):
        losses = []
        for confidence in (None, 0.0):
            model, cct = build(distance='kl', confidence=confidence, divisor=divisor)
            losses.append(cct.compute(step(model))['loss'].item())
        assert losses[0] == losses[1]


def test_padding_is_not_compared_unless_asked_for():
    model, cct = build()
    views = step(model)
    before = cct.compute(views)['loss'].item()
    views.student.weak.logits[0, :, :, -5:] += torch.randn(K, 32, 5, dtype=torch.float64)
    views.batch.generator.manual_seed(0)
    assert cct.compute(views)['loss'].item() == pytest.approx(before, rel=1e-2)  # objects moved

    def all_noise(**changes) -> tuple[float, float]:
        model, cct = build(perturbations=[dict(type='FeatureNoise')], **changes)
        views, found = step(model), []
        for shift in (0.0, 5.0):
            views.student.weak.logits[0, 0, :, -5:] += shift
            views.batch.generator.manual_seed(0)
            found.append(cct.compute(views)['loss'].item())
        return tuple(found)

    one, other = all_noise()
    assert one == other
    one, other = all_noise(compare_padding=True)
    assert abs(one - other) > 1e-4


def test_only_padding_is_zero_with_a_graph():
    model, cct = build()
    views = step(model)
    views.batch.unlabeled.valid_u[:] = False
    loss = cct.compute(views)['loss']
    assert loss.item() == 0
    inputs = [views.student.weak.fused, *cct.parameters()]
    for gradient in torch.autograd.grad(loss, inputs):
        assert torch.equal(gradient, torch.zeros_like(gradient))


# -- who learns what -----------------------------------------------------------------------------


def test_gradients_go_where_the_paper_says():
    """Labels: encoder and main decoder. Consistency: auxiliary decoders and encoder, never the main decoder."""
    model, cct = build(torch.float32)
    losses = tiny_losses(model, LAST)
    views = model.last_views
    assert views.student.weak.fused.requires_grad and not views.student.weak.logits.requires_grad
    student = model.student
    encoder = [
        *student.backbone.parameters(),
        *student.decode_head.psp_modules.parameters(),
        *student.decode_head.bottleneck.parameters(),
    ]
    main, auxiliary = [*student.decode_head.conv_seg.parameters()], [*cct.parameters()]
    assert len(encoder) + len(main) == len([*student.parameters()])

    def reached(loss, parameters) -> list[bool]:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return [g is not None and bool(g.abs().sum() > 0) for g in found]

    supervised, unsupervised = losses['sup.decode.loss_ce'], losses['cct.loss']
    assert not any(reached(supervised, auxiliary))
    found = torch.autograd.grad(unsupervised, main, retain_graph=True, allow_unused=True)
    assert found == (None,) * len(main)
    assert all(reached(supervised, main))
    # of three classes, a decoder that is not trained yet may have none above 0; without an object those of the context see
    # nothing
    assert sum(reached(unsupervised, auxiliary)) > 0.75 * len(auxiliary)
    # (new residual branches end in a norm of weight 0)
    places = ('backbone.stem.0', 'backbone.layer4.0.downsample.0', 'decode_head.bottleneck.conv')
    encoder = [student.get_parameter(f'{place}.weight') for place in places]
    assert all(reached(supervised, encoder)) and all(reached(unsupervised, encoder))


@pytest.mark.parametrize('forward', ['joint', 'stream'])
def test_the_main_decoder_is_spared_where_others_learn_from_the_weak_answer(forward):
    """DGCL's rows of the weak view carry a graph; CCT's target and its perturbations' guidance take none of it."""
    recipe = tiny_recipe('dgcl', head='CCTHead')
    own = dict(type='CCTObjective', weight=1.0, perturbations=ALL)
    model = tiny_model(
        'dgcl',
        head='CCTHead',
        dropout=0.0,
        forward=forward,
        objectives=[*recipe['objectives'], own],
    )
    losses = tiny_losses(model, LAST)
    views = model.last_views
    assert views.student.weak.logits.requires_grad
    head = model.student.decode_head
    main = [*head.conv_seg.parameters()]
    found = torch.autograd.grad(losses['cct.loss'], main, retain_graph=True, allow_unused=True)
    assert found == (None,) * len(main)
    losses['cct.loss'].backward()
    assert head.bottleneck.conv.weight.grad.abs().sum() > 0
    guidance = Guidance(views.student.weak.logits, views.batch.generator)
    assert not guidance.logits.requires_grad and not guidance.foreground.requires_grad
    cct = model.objectives[-1]
    for part in cct.target(views, cct._compared(views)):
        assert not part.requires_grad


class Waits(TorchDispatchMode):
    """Notes what a host would have to wait for on a GPU: values that decide a shape or a number of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = func is torch.ops.aten.index.Tensor and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        own = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*func.tags}
        if masks or (own and func is not torch.ops.aten.index.Tensor):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('monitor', [False, True])
def test_the_device_is_not_waited_for(monkeypatch, monitor):
    """But for the outlines of objects: the prediction goes to the host once."""
    model, cct = build(torch.float32, confidence=0.5)
    views = step(model)
    views = replace(views, batch=replace(views.batch, monitor=monitor))
    outlined, original = [], guided.object_boxes

    def outline(*arguments):
        outlined.append(arguments)
        with torch.utils._python_dispatch._disable_current_modes():
            return original(*arguments)

    monkeypatch.setattr(guided, 'object_boxes', outline)
    with Waits() as mode:
        values = cct.compute(views)
        values['loss'].backward()
        assert not mode.found
        bool(values['loss'] > 0)
        views.batch.unlabeled.valid_u[views.batch.unlabeled.valid_u]
    assert len(mode.found) == 2  # it sees them
    assert len(outlined) == 1


def test_a_loss_that_is_not_finite():
    model, cct = build(torch.float32)
    loop = TinyLoop(model, lr=1e30)
    loop.iter = LAST
    with pytest.raises(NonFiniteLossError, match=r'cct\.loss=(nan|inf).*l0\.png.*u3\.png'):
        for _ in range(3):
            before = [parameter.clone() for parameter in model.parameters()]
            loop.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter.nan_to_num(), old.nan_to_num())


def test_images_pass_in_a_call_for_each_stream():
    """Labelled first; each moves the running statistics by its own."""
    model, _ = build(torch.float32)
    calls = []
    model.student.backbone.register_forward_hook(lambda m, x, y: calls.append(x[0]))
    tiny_losses(model, LAST, tiny_batch(2, 3))
    views = model.last_views
    assert len(calls) == 2
    assert torch.equal(calls[0], views.batch.img_l) and torch.equal(
        calls[1], views.batch.unlabeled.img_u_w
    )
    assert model.student.backbone.stem[1].num_batches_tracked == 2
    assert model.teacher is None and views.teacher is None


def test_before_its_start_nothing_is_asked_for():
    model = tiny_model('cct')
    calls = []
    model.student.backbone.register_forward_hook(lambda m, x, y: calls.append(len(x[0])))
    losses = tiny_losses(model, 0)
    assert calls == [2] and losses['cct.loss'].item() == 0
    losses['cct.loss'].backward()
    for parameter in model.objectives[1].parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_gradients_are_accumulated():
    """Over two steps without an optimiser between them, exactly the sum; the adversarial step erases nothing."""
    found = []
    for steps in ([4], [5], [4, 5]):
        model, cct = build(torch.float32)
        model.student.requires_grad_(True)
        for module in model.student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0
        for iteration in steps:
            sum(v for k, v in tiny_losses(model, iteration).items() if 'loss' in k).backward()
        found.append([p.grad.clone() for p in (*cct.parameters(), *model.student.parameters())])
    for one, two, both in zip(*found, strict=True):
        assert (one + two - both).abs().max() <= 1e-5 * both.abs().max().clamp(min=1e-6)


def test_objects_are_outlined_once_a_step(monkeypatch):
    model, cct = build(perturbations=[dict(type='GuidedCutout', count=2, min_vertices=4)] * 3)
    calls, original = [], cv2.findContours
    monkeypatch.setattr(cv2, 'findContours', lambda *args: calls.append(1) or original(*args))
    cct.compute(step(model))
    assert len(calls) == 2  # one an image


def test_decoders_of_a_type_have_draws_of_their_own():
    kinds = ['FeatureNoise', 'FeatureDrop', 'FeatureDropout', 'GuidedCutout', 'VirtualAdversarial']
    model, cct = build(perturbations=[dict(type=kind, count=2) for kind in kinds])
    cct.perturbations[3].min_vertices = 4
    with torch.no_grad():  # the same decoder twice
        for parameter in cct.parameters():
            parameter[1] = parameter[0]
    views = step(model)
    views.student.weak.logits[:, 0] += F.pad(torch.full((20, 20), -9.0), (4, 8, 4, 8), value=9.0)
    draws = recorded(cct)
    cct.compute(views)
    z = views.student.weak.fused
    seen = {}
    for kind, draw, k, _ in draws:
        seen.setdefault(kind, []).append(draw.apply(z, k))
    for kind, (one, other) in seen.items():
        assert not torch.equal(one, other), kind
    views.batch.generator.manual_seed(0)
    cct.compute(views)
    half = len(draws) // 2
    for (_, one, k, _), (_, other, _, _) in zip(draws[:half], draws[half:], strict=True):
        assert torch.equal(one.apply(z, k), other.apply(z, k))


def test_memory_at_the_published_size():
    """Thirty decoders of 21 classes on a crop of 320: at most 0.1 GiB for an image, where the plain loop keeps 0.74."""
    cct = CCTObjective()
    head = SimpleNamespace(conv_seg=SimpleNamespace(in_channels=512), upscale=8)
    student = SimpleNamespace(decode_head=head)
    cct.bind(SimpleNamespace(student=student, num_classes=21))
    z = torch.rand(1, 512, 40, 40, requires_grad=True)
    logits = 4 * F.interpolate(torch.randn(1, 21, 10, 10), (320, 320), mode='bilinear')

    def run() -> None:
        valid = torch.ones(1, 320, 320, dtype=torch.bool)
        views = StepViews(
            Batch(z, valid, UnlabeledBatch(z, z, valid)),
            student=StudentViews(weak=StudentOutputs((), z, z, z, logits)),
        )
        cct.compute(views)['loss'].backward()
        z.grad = None
        cct.zero_grad(set_to_none=True)

    assert trace_memory(run, torch.device('cpu')).rise < 0.1 * 2**30


# -- other heads, precision, log -----------------------------------------------------------------


@pytest.mark.parametrize(
    ('head', 'upscale', 'channels'),
    [('SegformerHead', None, 16), ('SegformerHead', 4, 16), ('DeepLabV3PlusHead', None, 24)],
)
def test_other_heads_by_one_line(head, upscale, channels):
    """What is perturbed is the output of the head's first stage."""
    model, cct = build(torch.float32, head, upscale=upscale)
    assert cct.decoders[0].project.shape[1:] == (K, channels)
    assert cct.decoders[0].num_levels == (0 if upscale is None else 2)
    loop = TinyLoop(model)
    loop.iter = LAST
    before = model.student.backbone.stem[0].weight.clone()
    for _ in range(2):
        log = loop.step()
    assert log['cct.loss'] > 0 and all(math.isfinite(value) for value in log.values())
    assert not torch.equal(before, model.student.backbone.stem[0].weight)


def test_half_precision():
    model, cct = build(torch.float32)
    losses = []
    for dtype in (None, torch.bfloat16):
        views = step(model)
        with torch.autocast('cpu', dtype, enabled=dtype is not None):
            loss = cct.compute(views)['loss']
        assert loss.dtype == torch.float32
        (gradient,) = torch.autograd.grad(loss, views.student.weak.fused)
        losses.append((loss.item(), gradient))
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.02)
    gap = F.cosine_similarity(losses[0][1].flatten(), losses[1][1].flatten(), dim=0)
    assert gap > 0.98


def test_the_loss_falls():
    model, cct = build(torch.float32, weight=30.0)
    loop = TinyLoop(model, lr=0.1)
    loop.iter = LAST
    log = [loop.step(tiny_batch())['cct.loss'] for _ in range(25)]
    assert sum(log[-5:]) < 0.8 * sum(log[:5])


def test_classes_that_win_are_counted():
    model, cct = build()
    views = step(model)
    assert cct.compute(views)['winning'] == K
    views.student.weak.logits[:, 1] = -50
    values = cct.compute(views)
    assert values['winning'] == K - 1 and not values['winning'].requires_grad
    views = replace(views, batch=replace(views.batch, monitor=False))
    assert set(cct.compute(views)) == {'loss'}


# -- mistakes ------------------------------------------------------------------------------------

MISTAKES = {
    r"cct\.distance='cosine'": dict(distance='cosine'),
    r'cct\.confidence=1\.5': dict(confidence=1.5),
    r"cct\.divisor='all'": dict(divisor='all'),
    r'cct\.chunk=0': dict(chunk=0),
    r'cct\.upscale=3': dict(upscale=3),
    r"cct: final_act='gelu'": dict(final_act='gelu'),
    r'cct\.perturbations: counts \[0\]': dict(perturbations=[dict(type='FeatureDrop', count=0)]),
    r'cct\.perturbations: counts \[\]': dict(perturbations=[]),
    r'the student has no class 3, its classes are 0 to 2': dict(background_classes=(0, 3)),
    r'FeatureDrop: low=0\.9, high=0\.7': dict(
        perturbations=[dict(type='FeatureDrop', low=0.9, high=0.7)]
    ),
    r'FeatureNoise: uniform_range=-1': dict(
        perturbations=[dict(type='FeatureNoise', uniform_range=-1)]
    ),
    r'FeatureDropout: p=1\.0': dict(perturbations=[dict(type='FeatureDropout', p=1.0)]),
    r'GuidedCutout: erase_side=2': dict(perturbations=[dict(type='GuidedCutout', erase_side=2)]),
    r"cct\.perturbations: type='CutMix' perturbs no features; expected one of \['FeatureNoise'": dict(
        perturbations=[dict(type='CutMix')]
    ),
    r'VirtualAdversarial: xi=0': dict(perturbations=[dict(type='VirtualAdversarial', xi=0)]),
}


@pytest.mark.parametrize('sentence', MISTAKES)
def test_mistakes_are_named(sentence):
    with pytest.raises(SetupError, match=sentence):
        build(**MISTAKES[sentence])


def test_the_adversarial_module_alone_needs_a_decoder():
    model, cct = build()
    views = step(model)
    with pytest.raises(SetupError, match='Guidance'):
        VirtualAdversarial()(
            views.student.weak.fused, Guidance(views.student.weak.logits, views.batch.generator)
        )


def test_the_tiny_recipe_has_every_type():
    kinds = tiny_recipe('cct')['objectives'][1]['perturbations']
    assert {kind['type'] for kind in kinds} == {kind['type'] for kind in PUBLISHED}
