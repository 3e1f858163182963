"""Right before, right after, made right and made wrong, against loops over pixels."""

import pytest
import torch

from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc import correction_quality
from mmseg_semi.methods.mllc.correction_quality import describe_quality


def example():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (2, 5, 6), generator=generator)
    truth[0, 0] = IGNORE
    predictions = [torch.randint(0, 4, (2, 5, 6), generator=generator) for _ in range(3)]
    return predictions, truth


def test_counts_equal_a_loop():
    predictions, truth = example()
    quality = correction_quality(predictions, truth, 4)
    pixels = [
        (int(t), [int(a) for a in rows])
        for t, *rows in zip(truth.flatten(), *(a.flatten() for a in predictions), strict=True)
        if t != IGNORE
    ]
    for c in range(4):
        own = [rows for t, rows in pixels if t == c]
        assert int(quality.pixels[c]) == len(own)
        for k in range(3):
            assert int(quality.right[k, c]) == sum(rows[k] == c for rows in own)
        for k in (0, 1):
            pairs = [(rows[k], rows[k + 1]) for rows in own]
            assert int(quality.righted[k, c]) == sum(a != c and b == c for a, b in pairs)
            assert int(quality.wronged[k, c]) == sum(a == c and b != c for a, b in pairs)
            assert int(quality.changed[k, c]) == sum(a != b for a, b in pairs)
    values = quality.values()
    for k in (1, 2):
        pairs = [(t, rows[k - 1], rows[k]) for t, rows in pixels if rows[k - 1] != rows[k]]
        found = [float(values[f'{name}_{k}']) for name in ('changed', 'righted', 'wronged')]
        assert found == pytest.approx(
            [
                len(pairs) / len(pixels),
                sum(t == b for t, _, b in pairs) / len(pairs),
                sum(t == a for t, a, _ in pairs) / len(pairs),
            ]
        )


def test_sums_and_text():
    predictions, truth = example()
    one = correction_quality(predictions, truth, 4)
    both = one + one
    assert torch.equal(both.right, 2 * one.right)
    assert describe_quality('mllc', both) == describe_quality('mllc', one)
    none = correction_quality(predictions, torch.full_like(truth, IGNORE), 4)
    assert not any(none.values().values()) and 'no labelled pixel' in describe_quality('x', none)


def test_text_tells_every_class_and_round():
    truth = torch.tensor([[0, 0, 0, 0, 1, 1, 3, IGNORE]])
    before = torch.tensor([[0, 0, 1, 3, 1, 0, 3, 1]])
    after = torch.tensor([[0, 1, 0, 1, 1, 1, 3, 0]])
    quality = correction_quality([before, after], truth, 4)
    assert describe_quality('mllc', quality, ['a', 'b', 'c', 'd']).splitlines() == [
        'mllc: before correction 57.1 % right (a 50.0; b 50.0; d 100.0)',
        'mllc: round 1: 71.4 %, 57.1 % changed (50.0 % right, 25.0 % wrong); by class: '
        'a 50.0 %, 75.0 % changed (33.3 % right, 33.3 % wrong); b 100.0 %, 50.0 % changed (100.0 % right, 0.0 % wrong); '
        'd 100.0 %, 0.0 % changed',
    ]
