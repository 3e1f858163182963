"""MLLC's heads and backbone: shapes, initial values, and what is deployed."""

import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_semi import CHANNELS, tiny_head

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.mllc.graphs import at_nodes


def v2_head(**changes):
    config = dict(
        type='MLLCHead',
        in_channels=CHANNELS[3],
        in_index=3,
        channels=32,
        num_classes=19,
        groups=4,
        dilations=(1, 2),
        embedding_channels=16,
        rounds=2,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )
    return build(config | changes)


def plus_head(**changes):
    return build(tiny_head('MLLCPlusHead', 11, **dict(embedding_channels=8, rounds=2) | changes))


def build(config):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    head = MODELS.build(config)
    head.init_weights()
    return head


def backbone_outputs(count=2, size=8):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(count, c, size * f, size * f, generator=generator)
        for c, f in zip(CHANNELS, (2, 1, 1, 1), strict=True)
    ]


@pytest.mark.parametrize(
    'size, grid',
    [
        ((256, 512), (33, 65)),
        ((321, 321), (41, 41)),
        ((512, 1024), (65, 129)),
        ((505, 505), (64, 64)),
    ],
)
def test_grid_of_the_stem_that_rounds_up(size, grid):
    init_default_scope('mmseg')
    config = dict(
        type='CeilResNet',
        depth=50,
        base_channels=1,
        stem_channels=1,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        style='caffe',
        out_indices=(0, 1),
    )
    with torch.no_grad():
        backbone = MODELS.build(config)
        backbone.eval()
        assert tuple(backbone(torch.zeros(1, 3, *size))[1].shape[2:]) == grid
        assert backbone.layer2[0].conv1.stride == (2, 2)
        plain = MODELS.build(config | dict(stem_ceil_mode=False))
        plain.eval()
        down = tuple(plain(torch.zeros(1, 3, *size))[1].shape[2:])
    even = {(256, 512): (32, 64), (512, 1024): (64, 128)}
    assert down == even.get(size, grid)


def test_a_head_of_the_published_width_has_its_parameters():
    init_default_scope('mmseg')
    with torch.device('meta'):
        head = MODELS.build(
            dict(
                type='MLLCHead',
                num_classes=19,
                embedding_channels=256,
                rounds=1,
                loss_decode=dict(type='CrossEntropyLoss'),
            )
        )
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in head.named_children()}
    assert count['rounds'] == 760 + 131_584
    assert count['embedding_pyramid'] + count['conv_embedding'] == pytest.approx(22.56e6, rel=0.01)
    assert count['pyramid'] == count['embedding_pyramid']
    assert count['conv_seg'] == 19 * 256


def test_new_corrected_logits_are_almost_uniform():
    head = v2_head().eval()
    output = head.finish(head.embed(backbone_outputs()))
    assert output.logits.shape == (2, 19, 8, 8) and output.embedding.shape == (2, 16, 8, 8)
    levels = head.levels(output.logits, output.embedding, torch.zeros(19).double())
    assert [level.logits.shape for level in levels] == [(2, 19, 8, 8)] * 3
    assert [level.features.shape for level in levels] == [(2, 16, 8, 8)] * 3
    assert levels[2].logits.softmax(dim=1).max() < 0.06
    labels = torch.randint(0, 19, (2, 8, 8))
    total = sum(torch.nn.functional.cross_entropy(level.logits, labels) for level in levels)
    assert float(total) == pytest.approx(3 * math.log(19), rel=0.1)


def test_initial_values():
    head = v2_head(channels=64, in_channels=64)
    convolutions = {n: m for n, m in head.named_modules() if isinstance(m, torch.nn.Conv2d)}
    for name, layer in convolutions.items():
        if layer.weight.numel() > 2000:
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1), name
    for name in ('pyramid.fusion', 'embedding_pyramid.fusion', 'rounds.0.class_layer.1'):
        assert convolutions[name].bias.abs().max() == 0
    assert convolutions['pyramid.branches.1.0'].bias.abs().max() > 0  # torch's default
    assert head.conv_seg.bias is None and head.conv_embedding.bias is None


def test_the_identity_class_layer_starts_as_the_identity():
    head = plus_head(class_layer='identity').eval()
    x = torch.randn(1, 11, 3, 3)
    assert torch.allclose(head.rounds[0].class_layer(x), x)


def test_nodes_of_the_v3plus_head_are_means_of_cells():
    head = plus_head().eval()
    logits, embedding = torch.randn(1, 11, 5, 6), torch.randn(1, 8, 5, 6)
    levels = head.levels(logits, embedding, torch.zeros(11).double())
    assert levels[0].logits is logits
    assert levels[1].logits.shape == (1, 11, 3, 3)
    assert torch.allclose(levels[0].features[0, :, 0, 1], embedding[0, :, :2, 2:4].mean(dim=(1, 2)))
    assert torch.allclose(levels[0].features[0, :, 2, 0], embedding[0, :, 4, :2].mean(dim=1))


@pytest.mark.parametrize('make', [v2_head, plus_head])
def test_only_the_classifier_is_deployed(make):
    head, plain = make(), make(embedding_channels=0, rounds=0)
    extra = head.state_dict().keys() - plain.state_dict().keys()
    assert extra and all(
        name.startswith(('rounds.', 'embedding_pyramid.', 'conv_embedding.')) for name in extra
    )
    # embedding and rounds leave the random numbers of the other layers unchanged
    for name, value in plain.state_dict().items():
        assert torch.equal(value, head.state_dict()[name]), name
    inputs = backbone_outputs()
    head.eval(), plain.eval()
    expected = plain(inputs)
    for name in ('rounds', 'conv_embedding', 'embedding_pyramid'):
        if hasattr(head, name):
            setattr(head, name, None)
    assert torch.equal(head(inputs), expected)


def test_labelled_loss_on_the_last_level_reaches_the_classifier():
    head = plus_head()
    output = head.finish(head.lift(head.embed(backbone_outputs())))
    valid = at_nodes(torch.ones(2, 32, 32, dtype=torch.bool), output.logits.shape[2:])
    levels = head.levels(output.logits, output.embedding, torch.zeros(11).double(), valid)
    levels[2].logits.square().sum().backward()
    assert head.conv_seg.weight.grad.abs().max() > 0
    assert head.conv_embedding.weight.grad is None  # no gradient flows through the graph


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(embedding_channels=0), 'rounds=2 need an embedding'),
        (dict(rounds=-1), 'rounds=-1'),
        (dict(class_layer='none'), "class_layer='none'"),
        (dict(graph=dict(top_k=-3)), 'top_k=-3'),
    ],
)
def test_values_out_of_range(changes, message):
    with pytest.raises(SetupError, match=message):
        plus_head(**changes)
