"""Confusion matrices, per-image scores, and the choice of images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmseg_semi.runtime.report import confusion
from mmseg_semi.runtime.report.confusion import ConfusionMatrix, class_ious, confusion_matrix
from mmseg_semi.runtime.report.gallery import SIDE, Gallery, as_picture, shrink_labels
from mmseg_semi.runtime.report.labels import count_labels


def field(labels) -> dict:
    return dict(data=torch.as_tensor(labels)[None])


def samples(truth, predicted) -> list[dict]:
    return [
        dict(gt_sem_seg=field(t), pred_sem_seg=field(p))
        for t, p in zip(truth, predicted, strict=True)
    ]


def test_it_is_the_count_of_pairs():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 3, 255], (40, 30))
    predicted = rng.integers(0, 4, (40, 30))
    expected = np.zeros((4, 4), int)
    known = truth < 255
    np.add.at(expected, (truth[known], predicted[known]), 1)
    for kind in (torch.uint8, torch.int64):
        found = confusion_matrix(torch.tensor(truth, dtype=kind), torch.tensor(predicted), 4)
        assert found.tolist() == expected.tolist() and found.dtype == torch.int64


def test_repeated_images_do_not_count(monkeypatch):
    """Five images on two ranks: the sampler gives rank 1 the first one again."""
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 3, (2, 5, 6, 6))
    whole = ConfusionMatrix(3, num_images=5)
    whole.process(None, samples(truth, predicted))
    parts = []
    for rank, numbers in enumerate(([0, 2, 4], [1, 3, 0])):
        monkeypatch.setattr(confusion, 'get_dist_info', lambda rank=rank: (rank, 2))
        part = ConfusionMatrix(3, num_images=5)
        for batch in (numbers[:2], numbers[2:]):
            part.process(None, samples(truth[batch], predicted[batch]))
        parts.append(part)
    assert (parts[0].matrix + parts[1].matrix == whole.matrix).all() and whole.matrix.sum() == 180
    assert (parts[0].shows + parts[1].shows == whole.shows).all()
    assert parts[1].scores == [None] and parts[0].scores == whole.scores[4:]


def test_scores_of_images():
    counter = ConfusionMatrix(3, 3)
    counter.process(None, samples([[0, 0, 1, 1], [255] * 4], [[0, 0, 0, 1], [0] * 4]))
    assert counter.scores == [pytest.approx((2 / 3 + 1 / 2) / 2), None]
    assert counter.shows.tolist() == [1, 1, 0]
    assert np.isnan(class_ious(counter.matrix)[2])


def test_an_error_ends_the_counting_and_not_the_validation():
    counter = ConfusionMatrix(3, 3)
    counter.process(None, [dict(pred_sem_seg=field([0]))])
    counter.process(None, samples([[0]], [[0]]))
    assert isinstance(counter.error, KeyError) and not counter.matrix.any()
    assert counter.scores == [None] and counter.evaluate(3) == {}


def test_only_images_that_stay_are_drawn():
    gallery, drawn = Gallery(2), []
    scores = np.random.default_rng(2).permutation(50) / 50
    for i, score in enumerate(scores):
        gallery.offer(f'{i}', score, lambda i=i: drawn.append(i) or dict(image=i))
    best, worst = gallery.chosen()
    assert [e['score'] for e in best] == [0.98, 0.96] and [e['score'] for e in worst] == [0.0, 0.02]
    assert all(scores[e['image']] == e['score'] for e in best + worst)
    assert len(drawn) < 30


def test_ranks_are_joined_as_one_would_choose():
    scores = np.random.default_rng(3).permutation(20) / 20
    galleries = [Gallery(3) for _ in range(3)]
    for i, score in enumerate(scores):
        for gallery in (galleries[0], galleries[1 + i % 2]):
            gallery.offer(f'{i}', score, dict)
    joined = Gallery(3)
    for part in galleries[1:]:
        joined.add(part.entries)
    assert joined.chosen() == galleries[0].chosen()


@pytest.mark.parametrize(
    ('images', 'best', 'worst'), [(0, 0, 0), (1, 1, 0), (2, 1, 1), (5, 2, 2), (9, 3, 3)]
)
def test_no_image_is_best_and_worst(images, best, worst):
    gallery = Gallery(3)
    for i in range(images):
        gallery.offer(f'{i}', 0.5, dict)
    chosen = gallery.chosen()
    assert [len(kind) for kind in chosen] == [best, worst]
    assert len({e['name'] for kind in chosen for e in kind}) == best + worst


def test_images_of_other_channels_and_types():
    grey = as_picture(torch.tensor([[[7, 9]]], dtype=torch.uint8), is_bgr=True)
    assert grey.tolist() == [[[7, 7, 7], [9, 9, 9]]]
    bands = torch.arange(5, dtype=torch.uint8).view(5, 1, 1)
    assert as_picture(bands, is_bgr=True).tolist() == [[[2, 1, 0]]]
    deep = torch.tensor([[[1000.0, 3000.0, float('nan')]]])
    assert as_picture(deep, is_bgr=False)[0, :, 0].tolist() == [0, 255, 0]
    assert as_picture(torch.full((1, 1, 1), torch.nan), is_bgr=False).tolist() == [[[0, 0, 0]]]


def test_labels_are_shrunk_to_labels():
    labels = np.repeat(np.repeat(np.arange(6).reshape(2, 3), 500, 0), 500, 1)
    small = shrink_labels(labels)
    assert max(small.shape) == SIDE and set(np.unique(small)) == set(range(6))
    assert small[0, 0] == 0 and small[-1, -1] == 5
    assert (shrink_labels(labels[:3, :4]) == labels[:3, :4]).all()


def test_data_sets_without_masks_are_not_counted():
    class Images(list):
        def get_data_info(self, index):
            return dict(img_path='a.png')

    assert count_labels(Images([1]), 3, 10) is None
    assert count_labels(SimpleNamespace(datasets=[Images()]), 3, 10) is None
