"""What batch norms remember, and what they must not."""

import copy

import pytest
import torch
from torch import nn

from mmseg_semi.norms import statistics_kept


@pytest.mark.parametrize(
    'norm',
    [
        nn.BatchNorm2d(3),
        nn.BatchNorm2d(3, momentum=None),
        nn.SyncBatchNorm(3),
        nn.BatchNorm2d(3, track_running_stats=False),
    ],
    ids=['BN', 'cumulative', 'SyncBN', 'without statistics'],
)
def test_a_norm_normalises_by_its_batch_and_forgets_it(norm):
    x = 5 + 2 * torch.randn(4, 3, 6, 6)
    norm(torch.randn(4, 3, 6, 6))  # something to remember
    before, momentum = copy.deepcopy(norm.state_dict()), norm.momentum
    with statistics_kept(norm):
        y = norm(x)
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(y, (x - mean) / (var + norm.eps).sqrt(), rtol=1e-4, atol=1e-5)
    after = norm.state_dict()
    assert before.keys() == after.keys() and norm.momentum == momentum
    assert all(torch.equal(before[key], after[key]) for key in before)
    norm(x)  # and remembers again
    if norm.track_running_stats:
        assert norm.num_batches_tracked == 2
        assert not torch.equal(before['running_mean'], norm.running_mean)


def test_statistics_are_kept_after_an_error():
    norm = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match='expected 4D'), statistics_kept(norm):
        norm(torch.randn(3))
    assert norm.momentum == 0.1 and norm.num_batches_tracked == 0
