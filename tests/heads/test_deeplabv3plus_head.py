import pytest
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from small_heads import backbone_outputs, build, norm
from tiny_semi import tiny_batch, tiny_student
from torch import Tensor, nn

from mmseg_semi.errors import SetupError

HEADS = ('DeepLabV3PlusHead', 'DDFPHead', 'DGCLHead')


def block(x: Tensor, parts: nn.Sequential, training: bool, dilation: int = 1) -> Tensor:
    conv, bn, _ = parts
    padding = dilation * (conv.kernel_size[0] // 2)
    x = F.conv2d(x, conv.weight, conv.bias, padding=padding, dilation=dilation)
    return norm(x, bn, training).clamp(min=0)


def reference(head: nn.Module, inputs: list[Tensor], training: bool) -> dict[str, Tensor]:
    """The decoder as the paper's figure draws it, in float64 and without dropout."""
    low, high = inputs[0].double(), inputs[3].double()
    pooled = block(F.adaptive_avg_pool2d(high, 1), head.aspp.pool, training)
    pooled = F.interpolate(pooled, high.shape[2:], mode='bilinear', align_corners=True)
    parts = [pooled, block(high, head.aspp.branches[0], training)]
    for branch, dilation in zip(head.aspp.branches[1:], (1, 2, 3), strict=True):
        parts.append(block(high, branch, training, dilation))
    high = block(torch.cat(parts, dim=1), head.bottleneck, training)
    high = F.interpolate(high, low.shape[2:], mode='bilinear', align_corners=True)
    fused = torch.cat([block(low, head.low, training), high], dim=1)
    x = F.conv2d(fused, head.conv1.weight, head.conv1.bias, padding=1)
    x = norm(x, head.norm1, training).clamp(min=0)
    x = F.conv2d(x, head.conv2.weight, head.conv2.bias, padding=1)
    x = norm(x, head.norm2, training).clamp(min=0)
    logits = F.conv2d(x, head.conv_seg.weight, head.conv_seg.bias)
    return dict(fused=fused, features=x, logits=logits)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('kind', HEADS)
def test_forward_is_the_decoder_of_the_figure(kind, training):
    head = build(kind, dropout=0.0).double().train(training)
    inputs = [x.double() for x in backbone_outputs()]
    expected = reference(head, inputs, training)
    fused = head.embed(inputs)
    output = head.classify(fused)
    assert fused.shape[1] == head.fused_channels == 8 + 16
    assert (fused - expected['fused']).abs().max() < 1e-12
    assert (output.features - expected['features']).abs().max() < 1e-12
    assert (output.logits - expected['logits']).abs().max() < 1e-12
    assert output.embedding is None
    assert torch.equal(head(inputs), output.logits)


def test_low_level_features_come_first():
    head = build(dropout=0.0).eval()
    inputs = backbone_outputs()
    fused = head.embed(inputs)
    changed = head.embed([inputs[0], *inputs[1:3], inputs[3] + 1])
    assert torch.equal(fused[:, :8], changed[:, :8])
    assert not torch.equal(fused[:, 8:], changed[:, 8:])
    # only the first and the last level are read
    other = head.embed([inputs[0], inputs[1] + 1, inputs[2] + 1, inputs[3]])
    assert torch.equal(fused, other)


def test_dropout_follows_every_block_of_the_decoder():
    """Complete channels vanish in ASPP's output and after both blocks; low-level features stay."""
    head = build(dropout=0.5, channels=64).train()
    for module in head.modules():  # no channel may be zero for another reason
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 10.0)
    dropped = lambda x: (x == 0).all(dim=3).all(dim=2)  # noqa: E731
    fused = head.embed(backbone_outputs(n=8))
    assert not dropped(fused[:, :8]).any()
    assert 0.4 < dropped(fused[:, 8:]).float().mean() < 0.6
    features = head.features(head.lift(fused))
    assert 0.4 < dropped(features).float().mean() < 0.6
    # kept ones are scaled to the same mean, and the classifier does not drop once more
    scaled = head.conv_seg(features)
    assert torch.equal(head.cls_seg(features), scaled)
    kept = head.eval().embed(backbone_outputs(n=8))
    assert not dropped(kept).any()


def parameters_of_resnet101(stem: int) -> int:
    conv = lambda k, a, b: k * k * a * b + 2 * b  # noqa: E731  with its batch norm
    total = conv(3, 3, stem // 2) + conv(3, stem // 2, stem // 2) + conv(3, stem // 2, stem)
    width = stem
    for planes, blocks in zip((64, 128, 256, 512), (3, 4, 23, 3), strict=True):
        for index in range(blocks):
            total += conv(1, width, planes) + conv(3, planes, planes) + conv(1, planes, 4 * planes)
            if index == 0:
                total += conv(1, width, 4 * planes)
            width = 4 * planes
    return total


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_of_the_published_network():
    norm_cfg = dict(type='BN')
    with torch.device('meta'):
        encoder = MODELS.build(
            dict(
                type='ResNetV1c',
                depth=101,
                stem_channels=128,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 2),
                contract_dilation=True,
                norm_cfg=norm_cfg,
            )
        )
        decoder = MODELS.build(dict(type='DeepLabV3PlusHead', num_classes=21, norm_cfg=norm_cfg))
        split = MODELS.build(
            dict(type='DDFPHead', num_classes=21, norm_cfg=norm_cfg, split_norms=True)
        )
    assert count(encoder) == parameters_of_resnet101(128)
    assert round(count(encoder) / 1e5) == 426
    pool_and_1x1 = 2 * (2048 * 256 + 512)
    dilated = 3 * (9 * 2048 * 256 + 512)
    fuse = 9 * 1280 * 256 + 512
    low = 256 * 48 + 48 + 96
    blocks = 9 * 304 * 256 + 256 + 512 + 9 * 256 * 256 + 256 + 512
    expected = pool_and_1x1 + dilated + fuse + low + blocks + 256 * 21 + 21
    assert count(decoder) == expected
    assert round(expected / 1e5) == 195
    assert count(split) == expected + 2 * 512


@pytest.mark.parametrize('kind', HEADS)
def test_lift_is_affine_and_its_transpose_its_gradient(kind):
    head = build(kind).double()
    draw = torch.Generator().manual_seed(1)
    fused = torch.randn(2, 24, 7, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    delta = torch.randn(2, 24, 7, 5, generator=draw, dtype=torch.float64)
    lifted = head.lift(fused)
    assert (head.lift(fused + delta) - lifted - head.lift_delta(delta)).abs().max() < 1e-12
    gradient = torch.randn(lifted.shape, generator=draw, dtype=torch.float64)
    (expected,) = torch.autograd.grad(lifted, fused, gradient, retain_graph=True)
    assert (head.lift_transpose(gradient) - expected).abs().max() < 1e-12
    # finishing the moved lift is classifying the moved input
    head.eval()
    moved = head.finish(lifted + head.lift_delta(delta)).logits
    assert (moved - head.classify(fused + delta).logits).abs().max() < 1e-12


def test_transpose_trains_nothing_and_delta_trains_the_convolution():
    head = build()
    delta = torch.randn(1, 24, 5, 5)
    assert not head.lift_transpose(torch.randn(1, 16, 5, 5)).requires_grad
    weight = head.conv1.weight
    (found,) = torch.autograd.grad(head.lift_delta(delta).square().sum(), weight)
    direct = F.conv2d(delta, weight, padding=1).square().sum()
    assert torch.equal(found, torch.autograd.grad(direct, weight)[0])


LOSSES = {
    'ce': dict(type='CrossEntropyLoss'),
    'non-ignore': dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4),
    'two of one name': [dict(type='CrossEntropyLoss'), dict(type='CrossEntropyLoss')],
    'two': [
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='DiceLoss', loss_weight=3.0),
    ],
}


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('labels', ['some void', 'all void'])
@pytest.mark.parametrize('sampler', [None, dict(type='OHEMPixelSampler', thresh=0.7, min_kept=50)])
def test_loss_by_feat_is_that_of_mmsegmentation(loss, labels, sampler):
    if sampler and (labels == 'all void' or loss == 'two'):
        # MMSegmentation's sampler needs a labelled pixel; its Dice loss takes no pixel weights.
        return
    head = build(loss_decode=LOSSES[loss], sampler=sampler)
    samples: list[SegDataSample] = tiny_batch()['data_samples']['labeled'][:2]
    if labels == 'all void':
        for sample in samples:
            sample.gt_sem_seg.data.fill_(255)
    logits = torch.randn(2, 3, 9, 9, requires_grad=True)
    expected = BaseDecodeHead.loss_by_feat(head, logits, samples)
    found = head.loss_by_feat(logits, samples)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6), key
    sums = [
        sum(value for key, value in losses.items() if 'loss' in key) for losses in (found, expected)
    ]
    first, second = (torch.autograd.grad(total, logits)[0] for total in sums)
    assert (first - second).abs().max() < 1e-6


def test_wrong_inputs_are_refused():
    for changes in (dict(in_channels=(8, 16, 64)), dict(in_index=(3,))):
        with pytest.raises(SetupError, match='in_channels'):
            build(**changes)
    head = build()
    with pytest.raises(SetupError, match='DDFPHead'):
        head.classify(head.embed(backbone_outputs()), (1, 1))


@pytest.mark.parametrize('kind', HEADS)
def test_every_parameter_is_reached_by_the_loss_of_a_plain_segmentor(kind):
    torch.manual_seed(0)
    model = MODELS.build(tiny_student(3, kind)).train()
    batch = tiny_batch()
    images = torch.stack(batch['inputs']['labeled'][:2]).float() / 128
    losses = model.loss(images, batch['data_samples']['labeled'][:2])
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg'}
    losses['decode.loss_ce'].backward()
    for name, parameter in model.named_parameters():
        # a bias in front of a batch norm has a zero gradient, but it has one
        assert parameter.grad is not None, name
    assert sum(bool(p.grad.abs().sum() > 0) for p in model.parameters()) > 50
