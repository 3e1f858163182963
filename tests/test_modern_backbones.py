"""DINOv2, SegFormer's MiT and ConvNeXt: under every method, from published weights, with rates by layer and dropped paths."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmpretrain_here import import_mmpretrain  # noqa: F401  (pytest evaluates its name)
from mmseg.registry import MODELS
from tiny_semi import TinyLoop, tiny_batch, tiny_data, tiny_head, tiny_model
from torch.nn import functional as F
from whole_runs import assert_same_checkpoint, call_tool, train

from mmseg_semi.cli.model_converters.backbone_keys import convert
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.optimisers import layer_scales
from mmseg_semi.step.pretrained import complete_pretraining

pytestmark = pytest.mark.skipif(
    'not import_mmpretrain()', reason='onedl-mmpretrain is not installed'
)
WIDTHS = [8, 16, 32, 64]
LEVELS = dict(in_index=[0, 1, 2, 3], in_channels=WIDTHS)
DINO = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32),
    img_size=518,
    patch_size=14,
    layer_scale_init_value=1e-5,
    out_indices=[0, 1, 2, 3],
    out_type='featmap',
    drop_path_rate=0.3,
)
MIT = dict(
    type='MixVisionTransformer',
    embed_dims=8,
    num_layers=[1, 2, 1, 1],
    num_heads=[1, 2, 4, 8],
    sr_ratios=[8, 4, 2, 1],
    mlp_ratio=2,
    qkv_bias=True,
    drop_path_rate=0.3,
)
CONVNEXT = dict(
    type='mmpretrain.ConvNeXt',
    arch=dict(depths=[1, 2, 1, 1], channels=WIDTHS),
    out_indices=[0, 1, 2, 3],
    gap_before_final_norm=False,
    drop_path_rate=0.3,
)
DPT = tiny_head(
    'DPTMapHead',
    in_channels=[16] * 4,
    in_index=[0, 1, 2, 3],
    embed_dims=16,
    patch_size=14,
    post_process_channels=[4, 8, 16, 16],
)
STUDENTS = {
    'dinov2': (DINO, DPT),
    'segformer': (MIT, tiny_head('SegformerHead', **LEVELS)),
    'convnext': (CONVNEXT, tiny_head('UPerHead', pool_scales=(1, 2), **LEVELS)),
}
METHODS = ('supervised', 'fixmatch', 'ddfp', 'dgcl', 'cct', 'unimatch', 'unimatch_v2', 'cps')


def student(name: str, **changes) -> dict:
    backbone, head = copy.deepcopy(STUDENTS[name])
    network = dict(type='EncoderDecoder', train_cfg=dict(), test_cfg=dict(mode='whole'))
    return network | dict(backbone=backbone, decode_head=head) | changes


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', STUDENTS)
def test_a_step_and_a_prediction(name, method):
    """At a size that is neither the position embedding's nor, for DINOv2, a multiple of 32."""
    changes = dict(pseudo_label=dict(type='ConfidenceThreshold', threshold=0.0))
    if method in ('supervised', 'cct', 'dgcl'):
        changes = {}
    model = tiny_model(method, student=student(name), **changes)
    model.data_preprocessor.data_preprocessor.test_cfg = dict(size_divisor=14)
    loop = TinyLoop(model)
    loop.iter = 4  # all phases have begun
    before = {key: p.clone() for key, p in model.student.named_parameters()}
    values = loop.step(tiny_batch(2, 2 if method != 'supervised' else 0, size=84))
    assert all(np.isfinite(value) for value in values.values())
    if method != 'supervised':
        losses = [key for key, v in values.items() if 'loss' in key and v > 0]
        assert any(not key.startswith(('sup', 'loss')) for key in losses), values
    # what DistributedDataParallel demands without find_unused_parameters
    assert not [key for key, p in model.student.named_parameters() if p.grad is None]
    moved = [key for key, p in model.student.named_parameters() if not torch.equal(p, before[key])]
    assert any(key.startswith('backbone.') for key in moved)
    assert any(key.startswith('decode_head.') for key in moved)
    inner = model.eval().data_preprocessor
    sample = tiny_batch(1, 0)['data_samples']['labeled'][0]
    sample.set_metainfo(dict(img_shape=(75, 61), ori_shape=(75, 61)))
    image = torch.zeros(3, 75, 61, dtype=torch.uint8)
    data = inner({'inputs': [image], 'data_samples': [sample]}, training=False)
    with torch.no_grad():
        (prediction,) = model.predict(data['inputs'], data['data_samples'])
    assert prediction.pred_sem_seg.data.shape == (1, 75, 61)
    assert prediction.seg_logits.data.isfinite().all()


# -- published weights -------------------------------------------------------------------------


def random_state(shapes: dict[str, tuple]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.randn(shape, generator=generator) * 0.2 + ('norm' in key)
        for key, shape in shapes.items()
    }


def affine(name: str, out: int, *width: int) -> dict[str, tuple]:
    return {f'{name}.weight': (out, *width), f'{name}.bias': (out,)}


def dinov2_state() -> dict[str, torch.Tensor]:
    """What dinov2_vits14_pretrain.pth holds, narrower and with four blocks."""
    shapes = dict(cls_token=(1, 1, 16), pos_embed=(1, 37 * 37 + 1, 16), mask_token=(1, 16))
    shapes |= affine('patch_embed.proj', 16, 3, 14, 14) | affine('norm', 16)
    for i in range(4):
        at = f'blocks.{i}'
        shapes |= affine(f'{at}.norm1', 16) | affine(f'{at}.norm2', 16)
        shapes |= affine(f'{at}.attn.qkv', 48, 16) | affine(f'{at}.attn.proj', 16, 16)
        shapes |= affine(f'{at}.mlp.fc1', 32, 16) | affine(f'{at}.mlp.fc2', 16, 32)
        shapes |= {f'{at}.ls1.gamma': (16,), f'{at}.ls2.gamma': (16,)}
    return random_state(shapes)


def mit_state() -> dict[str, torch.Tensor]:
    """What mit_b0.pth of SegFormer's authors holds, narrower."""
    shapes = {}
    for i, (width, before, depth, ratio) in enumerate(
        zip(WIDTHS, [3, *WIDTHS], MIT['num_layers'], MIT['sr_ratios'], strict=False), 1
    ):
        size = 7 if i == 1 else 3
        shapes |= affine(f'patch_embed{i}.proj', width, before, size, size)
        shapes |= affine(f'patch_embed{i}.norm', width) | affine(f'norm{i}', width)
        for j in range(depth):
            at = f'block{i}.{j}'
            shapes |= affine(f'{at}.norm1', width) | affine(f'{at}.norm2', width)
            shapes |= affine(f'{at}.attn.q', width, width)
            shapes |= affine(f'{at}.attn.kv', 2 * width, width)
            shapes |= affine(f'{at}.attn.proj', width, width)
            if ratio > 1:
                shapes |= affine(f'{at}.attn.sr', width, width, ratio, ratio)
                shapes |= affine(f'{at}.attn.norm', width)
            shapes |= affine(f'{at}.mlp.fc1', 2 * width, width)
            shapes |= affine(f'{at}.mlp.dwconv.dwconv', 2 * width, 1, 3, 3)
            shapes |= affine(f'{at}.mlp.fc2', width, 2 * width)
    return random_state(shapes | affine('head', 10, 64))


TIMM = dict(
    stem='stem',
    down='stages.{i}.downsample',
    block='stages.{i}.blocks.{j}',
    names=('conv_dw', 'mlp.fc1', 'mlp.fc2'),
    norm='head.norm',
    head='head.fc',
)
AUTHORS = dict(
    stem='downsample_layers.0',
    down='downsample_layers.{i}',
    block='stages.{i}.{j}',
    names=('dwconv', 'pwconv1', 'pwconv2'),
    norm='norm',
    head='head',
)
MMPRETRAIN = dict(
    stem='downsample_layers.0',
    down='downsample_layers.{i}',
    block='stages.{i}.{j}',
    names=('depthwise_conv', 'pointwise_conv1', 'pointwise_conv2'),
    norm='norm3',
    head='head.fc',
)


def convnext_state(of: dict) -> dict[str, torch.Tensor]:
    """An ImageNet checkpoint of ConvNeXt in one of three namings, narrower."""
    shapes = affine(f'{of["stem"]}.0', 8, 3, 4, 4) | affine(f'{of["stem"]}.1', 8)
    for i, width in enumerate(WIDTHS):
        if i:
            down = of['down'].format(i=i)
            shapes |= affine(f'{down}.0', width // 2) | affine(f'{down}.1', width, width // 2, 2, 2)
        for j in range(CONVNEXT['arch']['depths'][i]):
            at, (dw, one, two) = of['block'].format(i=i, j=j), of['names']
            shapes |= affine(f'{at}.{dw}', width, 1, 7, 7) | affine(f'{at}.norm', width)
            shapes |= affine(f'{at}.{one}', 4 * width, width)
            shapes |= affine(f'{at}.{two}', width, 4 * width) | {f'{at}.gamma': (width,)}
    return random_state(shapes | affine(of['norm'], 64) | affine(of['head'], 10, 64))


def load(config: dict, state: dict, path, prefix: str | None = None):
    """The backbone with these weights, loaded as a run loads them."""
    torch.save(state, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    if prefix:
        init_cfg['prefix'] = prefix
    backbone = MODELS.build(dict(copy.deepcopy(config), init_cfg=init_cfg))
    with complete_pretraining(torch.nn.ModuleDict({'backbone': backbone})):
        backbone.init_weights()
    backbone.eval()  # of mmpretrain's this returns nothing
    return backbone


def norm(state: dict, name: str, tokens: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    return F.layer_norm(
        tokens, tokens.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'], eps
    )


def linear(state: dict, name: str, tokens: torch.Tensor) -> torch.Tensor:
    return F.linear(tokens, state[f'{name}.weight'], state[f'{name}.bias'])


def conv(state: dict, name: str, maps: torch.Tensor, **arguments) -> torch.Tensor:
    return F.conv2d(maps, state[f'{name}.weight'], state[f'{name}.bias'], **arguments)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def dinov2_forward(state: dict, images: torch.Tensor) -> list[torch.Tensor]:
    """The equations of a ViT with layer scales, on the published names."""
    maps = conv(state, 'patch_embed.proj', images, stride=14)
    grid = maps.shape[2:]
    positions = state['pos_embed'][:, 1:].transpose(1, 2).unflatten(2, (37, 37))
    positions = F.interpolate(positions, grid, mode='bicubic')
    tokens = (maps + positions).flatten(2).transpose(1, 2)
    first = state['cls_token'] + state['pos_embed'][:, :1]
    tokens = torch.cat([first.expand(len(images), -1, -1), tokens], 1)
    outputs = []
    for i in range(4):
        at = f'blocks.{i}'
        qkv = linear(state, f'{at}.attn.qkv', norm(state, f'{at}.norm1', tokens)).chunk(3, -1)
        mixed = linear(state, f'{at}.attn.proj', attention(*qkv, heads=2))
        tokens = tokens + state[f'{at}.ls1.gamma'] * mixed
        hidden = F.gelu(linear(state, f'{at}.mlp.fc1', norm(state, f'{at}.norm2', tokens)))
        tokens = tokens + state[f'{at}.ls2.gamma'] * linear(state, f'{at}.mlp.fc2', hidden)
        last = norm(state, 'norm', tokens) if i == 3 else tokens
        outputs.append(last[:, 1:].transpose(1, 2).unflatten(2, grid))
    return outputs


def mit_forward(state: dict, images: torch.Tensor) -> list[torch.Tensor]:
    """SegFormer's encoder on the published names."""
    outputs, maps = [], images
    for i in range(1, 5):
        size, stride = (7, 4) if i == 1 else (3, 2)
        maps = conv(state, f'patch_embed{i}.proj', maps, stride=stride, padding=size // 2)
        grid = maps.shape[2:]
        tokens = norm(state, f'patch_embed{i}.norm', maps.flatten(2).transpose(1, 2), 1e-5)
        for j in range(MIT['num_layers'][i - 1]):
            at, ratio = f'block{i}.{j}', MIT['sr_ratios'][i - 1]
            inner = norm(state, f'{at}.norm1', tokens)
            source = inner
            if ratio > 1:
                source = inner.transpose(1, 2).unflatten(2, grid)
                source = conv(state, f'{at}.attn.sr', source, stride=ratio)
                source = norm(state, f'{at}.attn.norm', source.flatten(2).transpose(1, 2), 1e-5)
            k, v = linear(state, f'{at}.attn.kv', source).chunk(2, -1)
            mixed = attention(linear(state, f'{at}.attn.q', inner), k, v, MIT['num_heads'][i - 1])
            tokens = tokens + linear(state, f'{at}.attn.proj', mixed)
            hidden = linear(state, f'{at}.mlp.fc1', norm(state, f'{at}.norm2', tokens))
            hidden = hidden.transpose(1, 2).unflatten(2, grid)
            hidden = conv(
                state, f'{at}.mlp.dwconv.dwconv', hidden, padding=1, groups=len(hidden[0])
            )
            hidden = F.gelu(hidden.flatten(2).transpose(1, 2))
            tokens = tokens + linear(state, f'{at}.mlp.fc2', hidden)
        maps = norm(state, f'norm{i}', tokens, 1e-5).transpose(1, 2).unflatten(2, grid)
        outputs.append(maps)
    return outputs


def convnext_forward(state: dict, images: torch.Tensor, of: dict) -> torch.Tensor:
    """ConvNeXt on one of the namings: the last map, normalised."""

    def channels(name, maps):
        return norm(state, name, maps.movedim(1, -1)).movedim(-1, 1)

    maps = channels(f'{of["stem"]}.1', conv(state, f'{of["stem"]}.0', images, stride=4))
    for i, width in enumerate(WIDTHS):
        if i:
            down = of['down'].format(i=i)
            maps = conv(state, f'{down}.1', channels(f'{down}.0', maps), stride=2)
        for j in range(CONVNEXT['arch']['depths'][i]):
            at, (dw, one, two) = of['block'].format(i=i, j=j), of['names']
            hidden = conv(state, f'{at}.{dw}', maps, padding=3, groups=width).movedim(1, -1)
            hidden = F.gelu(linear(state, f'{at}.{one}', norm(state, f'{at}.norm', hidden)))
            hidden = state[f'{at}.gamma'] * linear(state, f'{at}.{two}', hidden)
            maps = maps + hidden.movedim(-1, 1)
    return channels(of['norm'], maps)


IMAGES = torch.randn(2, 3, 70, 98, generator=torch.Generator().manual_seed(1))


def test_dinov2s_own_keys(tmp_path):
    """Loaded by the command, at 5 x 7 patches where the weights have positions of 37 x 37."""
    state = dinov2_state()
    torch.save(state, tmp_path / 'in.pth')
    call_tool('model_converters/backbone_keys', tmp_path / 'in.pth', tmp_path / 'out.pth')
    converted = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert len(converted['state_dict']) == len(state) - 1  # without mask_token
    backbone = load(DINO, converted, tmp_path / 'weights.pth', 'backbone')
    own = {f'backbone.{key}': value for key, value in backbone.state_dict().items()}
    assert own.keys() == converted['state_dict'].keys()
    assert all(torch.equal(value, own[key]) for key, value in converted['state_dict'].items())
    with torch.no_grad():
        for ours, expected in zip(backbone(IMAGES), dinov2_forward(state, IMAGES), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_position_embeddings_are_resized_when_they_are_loaded(tmp_path):
    state, _ = convert(dinov2_state())
    small = load(dict(DINO, img_size=(70, 98)), state, tmp_path / 'weights.pth', 'backbone')
    assert small.pos_embed.shape == (1, 5 * 7 + 1, 16)
    with torch.no_grad():
        for ours, expected in zip(
            small(IMAGES), dinov2_forward(dinov2_state(), IMAGES), strict=True
        ):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_mits_own_keys(tmp_path):
    state = mit_state()
    converted, layout = convert(state)
    backbone = load(MIT, converted, tmp_path / 'weights.pth')
    own = backbone.state_dict()
    assert layout == 'MiT' and own.keys() == converted.keys()  # as MMSegmentation's files have them
    assert all(torch.equal(value, own[key]) for key, value in converted.items())
    with torch.no_grad():
        for ours, expected in zip(backbone(IMAGES), mit_forward(state, IMAGES), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('of', [TIMM, AUTHORS, MMPRETRAIN], ids=['timm', 'authors', 'mmpretrain'])
def test_convnexts_keys(tmp_path, of):
    state = convnext_state(of)
    if of is MMPRETRAIN:
        converted = {f'backbone.{key}': v for key, v in state.items() if key[:4] != 'head'}
    else:
        converted, _ = convert(state)
    assert len(converted) == len(state) - 2  # without the classifier
    backbone = load(CONVNEXT, converted, tmp_path / 'weights.pth', 'backbone')
    own = {f'backbone.{key}': value for key, value in backbone.state_dict().items()}
    assert all(torch.equal(value, own[key]) for key, value in converted.items())
    fresh = own.keys() - converted.keys()  # an ImageNet network has one output
    assert fresh == {f'backbone.norm{i}.{part}' for i in range(3) for part in ('weight', 'bias')}
    with torch.no_grad():
        last = backbone(IMAGES)[3]
    torch.testing.assert_close(last, convnext_forward(state, IMAGES, of), atol=1e-4, rtol=1e-4)
    # any other tensor must be there
    del converted['backbone.stages.1.1.gamma']
    with pytest.raises(SetupError, match=r'first: stages\.1\.1\.gamma, which is missing'):
        load(CONVNEXT, converted, tmp_path / 'weights.pth', 'backbone')


def test_unknown_layouts_are_refused(tmp_path, capsys):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'in.pth')
    with pytest.raises(SystemExit):
        call_tool('model_converters/backbone_keys', tmp_path / 'in.pth', tmp_path / 'out.pth')
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'begins with conv1.weight' in said and 'DINOv2' in said
    assert not (tmp_path / 'out.pth').exists()
    registers = dinov2_state() | dict(register_tokens=torch.zeros(1, 4, 16))
    with pytest.raises(SetupError, match='layout DINOv2 but holds register_tokens'):
        convert(registers)


# -- learning rates by layer -------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'distances'),
    [
        (
            'dinov2',  # four blocks, and what is before the first and behind the last
            {
                'backbone.pos_embed': 5,
                'backbone.patch_embed.projection.weight': 5,
                'backbone.layers.0.attn.qkv.weight': 4,
                'backbone.layers.3.ln1.bias': 1,
                'backbone.ln1.weight': 0,
            },
        ),
        (
            'segformer',  # 1 + 2 + 1 + 1 blocks
            {
                'backbone.layers.0.0.projection.weight': 6,
                'backbone.layers.0.1.0.attn.attn.in_proj_weight': 5,
                'backbone.layers.0.2.weight': 5,
                'backbone.layers.1.0.projection.weight': 5,
                'backbone.layers.1.1.1.norm1.weight': 3,
                'backbone.layers.3.1.0.ffn.layers.0.weight': 1,
                'backbone.layers.3.2.bias': 0,
            },
        ),
        (
            'convnext',  # six groups of blocks, of which those with numbers 4 and 5 need deeper networks
            {
                'backbone.downsample_layers.0.0.weight': 7,
                'backbone.stages.0.0.gamma': 6,
                'backbone.stages.1.1.depthwise_conv.weight': 5,
                'backbone.downsample_layers.2.1.weight': 4,
                'backbone.stages.2.0.norm.weight': 4,
                'backbone.stages.3.0.pointwise_conv1.weight': 1,
                'backbone.norm0.weight': 0,
            },
        ),
    ],
)
def test_learning_rates_by_layer(name, distances):
    model = tiny_model('cps', student=student(name))
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor='StudentOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.05),
            paramwise_cfg=dict(
                layer_decay_rate=0.8,
                norm_decay_mult=0.0,
                custom_keys=dict(decode_head=dict(lr_mult=10)),
            ),
        ),
    )
    rates = {id(p): g['lr'] for g in wrapper.optimizer.param_groups for p in g['params']}
    for network in (model.student, model.peer.student):  # the peer's are its own parameters
        named = dict(network.named_parameters())
        for key, distance in distances.items():
            assert rates[id(named[key])] == pytest.approx(0.01 * 0.8**distance), key
        assert rates[id(named['decode_head.conv_seg.weight'])] == pytest.approx(0.1)
        assert {id(p) for p in named.values()} <= rates.keys()
    decay = {id(p): g['weight_decay'] for g in wrapper.optimizer.param_groups for p in g['params']}
    norms = [m for m in model.student.backbone.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {decay[id(m.weight)] for m in norms} == {0.0}


def test_without_the_key_rates_are_as_before():
    model = tiny_model('fixmatch', student=student('segformer'))
    optimizer = dict(type='AdamW', lr=0.01)
    config = dict(constructor='StudentOptimWrapperConstructor', optimizer=optimizer)
    wrapper = build_optim_wrapper(model, config)
    assert {group['lr'] for group in wrapper.optimizer.param_groups} == {0.01}


def test_rates_by_layer_need_depths():
    model = tiny_model('fixmatch')
    with pytest.raises(SetupError, match='ResNetV1c has no get_layer_depth') as error:
        layer_scales(model.student.backbone, 0.9)
    assert 'remove the key' in str(error.value) and '\n' not in str(error.value)
    with pytest.raises(SetupError, match=r'layer_decay_rate=1.5, expected a number greater than 0'):
        layer_scales(model.student.backbone, 1.5)


# -- dropped paths -----------------------------------------------------------------------------


class Drawn(Hook):
    """Notes which rows of a batch each DropPath of the student drops, by iteration."""

    def __init__(self) -> None:
        self.rows: dict[int, list] = {}

    def before_train(self, runner) -> None:
        for name, module in runner.model.student.backbone.named_modules():
            if type(module).__name__ == 'DropPath':
                module.register_forward_hook(self.note(runner, name))

    def note(self, runner, name):
        def look(module, inputs, output):
            if module.training:
                dropped = (output == 0).flatten(1).all(1) & (inputs[0] != 0).flatten(1).any(1)
                self.rows.setdefault(runner.iter, []).append((name, dropped.tolist()))

        return look


@pytest.mark.parametrize('name', ['segformer', 'convnext'])
def test_dropped_paths_differ_by_step_and_are_the_same_on_resume(tmp_path, name):
    network = student(name)
    network['backbone']['drop_path_rate'] = 0.5
    network['decode_head']['num_classes'] = 11
    cfg: Config = tiny_data(
        tmp_path, 'fixmatch', 6, checkpoint_interval=3, val_interval=3, model=dict(student=network)
    )
    whole, resumed = Drawn(), Drawn()
    train(cfg, tmp_path / 'whole', hooks=(whole,))
    train(cfg, tmp_path / 'parts', stop=3)
    train(cfg, tmp_path / 'parts', resume=True, hooks=(resumed,))
    assert_same_checkpoint(tmp_path / 'whole/iter_6.pth', tmp_path / 'parts/iter_6.pth')
    assert list(whole.rows) == list(range(6)) and list(resumed.rows) == [3, 4, 5]
    assert all(resumed.rows[i] == whole.rows[i] for i in (3, 4, 5))
    late = [str(whole.rows[i]) for i in range(6)]
    assert len(set(late)) == 6 and any('True' in rows for rows in late)


# -- the shipped config ------------------------------------------------------------------------


def test_the_convnext_config_has_no_running_statistics():
    cfg = Config.fromfile('configs/fixmatch/voc_732_convnext_t.py')
    model = copy.deepcopy(cfg.model)
    model.student.backbone.init_cfg = None
    built = MODELS.build(model)
    assert not [key for key, _ in built.student.named_buffers() if 'running' in key]
    wrapper = build_optim_wrapper(built, cfg.optim_wrapper)
    named = dict(built.student.named_parameters())
    rates = {id(p): g['lr'] for g in wrapper.optimizer.param_groups for p in g['params']}
    assert rates[id(named['backbone.downsample_layers.0.0.weight'])] == pytest.approx(1e-4 * 0.9**7)
    assert rates[id(named['decode_head.conv_seg.weight'])] == pytest.approx(1e-4)
