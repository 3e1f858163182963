"""Which images to annotate next: those that the network is uncertain of and that differ from what was chosen already.

Uncertainty is the mean entropy of the class probabilities (Settles, Active Learning Literature Survey, 2009). Diversity is the greedy
k-center choice of Sener & Savarese, Active Learning for Convolutional Neural Networks, ICLR 2018: each image is the one farthest from
all that are labelled or chosen, here weighted by its uncertainty.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_semi.runtime.prediction.predictor import Predictor
from mmseg_semi.runtime.prediction.sources import ImageSource
from mmseg_semi.runtime.prediction.tiles import Grid, probabilities


def mean_entropy(scores: Tensor) -> float:
    """Mean entropy of the pixels as a share of the highest possible, in [0, 1].

    Args:
        scores: (K, h, w) probabilities; (1, h, w) are those of class 1 of two.

    Example:
        >>> round(mean_entropy(torch.full((4, 2, 2), 0.25)), 6), mean_entropy(torch.eye(3)[:, :, None])
        (1.0, 0.0)
    """
    if scores.shape[0] == 1:
        scores = torch.cat([1 - scores, scores])
    scores = scores.float()
    return float(-torch.xlogy(scores, scores).sum(0).mean()) / math.log(scores.shape[0]) + 0.0


class Described(NamedTuple):
    """An image in numbers.

    Attributes:
        uncertainty: Of :func:`mean_entropy`.
        features: (C,) float32 of length 1: the mean of the backbone's last feature map.
    """

    uncertainty: float
    features: np.ndarray


@torch.no_grad()
def describe(predictor: Predictor, source: ImageSource) -> Described:
    """One pass of an image through the network, or of each of its tiles, without overlap.

    Args:
        predictor: The model.
        source: The image.
    """
    plan = predictor.plan(source.size)
    grid = Grid(source.size, plan.tile or source.size, 0.0)
    entropy, features = 0.0, None
    for row in range(len(grid.tops)):
        for column in range(len(grid.lefts)):
            uncertainty, pooled = _describe_tile(predictor, source, grid.tile(row, column))
            entropy += uncertainty / len(grid)
            features = pooled / len(grid) + (0 if features is None else features)
    return Described(entropy, features / max(float(np.linalg.norm(features)), 1e-12))


def _describe_tile(predictor: Predictor, source: ImageSource, tile) -> tuple[float, np.ndarray]:
    network = predictor.model.network
    packed = predictor.pack(source, tile)
    data = predictor.model.segmentor.data_preprocessor(
        dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False
    )
    maps = network.extract_feat(data['inputs'])
    if isinstance(
        network.decode_head, nn.ModuleList
    ):  # a cascade, whose stages the network calls in turn
        logits = network.encode_decode(data['inputs'], [s.metainfo for s in data['data_samples']])
    else:
        logits = network.decode_head.forward(maps)
    last = maps[-1] if isinstance(maps, list | tuple) else maps
    return mean_entropy(probabilities(logits[0])), last[0].float().mean((1, 2)).cpu().numpy()


class Choice(NamedTuple):
    """An image that was chosen.

    Attributes:
        index: Its place among the candidates.
        distance: Euclidean distance to the nearest labelled or earlier chosen image, in [0, 2]; infinite if there is none.
    """

    index: int
    distance: float


def choose(
    uncertainty: np.ndarray, features: np.ndarray, labeled: np.ndarray, count: int
) -> list[Choice]:
    """Choose images one by one: each has the largest product of uncertainty and distance to the nearest known image.

    The first one, if nothing is labelled, is the most uncertain.

    Args:
        uncertainty: (N,) in [0, 1].
        features: (N, C) of length 1 each.
        labeled: (L, C) of the labelled images; L may be 0.
        count: Number of images, at most N.

    Returns:
        list[Choice]: In order. Time and memory are linear in N at every choice.

    Example:
        >>> points = np.eye(2)[[0, 0, 1]]
        >>> [choice.index for choice in choose(np.array([0.9, 0.8, 0.1]), points, points[:0], 2)]
        [0, 2]
    """
    nearest = np.full(len(features), np.inf)
    for known in labeled:
        nearest = np.minimum(nearest, np.linalg.norm(features - known, axis=1))
    free = np.ones(len(features), bool)
    chosen: list[Choice] = []
    for _ in range(min(count, len(features))):
        value = uncertainty if np.isinf(nearest).all() else uncertainty * nearest
        # of equal products, as among copies of what is chosen, the more uncertain image
        order = np.lexsort((uncertainty, np.where(free, value, -1.0)))
        index = int(order[-1])
        chosen.append(Choice(index, float(nearest[index])))
        free[index] = False
        nearest = np.minimum(nearest, np.linalg.norm(features - features[index], axis=1))
    return chosen
