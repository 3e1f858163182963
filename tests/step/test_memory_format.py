"""One memory format through a whole step: what is chosen, that nothing is copied between formats, and equal numbers."""

import copy

import pytest
import torch
from tiny_semi import METHODS, TinyLoop, tiny_batch, tiny_losses, tiny_model
from torch import nn

from mmseg_semi import class_scores
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.measuring import list_format_copies
from mmseg_semi.step import memory_format
from mmseg_semi.step.memory_format import WIDE, set_memory_format, split_images
from mmseg_semi.step.pixels import rows_at

LAST = 6
"""An iteration at which all objectives are active."""


def channels_last(maps: torch.Tensor) -> torch.Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(('device', 'name'), [('cpu', True), ('cuda', True), ('mps', False)])
def test_the_default_follows_the_device(monkeypatch, device, name):
    monkeypatch.setattr(memory_format, 'get_device', lambda: device)
    expected = torch.channels_last if name else torch.contiguous_format
    assert memory_format.choose_memory_format(None) is expected


def test_an_unknown_format_is_refused():
    with pytest.raises(SetupError, match="model.memory_format='nhwc': expected one of"):
        tiny_model('supervised', memory_format='nhwc')


@pytest.mark.parametrize('method', METHODS)
def test_both_formats_start_from_the_same_weights_and_give_the_same_losses(method):
    found = []
    for name in memory_format.MEMORY_FORMATS:
        # without dropout, whose noise fills a map in the order of its memory
        model = tiny_model(method, memory_format=name, dropout=0.0)
        state = copy.deepcopy(model.state_dict())
        losses = tiny_losses(model, 0)
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((state, losses, gradients))
    (state, losses, gradients), (other_state, other_losses, other_gradients) = found
    assert state.keys() == other_state.keys()
    assert all(torch.equal(state[key], other_state[key]) for key in state)
    # MLLC chooses neighbours among many that are almost equal before any training
    for key in losses:
        relative = 2e-3 if method == 'mllc' else 1e-5
        torch.testing.assert_close(losses[key], other_losses[key], rtol=relative, atol=1e-6)
    assert len(gradients) > 20 and gradients.keys() == other_gradients.keys()
    if method == 'mllc':
        return
    for key, gradient in gradients.items():
        scale = gradient.abs().max().clamp(min=1e-4)
        assert (gradient - other_gradients[key]).abs().max() < 1e-3 * scale, key


@pytest.mark.parametrize('method', ['ddfp_reference', 'cps', 'dgcl'])
def test_all_weights_have_the_format_and_keep_it(method):
    model = tiny_model(method)
    loop = TinyLoop(model)
    for _ in range(4):
        loop.step()
    for network in (model, copy.deepcopy(model)):
        four = {name: p for name, p in network.named_parameters() if p.dim() == 4}
        assert len(four) > 20
        for name, parameter in four.items():
            assert parameter.is_contiguous(memory_format=torch.channels_last), name
    state = copy.deepcopy(model.state_dict())
    contiguous = tiny_model(method, memory_format='contiguous')
    contiguous.load_state_dict(state)
    assert all(p.is_contiguous() for p in contiguous.parameters())
    model.load_state_dict(contiguous.state_dict())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model.student.backbone.stem[0].weight.is_contiguous(memory_format=torch.channels_last)


ALLOWED = {
    # as they come from the pipeline
    'images',
    # torch computes a convolution's weight gradient contiguously and then gives it the weight's format
    'gradients of weights',
    # channels that come out of a cat have gaps between pixels, and torch resizes such gradients contiguously
    'gradient of the enlarged pyramid',
}


def kind_of(copied) -> str:
    *path, shape = copied
    if shape[1:] == (3, 32, 32):
        return 'images'
    if 'convolution_backward' in path[0] and '_to_copy' in path[0]:
        return 'gradients of weights'
    if 'upsample_bilinear2d_backward' in path[0] and shape[2:] == (2, 2):
        return 'gradient of the enlarged pyramid'
    return str(copied)


# not CCT, whose pyramid is MMSegmentation's and concatenates maps of one pixel, which have both formats; nor MLLC, whose graphs
# take the maps apart into nodes
@pytest.mark.parametrize('method', [method for method in METHODS if method not in ('cct', 'mllc')])
def test_no_copies_between_formats_on_the_way(method):
    # five classes: with three, or with small maps, torch's resize chooses a kernel of the other format
    model = tiny_model(method, num_classes=5)
    for iteration in range(LAST):
        tiny_losses(model, iteration, tiny_batch(num_classes=5))
        model.finish_step()

    def step():
        sum(
            v for k, v in tiny_losses(model, LAST, tiny_batch(num_classes=5)).items() if 'loss' in k
        ).backward()

    copies = list_format_copies(step)
    kinds = {kind_of(copied) for copied in copies}
    assert kinds <= ALLOWED
    # the counter sees something: each view of the pipeline is converted once
    assert sum(copies[copied] for copied in copies if kind_of(copied) == 'images') == 4


def test_the_counter_counts():
    maps = torch.randn(2, 5, 6, 7)

    def step():
        channels_last(maps)
        channels_last(maps).softmax(dim=1)
        maps.clone()

    copies = list_format_copies(step)
    assert sum(copies.values()) == 3 and {shape for *_, shape in copies} == {(2, 5, 6, 7)}


def test_split_images_is_split():
    maps = torch.randn(5, 3, 4, 6, dtype=torch.float64)
    for format_ in (maps, channels_last(maps)):
        leaf = format_.detach().requires_grad_()
        first, second, third = split_images(leaf, [2, 1, 2])
        assert torch.equal(torch.cat([first, second, third]), maps)
        (3 * first.sum() + third.square().sum()).backward()  # nothing of the second part
        expected = torch.cat([torch.full((2, 3, 4, 6), 3.0), torch.zeros(1, 3, 4, 6), 2 * maps[3:]])
        assert torch.equal(leaf.grad, expected) and leaf.grad.stride() == leaf.stride()
    assert torch.autograd.gradcheck(
        lambda x: [part.square() for part in split_images(x, [2, 3])][1], maps.requires_grad_()
    )
    assert split_images(maps, [5])[0] is maps


# -- class scores ----------------------------------------------------------------------------------


def test_softmax_in_both_formats():
    logits = 5 * torch.randn(2, 5, 6, 7, dtype=torch.float64)
    expected = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    for maps in (logits, channels_last(logits)):
        found, log = class_scores.softmax(maps), class_scores.log_softmax(maps)
        assert torch.allclose(found, expected) and torch.allclose(log, expected.log())
        assert found.stride() == log.stride() == maps.stride()


@pytest.mark.parametrize('reduction', ['none', 'sum'])
def test_cross_entropy_and_its_gradient_in_both_formats(reduction):
    logits = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 6, 7))
    labels[0, :2] = 255
    chosen = logits.log_softmax(dim=1).gather(1, labels.masked_fill(labels == 255, 0)[:, None])
    expected = -chosen[:, 0] * (labels != 255)
    weight = torch.rand(2, 6, 7, dtype=torch.float64)
    slope = (logits.softmax(dim=1) - nn.functional.one_hot(labels % 255, 5).permute(0, 3, 1, 2)) * (
        labels != 255
    )[:, None]
    for maps in (logits, channels_last(logits)):
        maps = maps.detach().requires_grad_()
        loss = class_scores.cross_entropy(maps, labels, 255, reduction)
        if reduction == 'none':
            assert torch.allclose(loss, expected)
            (loss * weight).sum().backward()
            assert torch.allclose(maps.grad, slope * weight[:, None])
        else:
            assert torch.allclose(loss, expected.sum())
            loss.backward()
            assert torch.allclose(maps.grad, slope)
        assert maps.grad.stride() == maps.stride()


def test_rows_of_a_channels_last_map_and_their_gradients():
    maps, index = torch.randn(2, 5, 6, 7), torch.tensor([0, 83, 40, 40])
    weight = torch.randn(4, 5)
    found = []
    for format_ in (maps, channels_last(maps)):
        leaf = format_.detach().requires_grad_()
        rows = rows_at(leaf, index)
        (rows * weight).sum().backward()
        found.append((rows.detach(), leaf.grad))
        assert torch.equal(rows_at(format_, index), rows)
        for row, position in zip(rows, index.tolist(), strict=True):
            image, pixel = divmod(position, 42)
            assert torch.equal(row, maps[image, :, pixel // 7, pixel % 7])
    assert torch.equal(found[0][0], found[1][0]) and torch.allclose(found[0][1], found[1][1])


def wide_and_others() -> nn.ModuleList:
    return nn.ModuleList(
        [
            nn.Conv2d(WIDE, 3, 3, padding=1, bias=False),
            nn.Conv2d(WIDE - 1, 3, 3, padding=1),
            nn.Conv2d(WIDE, 3, 1),
            nn.Conv2d(WIDE, 3, 3, padding=2, dilation=2),
            nn.Conv2d(WIDE, WIDE, 3, groups=WIDE),
        ]
    )


@pytest.mark.parametrize(('device', 'contiguous'), [('cpu', [0]), ('cuda', [])])
def test_wide_convolutions_stay_contiguous_on_a_cpu(monkeypatch, device, contiguous):
    monkeypatch.setattr(memory_format, 'get_device', lambda: device)
    layers = wide_and_others()
    for _ in range(2):  # as a model does when it is built and when its weights are drawn
        set_memory_format(layers, torch.channels_last)
    assert [len(layer._forward_pre_hooks) for layer in layers] == [
        int(i in contiguous) for i in range(5)
    ]
    for i, layer in enumerate(
        layers[:2]
    ):  # the weights of 1 x 1 and depthwise convolutions have both formats
        assert layer.weight.is_contiguous() == (i in contiguous)
    assert not layers[3].weight.is_contiguous()


def test_a_wide_convolution_computes_contiguously_with_equal_numbers():
    layers = wide_and_others().double()
    wide = layers[0]
    maps = torch.randn(2, WIDE, 4, 5, dtype=torch.float64)
    (expected_weight,) = torch.autograd.grad(wide(maps).square().sum(), [wide.weight])
    expected = wide(maps)
    set_memory_format(layers, torch.channels_last)
    for layer in (wide, copy.deepcopy(wide)):
        leaf = channels_last(maps).requires_grad_()
        found = layer(leaf)
        assert found.is_contiguous()
        torch.testing.assert_close(found, expected)
        gradient, own = torch.autograd.grad(found.square().sum(), [layer.weight, leaf])
        assert gradient.is_contiguous() and own.shape == maps.shape
        torch.testing.assert_close(gradient, expected_weight)
