"""Channels that are dropped: in V1 independently by output, in V2 by one view where the other keeps them."""

import pytest
import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.unimatch import (
    ChannelDropout,
    ComplementaryChannelDropout,
    complementary_masks,
)

PAIR = dict(first='strong', second='strong_2')


def factors(made: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(N, C): by what each channel was multiplied, one number for all of its positions."""
    ratio = made / level
    assert torch.allclose(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    return ratio[:, :, 0, 0]


@pytest.fixture
def level() -> torch.Tensor:
    return torch.rand(6, 400, 3, 2) + 0.5


def test_dropout_is_that_of_whole_channels(level):
    torch.manual_seed(0)
    made = ChannelDropout(dict(features='weak'), prob=0.25)(dict(weak=(level, level)))
    first, second = (factors(view, level) for view in made['features'])
    for found in (first, second):
        kept = found[found > 0]
        assert torch.allclose(kept, torch.full_like(kept, 4 / 3))
        # 2,400 channels: four standard deviations are 0.035
        assert abs((found == 0).float().mean() - 0.25) < 0.036
    # each output is dropped for itself, by independent draws
    both = ((first == 0) & (second == 0)).float().mean()
    assert abs(both - 0.25**2) < 0.02


def test_without_a_probability_nothing_changes(level):
    made = ChannelDropout(dict(a='weak', b='strong'), prob=0.0)(
        dict(weak=(level,), strong=(2 * level,))
    )
    assert torch.equal(made['a'][0], level) and torch.equal(made['b'][0], 2 * level)


def test_the_gradient_is_the_factor(level):
    level.requires_grad_()
    made = ChannelDropout(dict(features='weak'))(dict(weak=(level,)))['features'][0]
    made.sum().backward()
    assert torch.allclose(level.grad, (made / level).detach())


@pytest.mark.parametrize('whole', [0.0, 0.5, 1.0])
def test_what_one_view_keeps_the_other_drops(level, whole):
    torch.manual_seed(0)
    levels = (level, level[:, :, :2] * 3)
    made = ComplementaryChannelDropout(PAIR, whole)(dict(strong=levels, strong_2=levels))
    first, second = (factors(made[name][0], level) for name in PAIR)
    assert torch.allclose(first + second, torch.full_like(first, 2.0))
    stays = torch.isclose(first, torch.ones(())).all(dim=1)
    assert stays.sum() == int(whole * 6)
    dropped = first[~stays]
    assert ((dropped == 0) | torch.isclose(dropped, torch.tensor(2.0))).all()
    if len(dropped):
        # 1,200 channels or more: four standard deviations are 0.058
        assert abs((dropped == 0).float().mean() - 0.5) < 0.058
        # images do not share their channels
        assert not torch.equal(dropped[0] == 0, dropped[1] == 0)
    # one mask for outputs with equal numbers of channels
    assert torch.allclose(factors(made['first'][1], levels[1]), first)


def test_outputs_of_other_widths_have_masks_of_their_own(level):
    levels = (level, level[:, :100])
    made = ComplementaryChannelDropout(PAIR, 0.0)(dict(strong=levels, strong_2=levels))
    for index in (0, 1):
        assert torch.allclose(made['first'][index] + made['second'][index], 2 * levels[index])
    assert made['first'][1].shape == levels[1].shape


def test_the_images_that_stay_whole_are_drawn():
    torch.manual_seed(0)
    counts = sum((complementary_masks(5, 8, 0.5)[0] == 1).all(dim=1) for _ in range(400))
    # two of five each time: 160 of 400, four standard deviations are 39
    assert ((counts - 160).abs() < 40).all()


def test_the_masks_keep_the_precision(level):
    level = level.bfloat16()
    made = ComplementaryChannelDropout(PAIR)(dict(strong=(level,), strong_2=(level,)))
    assert made['first'][0].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ('words', 'build'),
    [
        ('expected a dict', lambda: ChannelDropout({})),
        ('expected a dict', lambda: ChannelDropout(['weak'])),
        ("makes 'weak'", lambda: ChannelDropout(dict(weak='strong'))),
        ("makes 'strong_2'", lambda: ChannelDropout(dict(strong_2='weak'))),
        ("of 'labeled'", lambda: ChannelDropout(dict(a='labeled'))),
        ('prob=1', lambda: ChannelDropout(dict(a='weak'), prob=1.0)),
        ('two different', lambda: ComplementaryChannelDropout(dict(a='strong'))),
        ('two different', lambda: ComplementaryChannelDropout(dict(a='strong', b='strong'))),
        ('whole=1.5', lambda: ComplementaryChannelDropout(PAIR, whole=1.5)),
    ],
)
def test_mistakes(words, build):
    with pytest.raises(SetupError, match=words):
        build()
