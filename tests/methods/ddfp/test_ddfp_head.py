import copy

import pytest
import torch
from small_heads import backbone_outputs, build, norm
from torch import nn

from mmseg_semi.errors import SetupError


def split_head(**changes) -> nn.Module:
    return build('DDFPHead', split_norms=True, dropout=0.0, **changes)


def decode(head: nn.Module, lifted: torch.Tensor, prefix: str, training: bool) -> torch.Tensor:
    """Stage 2 after its first convolution, through one pair of norms, by definition."""
    x = norm(lifted, getattr(head, f'{prefix}1'), training).clamp(min=0)
    x = torch.nn.functional.conv2d(x, head.conv2.weight, head.conv2.bias, padding=1)
    return norm(x, getattr(head, f'{prefix}2'), training).clamp(min=0)


@pytest.mark.parametrize('sizes', [(2, 3), (4, 1), (5, 0), (0, 5), None])
@pytest.mark.parametrize('training', [True, False])
def test_rows_are_routed_by_their_number(sizes, training):
    head = split_head().double().train(training)
    lifted = torch.randn(5, 16, 6, 7, dtype=torch.float64)
    clean = lifted.shape[0] if sizes is None else sizes[0]
    parts = []
    if clean:
        parts.append(decode(head, lifted[:clean], 'norm', training))
    if clean < 5:
        parts.append(decode(head, lifted[clean:], 'aux_norm', training))
    expected = torch.cat(parts)
    features, logits, _ = head.finish(lifted, sizes)
    assert (features - expected).abs().max() < 1e-12
    assert torch.equal(logits, head.conv_seg(features))


def test_auxiliary_norms_keep_no_statistics():
    head = split_head().train()
    for index in (1, 2):
        auxiliary = getattr(head, f'aux_norm{index}')
        assert auxiliary.running_mean is None and auxiliary.running_var is None
        assert not list(auxiliary.buffers())
        assert [name for name, _ in auxiliary.named_parameters()] == ['weight', 'bias']
    before = copy.deepcopy(head.state_dict())
    head.finish(torch.randn(4, 16, 5, 5), (0, 4))
    after = head.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any('aux_norm' in key and 'running' in key for key in before)


def test_main_statistics_see_the_clean_rows_alone():
    states = []
    for scale in (1.0, 100.0):
        head = split_head(seed=3).train()
        torch.manual_seed(0)
        rows = torch.randn(6, 16, 5, 5)
        rows[4:] *= scale
        head.finish(rows, (4, 2))
        states.append({key: value for key, value in head.state_dict().items() if 'norm' in key})
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any('running_mean' in key for key in states[0])


def test_evaluation_does_not_depend_on_the_auxiliary_norms():
    head = split_head().eval()
    inputs = backbone_outputs()
    expected = head(inputs)
    for index in (1, 2):
        nn.init.normal_(getattr(head, f'aux_norm{index}').weight)
        nn.init.normal_(getattr(head, f'aux_norm{index}').bias)
    assert torch.equal(head(inputs), expected)
    # and is that of the plain head with the same weights, bit for bit
    plain = build('DeepLabV3PlusHead', dropout=0.0).eval()
    state = {key: value for key, value in head.state_dict().items() if 'aux_norm' not in key}
    plain.load_state_dict(state, strict=True)
    assert torch.equal(plain(inputs), expected)


def test_other_norms_are_split_too():
    head = split_head(norm='GN')
    assert isinstance(head.aux_norm1, nn.GroupNorm) and head.aux_norm1 is not head.norm1
    lifted = torch.randn(3, 16, 5, 5)
    nn.init.constant_(head.aux_norm2.weight, 0.0)
    nn.init.constant_(head.aux_norm2.bias, 0.25)
    features = head.features(lifted, (1, 2))
    assert (features[1:] == 0.25).all()
    assert torch.equal(features[:1], head.features(lifted)[:1])


def test_a_synchronised_norm_can_be_reverted():
    """A run on one process turns SyncBN into BN; the auxiliary norms must survive this."""
    from mmengine.model import revert_sync_batchnorm

    head = build('DDFPHead', split_norms=True, norm='SyncBN')
    assert isinstance(head.aux_norm1, nn.SyncBatchNorm)
    head = revert_sync_batchnorm(head).train()
    features = head.features(torch.randn(4, 16, 5, 5), (2, 2))
    assert torch.isfinite(features).all() and head.aux_norm1.running_mean is None


def test_without_split_norms_there_is_no_second_branch():
    head = build('DDFPHead')
    assert not any('aux_norm' in name for name, _ in head.named_parameters())
    lifted = torch.randn(2, 16, 5, 5)
    with pytest.raises(SetupError, match='split_norms=True'):
        head.finish(lifted, (1, 1))
    head.finish(lifted, (2, 0))
