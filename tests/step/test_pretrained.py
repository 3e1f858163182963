"""Pretrained weights that do not fill the student are refused, for modules that load in their own way too."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_semi.errors import SetupError
from mmseg_semi.step.pretrained import complete_pretraining

NORM = dict(type='BN')
BACKBONES = {
    'resnet': dict(type='ResNetV1c', depth=18, base_channels=4, stem_channels=4, norm_cfg=NORM),
    'mit': dict(type='MixVisionTransformer', embed_dims=4, num_layers=[1] * 4, num_heads=[1] * 4),
    'swin': dict(type='SwinTransformer', embed_dims=4, depths=[1] * 4, num_heads=[1] * 4),
    'vit': dict(
        type='VisionTransformer',
        img_size=(32, 32),
        patch_size=16,
        embed_dims=8,
        num_layers=1,
        num_heads=1,
        out_indices=-1,
    ),
}
# what no ImageNet checkpoint of this backbone has
OUTPUTS = {'swin': ('norm0', 'norm1', 'norm2', 'norm3'), 'vit': ('ln1',)}


def build(name, **changes):
    init_default_scope('mmseg')
    backbone = MODELS.build({**BACKBONES[name], **changes})
    network = torch.nn.ModuleDict({'backbone': backbone})
    return network, backbone


@pytest.fixture(params=BACKBONES)
def case(request, tmp_path):
    """A backbone and the path of a checkpoint of it, as published: without the norms of its outputs."""
    _, source = build(request.param)
    source.init_weights()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(torch.rand_like(parameter))
    state = {
        key: value
        for key, value in source.state_dict().items()
        if not key.startswith(OUTPUTS.get(request.param, '-'))
    }
    return request.param, state, tmp_path / 'weights.pth'


def initialise(name, state, path):
    torch.save(state, path)
    network, backbone = build(name, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with complete_pretraining(network):
        backbone.init_weights()
    return backbone


def test_whole_weights_are_taken(case):
    name, state, path = case
    loaded = initialise(name, state | {'head.fc.weight': torch.zeros(3, 3)}, path).state_dict()
    for key, value in state.items():
        assert torch.equal(loaded[key], value), key


@pytest.mark.parametrize('damage', ['missing', 'another shape', 'another network'])
def test_what_does_not_fit_is_named(case, damage):
    name, state, path = case
    key = next(k for k in reversed(state) if state[k].ndim > 1)
    if damage == 'missing':
        del state[key]
    elif damage == 'another shape':
        state[key] = torch.zeros(7, *state[key].shape[1:])
    else:
        state = {f'model.{k}': v for k, v in state.items()}
        key = 'first: '
    with pytest.raises(SetupError, match='does not fit') as error:
        initialise(name, state, path)
    assert key in str(error.value) and str(path) in str(error.value)
    assert 'model.student.backbone.init_cfg.checkpoint' in str(error.value)
