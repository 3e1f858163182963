"""Pretrained weights of three colours in networks that take other bands."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmseg_semi.errors import SetupError
from mmseg_semi.step.image_kernels import adapt_kernels, image_channels, kernels_for_bands
from mmseg_semi.step.pretrained import complete_pretraining

NORM = dict(type='BN')
BACKBONES = {
    'resnet': dict(type='ResNetV1c', depth=18, base_channels=4, stem_channels=4, norm_cfg=NORM),
    'lite': dict(type='EfficientNetLite', arch='lite0', out_indices=(1,)),
    'mit': dict(type='MixVisionTransformer', embed_dims=4, num_layers=[1] * 4, num_heads=[1] * 4),
    'swin': dict(type='SwinTransformer', embed_dims=4, depths=[1] * 4, num_heads=[1] * 4),
}


@pytest.mark.parametrize(
    ('channels', 'colour'),
    [(1, None), (2, None), (3, None), (4, None), (7, None), (4, (2, 1, 0)), (9, (3, 7, 1))],
)
def test_equal_bands_count_as_grey(channels, colour):
    weight = torch.randn(8, 3, 3, 3)
    grey = torch.randn(2, 1, 12, 12)
    adapted = adapt_kernels(weight, channels, colour)
    assert adapted.shape == (8, channels, 3, 3)
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), weight)
    found = F.conv2d(grey.expand(-1, channels, -1, -1), adapted)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_colours_have_their_own_kernels():
    """An image of which only the colours differ from their mean gives what its RGB part does, times 3 / 5."""
    weight, rgb = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 8, 8)
    rgb = rgb - rgb.mean(1, keepdim=True)
    image = torch.zeros(1, 5, 8, 8)
    image[:, [3, 0, 1]] = rgb
    found = F.conv2d(image, adapt_kernels(weight, 5, (3, 0, 1)))
    torch.testing.assert_close(found, F.conv2d(rgb, weight) * 0.6, rtol=1e-4, atol=1e-5)


def test_three_colours_in_another_order_are_the_published_network():
    weight, rgb = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 8, 8)
    found = F.conv2d(rgb.flip(1), adapt_kernels(weight, 3, (2, 1, 0)))
    torch.testing.assert_close(found, F.conv2d(rgb, weight), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones_load_adapted_weights(name, tmp_path):
    init_default_scope('mmseg')
    source = MODELS.build(BACKBONES[name])
    path = str(tmp_path / 'weights.pth')
    state = {k: v for k, v in source.state_dict().items() if k not in ('norm0', 'norm1')}
    state = {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(state, path)
    config = dict(BACKBONES[name], in_channels=4, init_cfg=dict(type='Pretrained', checkpoint=path))
    network = nn.ModuleDict({'backbone': MODELS.build(config)})
    assert image_channels(network['backbone']) == 4
    with kernels_for_bands(network, (2, 1, 0)), complete_pretraining(network):
        network['backbone'].init_weights()
    loaded = network['backbone'].state_dict()
    first = next(k for k, v in state.items() if v.ndim == 4 and v.shape[1] == 3)
    kernel = state[first]
    expected = torch.stack([kernel[:, 2], kernel[:, 1], kernel[:, 0], kernel.mean(1)], 1) * 0.75
    torch.testing.assert_close(loaded[first], expected)
    others = [k for k in state if k != first and not k.endswith('num_batches_tracked')]
    assert all(torch.equal(loaded[k], state[k]) for k in others)
    assert network['backbone'].init_cfg['checkpoint'] == path


def test_weights_of_another_network_are_named_as_the_config_names_them(tmp_path):
    init_default_scope('mmseg')
    path = str(tmp_path / 'weights.pth')
    torch.save({'conv': torch.zeros(4, 3, 7, 7)}, path)
    config = dict(
        BACKBONES['resnet'], in_channels=4, init_cfg=dict(type='Pretrained', checkpoint=path)
    )
    network = nn.ModuleDict({'backbone': MODELS.build(config)})
    with pytest.raises(SetupError, match=rf"init_cfg\.checkpoint='{path}' does not fit"):
        with kernels_for_bands(network, None), complete_pretraining(network):
            network['backbone'].init_weights()
