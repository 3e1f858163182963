"""Two students that label for each other: against two networks alone, and what each part of the package makes of them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from tiny_semi import (
    ITERS_PER_EPOCH,
    tiny_batch,
    tiny_data,
    tiny_head,
    tiny_losses,
    tiny_model,
    tiny_recipe,
    tiny_runner,
    tiny_student,
)

from mmseg_semi.cli import publish
from mmseg_semi.errors import SetupError
from mmseg_semi.step.checks import adapt_checkpoint, check_checkpoint, check_networks

ACTIVE = ITERS_PER_EPOCH
EVERY_PIXEL = dict(type='ConfidenceThreshold', threshold=0.0)
FCN = dict(
    tiny_student(3, 'FCNHead', norm='GN', dropout=0.0),
    auxiliary_head=tiny_head('FCNHead', norm='GN', in_channels=32, in_index=2, dropout=0.0),
)


def build(**changes):
    plain = dict(norm='GN', dropout=0.0, pseudo_label=EVERY_PIXEL, mixing=None)
    return tiny_model('cps', **plain | changes)


def total(losses: dict, prefix: str = '') -> torch.Tensor:
    return sum(v for k, v in losses.items() if 'loss' in k and k.startswith(prefix))


def test_the_students_begin_different_and_are_not_linked():
    model = build()
    one, other = model.student.state_dict(), model.peer.student.state_dict()
    assert one.keys() == other.keys()
    head = 'decode_head.conv_seg.weight'
    assert not torch.equal(one[head], other[head])
    storages = [{p.data_ptr() for p in n.parameters()} for n in model.networks.values()]
    assert [*model.networks] == ['student', 'peer'] and not storages[0] & storages[1]
    # the first student is that of every other method with this seed
    alone = tiny_model('supervised', norm='GN', dropout=0.0).student.state_dict()
    assert all(torch.equal(one[key], alone[key]) for key in alone)


def test_the_loss_is_that_of_the_script():
    """Without CutMix: predictions of both networks, argmax, cross entropy over labelled and unlabelled pixels together."""
    model = build()
    losses = tiny_losses(model, ACTIVE, tiny_batch(2, 3))
    batch = model.last_views.batch
    images = torch.cat([batch.img_l, batch.unlabeled.img_u_s])
    weak = torch.cat([batch.img_l, batch.unlabeled.img_u_w])
    valid = torch.cat([batch.label_l != 255, batch.unlabeled.valid_u])
    networks = [model.student, model.peer.student]
    predicted = [model.upsample(network(images), (32, 32)) for network in networks]
    with torch.no_grad():
        labels = [model.upsample(n(weak), (32, 32)).argmax(dim=1) for n in networks]
    for index, prefix in ((0, ''), (1, 'peer.')):
        each = F.cross_entropy(predicted[index], labels[1 - index], reduction='none')
        cross = (each * valid).sum() / valid.sum()
        supervised = F.cross_entropy(predicted[index][:2], batch.label_l, ignore_index=255)
        torch.testing.assert_close(losses[f'{prefix}cross.loss'], 1.5 * cross, rtol=1e-5, atol=0)
        torch.testing.assert_close(losses[f'{prefix}sup.decode.loss_ce'], supervised)
    # and its gradient: none through the labels
    total(losses).backward()
    mine = [p.grad.clone() for n in networks for p in n.parameters()]
    for network in networks:
        network.zero_grad()
    expected = 0
    for index in (0, 1):
        each = F.cross_entropy(predicted[index], labels[1 - index], reduction='none')
        expected = expected + 1.5 * (each * valid).sum() / valid.sum()
        expected = expected + F.cross_entropy(predicted[index][:2], batch.label_l, ignore_index=255)
    expected.backward()
    for found, parameter in zip(mine, [p for n in networks for p in n.parameters()], strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('method', ['cps', 'unimatch', 'unimatch_v2'])
def test_mixed_precision_and_accumulated_gradients(method):
    """A labelling pass leaves no graph-free weights behind for the pass that trains; two halves give the gradient of both."""
    model = tiny_model(method, norm='GN', dropout=0.0, pseudo_label=EVERY_PIXEL)
    with torch.autocast('cpu', torch.bfloat16):
        losses = tiny_losses(model, ACTIVE, tiny_batch(2, 4))
    total(losses).backward()
    half = [p.grad for p in model.parameters() if p.requires_grad]
    assert not [gradient for gradient in half if gradient is None]
    model.zero_grad()
    total(tiny_losses(model, ACTIVE, tiny_batch(2, 4))).backward()
    whole = [p.grad.clone() for p in model.parameters() if p.requires_grad]
    pairs = zip(half, whole, strict=True)
    cosines = [F.cosine_similarity(a.flatten(), b.flatten(), dim=0) for a, b in pairs if a.any()]
    assert (
        torch.stack(cosines).median() > 0.97
    )  # a hundredth of the labels of an untrained network flip
    for _ in range(2):  # on top of the first one
        (total(tiny_losses(model, ACTIVE, tiny_batch(2, 4))) / 2).backward()
    for parameter, once in zip(
        (p for p in model.parameters() if p.requires_grad), whole, strict=True
    ):
        torch.testing.assert_close(parameter.grad, 2 * once, rtol=1e-3, atol=1e-6)


def test_both_see_the_same_boxes_and_different_labels():
    model = build(mixing=dict(type='CutMix', prob=1.0))
    tiny_losses(model, ACTIVE, tiny_batch(2, 3))
    one, other = model.last_views.teacher, model.peer.last_views.teacher
    assert torch.equal(one.mixed.img_u_m, other.mixed.img_u_m)
    assert not torch.equal(one.mixed.img_u_m, model.last_views.batch.unlabeled.img_u_s)
    # each is labelled by the other: what one learns is what the other predicts
    with torch.no_grad():
        images = model.last_views.batch.unlabeled.img_u_w
        for views, network in ((one, model.peer.student), (other, model.student)):
            labels = model.upsample(network(images), (32, 32)).argmax(dim=1)
            valid = model.last_views.batch.unlabeled.valid_u
            assert torch.equal(views.pseudo_u.labels[valid], labels[valid])


def test_the_mode_of_the_labels_is_the_recipes():
    for mode, moves in (('train', True), ('eval', False)):
        model = build(norm='BN', teacher=dict(mode=mode))
        modes = []
        model.peer.student.backbone.register_forward_hook(
            lambda module, *_, m=modes: m.append(module.training)
        )
        tiny_losses(model, ACTIVE, tiny_batch(2, 2))
        # labels for the first student, then its own training passes
        assert modes[0] is moves and len(modes) > 1 and all(modes[1:])
        assert model.peer.student.training


def test_each_is_trained_by_one_optimiser_and_after_the_step():
    model = build()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            constructor='StudentOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=0.1),
            paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
        ),
    )
    listed = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    assert listed == {id(p) for n in model.networks.values() for p in n.parameters()}
    rates = {id(p): g['lr'] for g in wrapper.optimizer.param_groups for p in g['params']}
    for network in model.networks.values():
        assert {rates[id(p)] for p in network.backbone.parameters()} == {0.1 * 0.1}
    before = copy.deepcopy(model.state_dict())
    loss, log = model.parse_losses(tiny_losses(model, ACTIVE))
    assert {'cross.loss', 'peer.cross.loss'} <= log.keys()
    assert model.last_views.student is None and model.peer.last_views.student is None
    wrapper.update_params(loss)
    model.finish_step()
    assert model.last_views is None and model.peer.last_views is None
    moved = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert {key.partition('.')[0] for key in moved} == {'student', 'peer'}


def test_a_heterogeneous_pair():
    model = build(peer=FCN, pseudo_label=dict(type='ConfidenceThreshold', threshold=0.35))
    check_networks(model, 64)
    losses = tiny_losses(model, ACTIVE, tiny_batch(2, 2))
    assert any(key.startswith('peer.sup.aux') for key in losses)
    total(losses).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad(), model.predict_with('peer'):
        model.eval()
        metas = [dict(img_shape=(32, 32), pad_shape=(32, 32))]
        expected = model.peer.student.encode_decode(image, metas)
        assert torch.equal(model.encode_decode(image, metas), expected)


def test_a_plain_checkpoint_fills_the_first_student_alone():
    model = build()
    plain = {key: value + 1 for key, value in model.student.state_dict().items()}
    state = adapt_checkpoint(plain, model)
    check_checkpoint(state, model)
    for key, value in plain.items():
        assert torch.equal(state[f'student.{key}'], value)
        assert torch.equal(state[f'peer.student.{key}'], model.peer.student.state_dict()[key])


@pytest.mark.parametrize('network', ['student', 'peer'])
@pytest.mark.parametrize('peer', [True, 'fcn'])
def test_either_student_is_published(tmp_path, network, peer):
    fcn = tiny_student(11, 'FCNHead')
    cfg = tiny_data(tmp_path, 'cps', model=dict(peer=fcn if peer == 'fcn' else True))
    model = MODELS.build(cfg.model)
    checkpoint = tmp_path / 'run.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta={})), checkpoint)
    out = tmp_path / 'plain'
    # compares the logits bit for bit
    publish.main([cfg.filename, str(checkpoint), '--network', network, '--out', str(out)])
    (config,), (weights,) = out.glob('*.py'), out.glob('*.pth')
    plain = MODELS.build(Config.fromfile(config).model)
    plain.load_state_dict(torch.load(weights, weights_only=True)['state_dict'])
    kind = 'FCNHead' if (network, peer) == ('peer', 'fcn') else 'DeepLabV3PlusHead'
    assert type(plain.decode_head).__name__ == kind
    expected = model.networks[network].decode_head.conv_seg.weight
    assert torch.equal(plain.decode_head.conv_seg.weight, expected)


def test_both_students_are_evaluated_and_the_first_is_the_best(tmp_path):
    cfg = tiny_data(tmp_path, 'cps', iterations=4, checkpoint_interval=4)
    runner = tiny_runner(cfg)
    runner.train()
    found = set(runner.message_hub.get_info('results')[-1])
    assert {'student/mIoU', 'peer/mIoU'} <= found
    assert [*(tmp_path / 'work_dir').glob('best_student_mIoU*')]


def test_labels_are_enlarged_as_the_head_that_gave_them_does():
    """The two heads place the corners of their maps differently."""
    model = build(peer=dict(FCN, decode_head=dict(FCN['decode_head'], align_corners=False)))
    assert model.align_corners and not model.peer.align_corners
    tiny_losses(model, ACTIVE, tiny_batch(2, 2))
    for segmentor, other in ((model, model.peer), (model.peer, model)):
        views = segmentor.last_views
        images, valid = views.batch.unlabeled.img_u_w, views.batch.unlabeled.valid_u
        with torch.no_grad():
            logits = other.student(images)
        expected = F.interpolate(
            logits, (32, 32), mode='bilinear', align_corners=other.align_corners
        ).argmax(dim=1)
        assert torch.equal(views.teacher.pseudo_u.labels[valid], expected[valid])


def test_ddfp_is_refused():
    recipe = tiny_recipe('ddfp', teacher=dict(weights='student'))
    recipe['teacher'].pop('start')
    with pytest.raises(SetupError, match='DDFPObjective compares features'):
        MODELS.build(ConfigDict(recipe | dict(peer=True)))


MISTAKES = {
    r"two students label for each other.*weights='student', mode='train'": dict(
        teacher=dict(weights='ema')
    ),
    r'model.peer, the second student: .* which has no single cls_seg': dict(
        peer=dict(tiny_student(), decode_head=[tiny_head(), tiny_head()], num_stages=2)
        | dict(type='CascadeEncoderDecoder')
    ),
    'num_classes=5, but the student has 3': dict(peer=tiny_student(5)),
    r"set model.teacher.rows='labeled\+weak'": dict(teacher=dict(rows='weak')),
}


@pytest.mark.parametrize('words', MISTAKES)
def test_mistakes(words):
    with pytest.raises(SetupError, match=words):
        build(**MISTAKES[words])


def test_a_peer_without_a_teacher():
    recipe = tiny_recipe('cps') | dict(teacher=None)
    recipe['objectives'] = recipe['objectives'][:1]
    with pytest.raises(SetupError, match='label for each other, but model.teacher=None'):
        MODELS.build(ConfigDict(recipe))
