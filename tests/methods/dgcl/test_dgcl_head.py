import pytest
import torch
from mmseg.registry import MODELS
from small_heads import backbone_outputs, build
from tiny_semi import tiny_head
from torch import nn
from torch.nn import functional as F

from mmseg_semi.methods.dgcl.head import Projection


def test_projection_is_a_perceptron_over_pixels():
    head = build('DGCLHead', projection=True, projection_channels=12).double().train()
    first, bn, _, last = head.projection
    maps = torch.randn(3, 16, 5, 7, dtype=torch.float64)
    pixels = maps.movedim(1, -1).flatten(0, 2)
    hidden = F.linear(pixels, first.weight.flatten(1), first.bias)
    # over all pixels of all images
    hidden = F.batch_norm(hidden, None, None, bn.weight, bn.bias, training=True).relu()
    expected = F.linear(hidden, last.weight.flatten(1), last.bias)
    found = head.projection(maps)
    assert found.shape == (3, 12, 5, 7)
    assert (found.movedim(1, -1).flatten(0, 2) - expected).abs().max() < 1e-9


def test_the_projection_does_not_change_the_deployed_decoder():
    plain, head = build('DeepLabV3PlusHead').eval(), build('DGCLHead', projection=True).eval()
    # the projection draws no number from the stream of the decoder
    assert all(
        torch.equal(value, head.state_dict()[key]) for key, value in plain.state_dict().items()
    )
    inputs = backbone_outputs()
    with torch.no_grad():
        assert torch.equal(plain(inputs), head(inputs))
        for parameter in head.projection.parameters():
            parameter.fill_(float('nan'))
        assert torch.equal(plain(inputs), head(inputs))


def test_the_projection_leaves_the_global_generator_unchanged():
    draws = []
    for changes in (dict(), dict(projection=True)):
        torch.manual_seed(3)
        MODELS.build(tiny_head('DGCLHead', **changes))
        draws.append(torch.rand(4))
    assert torch.equal(*draws)


def test_without_the_flag_there_is_no_projection():
    head = build('DGCLHead')
    assert head.projection is None
    assert not any('projection' in key for key in head.state_dict())


@pytest.mark.parametrize('norm', [None, dict(type='GN', num_groups=4)])
def test_norm_of_the_projection(norm):
    projection = Projection(6, 8, norm)
    expected = nn.BatchNorm2d if norm is None else nn.GroupNorm
    assert isinstance(projection[1], expected) and projection.out_channels == 8
