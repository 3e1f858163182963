"""Right before, right after, made right and made wrong, against loops over pixels."""

import torch

from mmseg_semi.pseudo_labels import correction_quality, describe_quality
from mmseg_semi.structures import IGNORE


def example():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (2, 5, 6), generator=generator)
    truth[0, 0] = IGNORE
    answers = [torch.randint(0, 4, (2, 5, 6), generator=generator) for _ in range(3)]
    return answers, truth


def test_counts_equal_a_loop():
    answers, truth = example()
    quality = correction_quality(answers, truth, 4)
    pixels = [
        (int(t), [int(a) for a in rows])
        for t, *rows in zip(truth.flatten(), *(a.flatten() for a in answers), strict=True)
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
        gain = values[f'accuracy_{k}'] - values[f'accuracy_{k - 1}']
        assert abs(float(gain - values[f'righted_{k}'] + values[f'wronged_{k}'])) < 1e-6


def test_sums_and_text():
    answers, truth = example()
    one = correction_quality(answers, truth, 4)
    both = one + one
    assert torch.equal(both.right, 2 * one.right)
    text = describe_quality('mllc', both, ['a', 'b', 'c', 'd'])
    assert len(text.splitlines()) == 3 and 'a +' in text
    none = correction_quality(answers[:1], torch.full_like(truth, IGNORE), 4)
    assert float(none.values()['accuracy_0']) == 0 and 'right' in describe_quality('x', none)
