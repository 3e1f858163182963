"""CCT's head and decoders: sizes, signs, initialisation, and the encoder that the paper's code has."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_semi import tiny_backbone, tiny_norm, tiny_student
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.heads import two_stage
from mmseg_semi.methods.cct.head import CCTHead
from mmseg_semi.methods.cct.pixel_shuffle import DecoderStack, PixelShuffleDecoder, unshuffle

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'


def decoder(channels: int = 6, classes: int = 4, **settings) -> PixelShuffleDecoder:
    torch.manual_seed(0)
    return PixelShuffleDecoder(channels, classes, **settings)


def build_head(norm: str = 'BN', **changes) -> CCTHead:
    torch.manual_seed(0)
    config = dict(
        type='CCTHead',
        in_channels=24,
        channels=16,
        num_classes=3,
        in_index=-1,
        norm_cfg=tiny_norm(norm),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )
    head = MODELS.build(config | changes)
    head.init_weights()
    return head


# -- the decoder ---------------------------------------------------------------------------------


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """Channel 4c + 2a + b of a cell becomes class c at the cell's row a, column b."""
    n, c, h, w = x.shape
    out = x.new_empty(n, c // 4, 2 * h, 2 * w)
    for a in range(2):
        for b in range(2):
            out[:, :, a::2, b::2] = x[:, 2 * a + b :: 4]
    return out


@pytest.mark.parametrize('final_act', ['relu', None])
@pytest.mark.parametrize('upscale', [1, 2, 8])
def test_the_decoder_consists_of_convolutions_and_shuffles(upscale, final_act):
    own = decoder(upscale=upscale, final_act=final_act).double()
    z = torch.rand(2, 6, 3, 5, dtype=torch.float64)
    x = torch.einsum('oc,nchw->nohw', own.project.weight[..., 0, 0], z)
    for index, level in enumerate(own.levels):
        x = torch.einsum('oc,nchw->nohw', level.weight[..., 0, 0], x)
        x = x + level.bias[:, None, None]
        if final_act or index < len(own.levels) - 1:
            x = x.clamp(min=0)
        x = shuffled(x)
    found = own(z)
    assert found.shape == (2, 4, 3 * upscale, 5 * upscale)
    assert (found - x).abs().max() < 1e-12
    assert own.project.bias is None
    assert (found.min() >= 0) == (final_act == 'relu' and upscale > 1)
    assert sum(p.numel() for p in own.parameters()) == 6 * 4 + len(own.levels) * (4 * 16 + 16)


@pytest.mark.parametrize('bias_init', ['replicate', 'uniform'])
def test_a_new_decoder_makes_no_checkerboard(bias_init):
    own = decoder(bias_init=bias_init)
    for level in own.levels:
        groups = level.weight.view(4, 4, 4)
        assert torch.equal(groups, groups[:, :1].expand_as(groups))
        assert not torch.equal(groups[0], groups[1])
    out = own(torch.rand(1, 6, 3, 5)).unflatten(3, (5, 8)).unflatten(2, (3, 8))
    spread = (out.amax(dim=(3, 5)) - out.amin(dim=(3, 5))).max()
    # torch's biases differ within the four
    assert (spread < 1e-6) == (bias_init == 'replicate')
    with torch.no_grad():
        for level in own.levels:
            level.bias.zero_()
    out = own(torch.rand(1, 6, 3, 5)).unflatten(3, (5, 8)).unflatten(2, (3, 8))
    assert (out.amax(dim=(3, 5)) - out.amin(dim=(3, 5))).max() < 1e-6
    deviation = decoder(2000, 40).project.weight.std().item()
    assert deviation == pytest.approx((2 / 2000) ** 0.5, rel=0.02)
    deviation = decoder(8, 150).levels[0].weight.std().item()
    assert deviation == pytest.approx((2 / 150) ** 0.5, rel=0.03)


def test_a_cell_changes_its_block_only():
    own = decoder(upscale=8, bias_init='uniform').double()
    z = torch.rand(1, 6, 4, 5, dtype=torch.float64)
    moved = z.clone()
    moved[0, :, 2, 3] += 1
    changed = ((own(moved) - own(z)).abs().amax(dim=1) > 0)[0]
    block = torch.zeros_like(changed)
    block[16:24, 24:32] = True
    assert changed.any() and not (changed & ~block).any()


@pytest.mark.parametrize('upscale', [1, 2, 8])
@pytest.mark.parametrize('final_act', ['relu', None])
def test_stacked_decoders_equal_single_ones(upscale, final_act):
    """Values and gradients agree; the target is un-shuffled instead of the logits."""
    torch.manual_seed(0)
    settings = dict(in_channels=6, num_classes=4, upscale=upscale, final_act=final_act)
    stack = DecoderStack(3, bias_init='uniform', **settings).double()
    assert len(stack) == 3
    z = torch.rand(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    mine, theirs = [], []
    singles = [stack.single(k) for k in range(3)]
    for n in range(2):
        lifted = stack.project @ z[n].flatten(1)
        mine.append(stack.tail(lifted, *stack.levels).unflatten(2, (upscale**2, 15)))
        theirs.append(
            torch.cat([unshuffle(one(z[n : n + 1]), stack.num_levels) for one in singles])
        )
    mine, theirs = torch.stack(mine), torch.stack(theirs)
    assert (mine - theirs).abs().max() < 1e-12
    scale = torch.randn(mine.shape, dtype=torch.float64)
    inputs = [z, *stack.parameters()]
    found = torch.autograd.grad((mine * scale).sum(), inputs)
    own = [list(one.parameters()) for one in singles]
    expected = torch.autograd.grad((theirs * scale).sum(), [z, *sum(own, [])])
    assert (found[0] - expected[0]).abs().max() < 1e-10
    by_name = {name: g for (name, _), g in zip(stack.named_parameters(), found[1:], strict=True)}
    for k in range(3):
        count = len(own[0])
        names = [name for name, _ in singles[k].named_parameters()]
        for name, gradient in zip(
            names, expected[1 + k * count : 1 + (k + 1) * count], strict=True
        ):
            kind, _, rest = name.partition('.')
            if kind == 'project':
                stacked = by_name['project']
            else:
                index, what = rest.split('.')
                stacked = by_name[f'{"weights" if what == "weight" else "biases"}.{index}']
            assert (stacked[k] - gradient.view_as(stacked[k])).abs().max() < 1e-10


def test_stacked_decoders_differ_from_each_other():
    stack = DecoderStack(3, in_channels=6, num_classes=4, upscale=4)
    for parameter in stack.parameters():
        assert not torch.equal(parameter[0], parameter[1])


def test_unshuffled_maps_hold_the_blocks_of_cells():
    maps = torch.arange(2 * 16 * 24.0).view(1, 2, 16, 24)
    found = unshuffle(maps, 3)
    assert found.shape == (1, 2, 64, 6)
    for cell in range(6):
        i, j = divmod(cell, 3)
        block = maps[0, :, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].flatten(1)
        assert torch.equal(found[0, :, :, cell].sort().values, block.sort().values)
    assert torch.equal(unshuffle(maps, 0)[0, :, 0], maps[0].flatten(1))


@pytest.mark.parametrize(
    'wrong', [dict(upscale=6), dict(upscale=0), dict(final_act='gelu'), dict(bias_init='zeros')]
)
def test_decoder_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SetupError, match=next(iter(wrong))):
        build_head(**wrong)


# -- the head ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('size', 'expected'), [((320, 320), (320, 320)), ((321, 313), (328, 320)), ((64, 72), (64, 72))]
)
def test_sizes_and_signs(size, expected):
    torch.manual_seed(0)
    student = MODELS.build(tiny_student(head='CCTHead')).eval()
    student.init_weights()
    with torch.no_grad():
        levels = student.extract_feat(torch.randn(1, 3, *size))
        z = student.decode_head.embed(levels)
        logits = student.decode_head(levels)
    assert z.shape[2:] == (expected[0] // 8, expected[1] // 8)
    assert z.min() >= 0 and logits.min() >= 0 and logits.shape[2:] == expected
    image = torch.randn(1, 3, *size)
    meta = [dict(img_shape=size, ori_shape=size, pad_shape=size)]
    with torch.no_grad():
        found = student.encode_decode(image, meta)
        complete = student.decode_head(student.extract_feat(image))
    # cropped, not stretched
    assert torch.equal(found, complete[:, :, : size[0], : size[1]])


def test_labels_are_compared_with_the_cropped_logits():
    head = build_head()
    logits = torch.randn(2, 3, 16, 24, requires_grad=True)
    labels = torch.randint(0, 3, (2, 1, 11, 23))
    labels[:, :, 3] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    losses = head.loss_by_feat(logits, samples)
    expected = F.cross_entropy(logits[:, :, :11, :23], labels[:, 0], ignore_index=255)
    assert losses['loss_ce'].item() == pytest.approx(expected.item(), rel=1e-6)
    right = (logits.argmax(dim=1)[:, :11, :23] == labels[:, 0])[labels[:, 0] != 255]
    assert losses['acc_seg'].item() == pytest.approx(100 * right.float().mean().item(), rel=1e-5)


def test_two_stages_equal_the_forward():
    head = build_head()
    inputs = [torch.rand(2, 24, 4, 5)]
    assert two_stage(head) is head
    fused = head.embed(inputs)
    lifted = head.lift(fused)
    features, logits, embedding = head.finish(lifted, (2, 0))
    assert fused is lifted is features and embedding is None
    assert head.lift_delta(fused) is fused and head.lift_transpose(fused) is fused
    assert head.features(fused) is fused
    head.eval()
    assert torch.equal(head(inputs), head.finish(head.embed(inputs)).logits)


def test_one_image_cannot_be_normalised():
    head = build_head()
    with pytest.raises(SetupError, match='at least 2 images'):
        head.embed([torch.rand(1, 24, 4, 5)])
    head.eval().embed([torch.rand(1, 24, 4, 5)])
    build_head(norm='GN').embed([torch.rand(1, 24, 4, 5)])
    build_head(pool_scales=(2, 3)).embed([torch.rand(1, 24, 4, 5)])


def test_the_pyramid_starts_as_torch_does():
    head = build_head(channels=64)
    weight = head.bottleneck.conv.weight
    bound = (weight.shape[1] * 9) ** -0.5
    assert 0.95 * bound < weight.abs().max() <= bound


def test_in_a_plain_segmentor():
    """Every parameter gets a gradient from the labels alone."""
    torch.manual_seed(0)
    student = MODELS.build(
        tiny_student(head='CCTHead')
        | dict(data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32), pad_val=0))
    )
    student.init_weights()
    labels = torch.randint(0, 3, (2, 1, 32, 32))
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=(32, 32)))
        for label in labels
    ]
    losses = student.loss(torch.randn(2, 3, 32, 32), samples)
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg'}
    losses['decode.loss_ce'].backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


# -- the paper's network -------------------------------------------------------------------------


class Bottleneck(nn.Module):
    def __init__(self, channels: int, planes: int, stride: int, dilation: int, shortcut: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(
            planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = None
        if shortcut:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * planes, 1, stride, bias=False),
                nn.BatchNorm2d(4 * planes),
            )

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + identity)


class Encoder(nn.Module):
    """ResNet-50 at output stride 8 with a stem of three convolutions, and the pyramid; 1/8 of the width."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(3, 8, 2), (8, 8, 1), (8, 16, 1)]
        for index, (a, b, stride) in enumerate(widths, 1):
            setattr(self, f'conv{index}', nn.Conv2d(a, b, 3, stride, padding=1, bias=False))
            setattr(self, f'bn{index}', nn.BatchNorm2d(b))
        channels = 16
        dilations = [[1] * 3, [1] * 4, [1, 2, 2, 2, 2, 2], [2, 4, 4]]
        for index, own in enumerate(dilations):
            planes = 8 * 2**index
            blocks = []
            for block, dilation in enumerate(own):
                stride = 2 if index == 1 and block == 0 else 1
                blocks.append(Bottleneck(channels, planes, stride, dilation, block == 0))
                channels = 4 * planes
            setattr(self, f'layer{index + 1}', nn.Sequential(*blocks))
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(size), nn.Conv2d(256, 64, 1, bias=False), nn.BatchNorm2d(64)
            )
            for size in (1, 2, 3, 6)
        )
        self.bottleneck = nn.Sequential(
            nn.Conv2d(512, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        )

    def forward(self, x):
        for index in (1, 2, 3):
            x = F.relu(getattr(self, f'bn{index}')(getattr(self, f'conv{index}')(x)))
        x = F.max_pool2d(x, 3, 2, 1)
        for index in (1, 2, 3, 4):
            x = getattr(self, f'layer{index}')(x)
        pyramid = [
            F.interpolate(F.relu(stage(x)), x.shape[2:], mode='bilinear') for stage in self.stages
        ]
        return F.relu(self.bottleneck(torch.cat([x, *pyramid], dim=1)))


def test_the_encoder_is_that_of_the_released_code():
    torch.manual_seed(0)
    theirs = Encoder().eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    student = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(
                type='ResNetV1c',
                depth=50,
                base_channels=8,
                stem_channels=16,
                num_stages=4,
                out_indices=(0, 1, 2, 3),
                strides=(1, 2, 1, 1),
                dilations=(1, 1, 2, 4),
                contract_dilation=True,
                norm_cfg=dict(type='BN'),
                style='pytorch',
            ),
            decode_head=dict(
                type='CCTHead',
                in_channels=256,
                channels=64,
                num_classes=3,
                in_index=3,
                norm_cfg=dict(type='BN'),
            ),
            test_cfg=dict(mode='whole'),
        )
    ).eval()
    stem = dict(conv1='0', bn1='1', conv2='3', bn2='4', conv3='6', bn3='7')
    backbone, head = {}, {}
    for key, value in theirs.state_dict().items():
        module, _, rest = key.partition('.')
        if module in stem:
            backbone[f'stem.{stem[module]}.{rest}'] = value
        elif module.startswith('layer'):
            backbone[key] = value
        elif module == 'stages':
            index, layer, tensor = rest.split('.')
            head[f'psp_modules.{index}.1.{"conv" if layer == "1" else "bn"}.{tensor}'] = value
        else:
            layer, tensor = rest.split('.')
            head[f'bottleneck.{"conv" if layer == "0" else "bn"}.{tensor}'] = value
    student.backbone.load_state_dict(backbone)
    missing = student.decode_head.load_state_dict(head, strict=False)
    assert not missing.unexpected_keys
    assert all(key.startswith('conv_seg.') for key in missing.missing_keys)
    image = torch.randn(2, 3, 64, 72)
    with torch.no_grad():
        found = student.decode_head.embed(student.extract_feat(image))
        assert torch.equal(found, theirs(image))


def test_numbers_of_parameters_of_the_published_networks():
    def count(module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    model, supervised = (
        Config.fromfile(CONFIGS / f'cct/{name}/voc_1464_r50.py').model
        for name in ('reference', 'supervised')
    )
    with torch.device('meta'):
        model, supervised = MODELS.build(model), MODELS.build(supervised)
    head = model.student.decode_head
    assert count(model.student.backbone) == 23_631_808
    assert count(head) - count(head.conv_seg) == 23_073_792
    assert count(head.conv_seg) == 16_296 == 512 * 21 + 3 * (4 * 21**2 + 4 * 21)
    assert count(model.student) == 46_721_896
    assert sum(map(len, model.objectives[1].decoders)) == 30
    assert count(model) == 47_210_776
    # its stem is that of the distributed weights
    assert count(supervised.student.decode_head) == 23_073_792 + 16_296


def test_the_tiny_backbone_has_the_papers_stride():
    backbone = MODELS.build(tiny_backbone(stride=8))
    assert [x.shape[2] for x in backbone(torch.randn(1, 3, 64, 64))] == [16, 8, 8, 8]


@pytest.mark.parametrize('upscale', [1, 2, 8])
@pytest.mark.parametrize('final_act', ['relu', None])
def test_the_passes_by_hand_are_those_of_autograd(upscale, final_act):
    """Parts of several sizes in the same memory, and two backward passes of each."""
    torch.manual_seed(0)
    settings = dict(in_channels=6, num_classes=4, upscale=upscale, final_act=final_act)
    stack = DecoderStack(3, bias_init='uniform', **settings).double()
    passes = stack.tail.passes(stack.levels)
    totals = [torch.zeros_like(level) for level in stack.levels]
    expected = [torch.zeros_like(level) for level in stack.levels]
    for cells in (5, 2, 7):
        lifted = torch.randn(3, 4, cells, dtype=torch.float64, requires_grad=True)
        scores = stack.tail(lifted, *stack.levels)
        mine = passes.forward(lifted.detach())
        torch.testing.assert_close(mine, scores, rtol=0, atol=1e-12)
        for _ in range(2):
            scale = torch.randn_like(scores)
            inputs = (lifted, *stack.levels)
            of_lifted, *found = torch.autograd.grad(scores, inputs, scale, retain_graph=True)
            for total, own in zip(expected, found, strict=True):
                total += own
            own = passes.backward(scale.clone(), totals)
            torch.testing.assert_close(own, of_lifted, rtol=0, atol=1e-12)
            alone = passes.backward(scale.clone())
            torch.testing.assert_close(alone, of_lifted, rtol=0, atol=1e-12)
    torch.testing.assert_close(totals, expected, rtol=0, atol=1e-10)


def test_the_passes_write_where_the_last_part_wrote():
    stack = DecoderStack(2, in_channels=6, num_classes=4, upscale=4)
    passes = stack.tail.passes(stack.levels)
    places = set()
    for cells in (6, 6, 3):
        scores = passes.forward(torch.randn(2, 4, cells))
        places.add((scores.data_ptr(), passes.backward(torch.randn_like(scores)).data_ptr()))
    assert len(places) == 1
