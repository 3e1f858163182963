"""The stability of an image's predictions, and the lengths of the published stages."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmseg_semi.data.splits import published_protocols
from mmseg_semi.errors import SetupError
from mmseg_semi.methods.stpp import (
    confusion_matrix,
    lengths_on_split,
    mean_iou,
    most_stable,
    stability_score,
    stage_lengths,
)
from mmseg_semi.methods.stpp.hook import snapshot_iterations


def iou_by_loop(first: np.ndarray, second: np.ndarray, classes: int) -> float:
    """Mean IoU of two label maps from the definition, pixel by pixel."""
    both, either = np.zeros(classes), np.zeros(classes)
    for one, other in zip(first.ravel(), second.ravel(), strict=True):
        if 255 in (one, other):
            continue
        for label in range(classes):
            both[label] += one == label and other == label
            either[label] += one == label or other == label
    found = [b / e for b, e in zip(both, either, strict=True) if e]
    return sum(found) / len(found)


@pytest.mark.parametrize('seed', range(4))
def test_score_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    # of seven classes some occur in no map; some pixels are ignored
    maps = [rng.choice([0, 1, 4, 6, 255], size=(9, 11)).astype(np.uint8) for _ in range(4)]
    expected = np.mean([iou_by_loop(one, maps[-1], 7) for one in maps[:-1]])
    score = stability_score([torch.from_numpy(one) for one in maps], 7)
    assert score == pytest.approx(expected, abs=1e-12)


def test_what_the_score_does_not_depend_on():
    rng = np.random.default_rng(0)
    first, second = (torch.from_numpy(rng.integers(0, 3, (8, 8)).astype(np.uint8)) for _ in 'ab')
    assert stability_score([first] * 3, 3) == 1.0
    score = stability_score([first, second], 3)
    assert 0 < score < 1
    # classes that occur in neither map, the order of the two, and names of classes
    assert stability_score([first, second], 200) == score
    assert stability_score([second, first], 3) == score
    assert stability_score([2 - first, 2 - second], 3) == pytest.approx(score, abs=1e-12)
    # a pixel that either map ignores
    ignored = first.clone()
    ignored[:4] = 255
    assert stability_score([ignored, second], 3) == stability_score([first[4:], second[4:]], 3)
    assert stability_score([second, ignored], 3) == stability_score([second[4:], first[4:]], 3)
    # an image without a pixel that could be compared is the least reliable
    assert stability_score([torch.full_like(first, 255), second], 3) == 0.0


def test_confusion_is_bounded_and_counts_every_pixel():
    first = torch.full((600, 800), 20, dtype=torch.uint8)  # 20 * 21 + 20 does not fit into 8 bits
    matrix = confusion_matrix(first, first, 21)
    assert matrix.shape == (21, 21) and matrix[20, 20] == 600 * 800 == matrix.sum()
    assert mean_iou(matrix) == 1.0


def test_ranking():
    scores = dict(a=0.5, b=0.7, c=0.5, d=0.9, e=0.1)
    assert most_stable(scores) == (['d', 'b'], ['a', 'c', 'e'])  # half, rounded down; ties by order
    assert most_stable(scores, 0.6) == (['d', 'b', 'a'], ['c', 'e'])


def test_snapshots_are_spread_over_the_run():
    assert snapshot_iterations(10, 3) == [3, 6, 10]
    assert snapshot_iterations(2, 2) == [1, 2]
    for count in (1, 11):
        with pytest.raises(SetupError, match='expected 2 or more'):
            snapshot_iterations(10, count)


@pytest.mark.parametrize('number', ['92', '366', '1464'])
def test_lengths_are_those_of_the_published_loaders(number):
    """The lists are joined and batched as the released code joins them."""
    split = published_protocols()[f'voc classic {number}']
    labeled, unlabeled = split['labeled']['count'], split['unlabeled']['count']

    def joined(count: int) -> int:
        labels = list(range(labeled))
        while len(labels) < count:
            labels += range(labeled)
        return len(DataLoader(labels + list(range(count)), 16, drop_last=True))

    first = list(range(labeled)) * (2 if labeled < 200 else 1)
    assert stage_lengths(labeled, unlabeled) == dict(
        labels=len(DataLoader(first, 16, drop_last=True)),
        reliable=joined(unlabeled // 2),
        all=joined(unlabeled),
    )


def test_lengths_of_an_unknown_split():
    base = dict(gpus=1, batch_size_labeled=2, batch_size_unlabeled=2, param_scheduler=[{}])
    with pytest.raises(SetupError, match="'voc classic 93'.*published are"):
        lengths_on_split(base, 'voc classic 93')
