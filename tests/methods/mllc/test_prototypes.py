"""The prototypes' running means against a loop."""

import pytest
import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.mllc.prototypes import PrototypeBank, class_sums


def test_class_sums_equal_a_loop():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, 3, 4, generator=generator)
    labels = torch.randint(0, 4, (2, 3, 4), generator=generator)
    labels[labels == 2] = 255
    sums, counts = class_sums(
        features.masked_fill((labels == 255)[:, None], float('nan')), labels, 4
    )
    for c in range(4):
        rows = [features[b, :, y, x] for b, y, x in (labels == c).nonzero().tolist()]
        assert int(counts[c]) == len(rows)
        expected = torch.stack(rows).sum(dim=0) if rows else torch.zeros(6)
        assert (sums[c] - expected).abs().max() < 1e-5


def test_first_sight_copies_then_a_hundredth_moves_and_the_absent_stay():
    bank = PrototypeBank(2, 3, 4)
    first = torch.randn(3, 4)
    bank.update(0, 5 * first, torch.tensor([5, 5, 0]))
    assert torch.allclose(bank.prototypes[0, :2], first[:2])
    assert bank.prototypes[0, 2].abs().max() == 0 and bank.counts[0].tolist() == [1, 1, 0]
    assert bank.prototypes[1].abs().max() == 0 and bank.counts[1].sum() == 0

    before, mean = bank.prototypes.clone(), torch.randn(3, 4)
    bank.update(0, 2 * mean, torch.tensor([2, 0, 2]))
    moved = bank.prototypes[0] - before[0]
    assert (moved[0] - 0.01 * (mean[0] - before[0, 0])).abs().max() < 1e-6
    assert moved[1].abs().max() == 0
    assert torch.allclose(bank.prototypes[0, 2], mean[2])


def test_state_is_restored():
    bank, other = PrototypeBank(2, 3, 4), PrototypeBank(2, 3, 4)
    bank.update(1, torch.randn(3, 4), torch.tensor([1, 0, 4]))
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.prototypes, bank.prototypes)
    assert torch.equal(other.counts, bank.counts) and other.counts.dtype == torch.int64


@pytest.mark.parametrize('momentum', [-0.1, 1.0])
def test_momentum_out_of_range(momentum):
    with pytest.raises(SetupError, match='bank_momentum'):
        PrototypeBank(1, 3, 4, momentum)
