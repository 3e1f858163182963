"""Which unlabelled images to annotate next: those the network is unsure about, and which differ from each other.

Uncertainty is that of active learning (Settles, Active Learning Literature Survey, University of Wisconsin 2009, section
3.1): entropy, margin, or lack of confidence of the class probabilities, averaged over the pixels. Diversity is the greedy
k-center of Sener & Savarese (Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018,
arXiv 1708.00489, algorithm 1): each next image is the one farthest from all labelled and chosen ones, by the network's
pooled features. The two are joined as a weighted geometric mean, which neither of the papers has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

UNCERTAINTIES = ('entropy', 'margin', 'confidence')


def uncertainty(probabilities: Tensor, kind: str = 'entropy') -> Tensor:
    """Uncertainty of each pixel.

    Args:
        probabilities: (K, h, w) of K >= 2 classes, or (1, h, w) of class 1 of two.
        kind: 'entropy', divided by ln K; 'margin', one minus the difference of the two highest; 'confidence', one minus
            the highest.

    Returns:
        (h, w) in [0, 1].

    Example:
        >>> probabilities = torch.tensor([0.75, 0.25]).view(2, 1, 1)
        >>> [round(uncertainty(probabilities, kind).item(), 3) for kind in UNCERTAINTIES]
        [0.811, 0.5, 0.25]
    """
    if probabilities.shape[0] == 1:
        probabilities = torch.cat([1 - probabilities, probabilities])
    if kind == 'entropy':
        return torch.special.entr(probabilities).sum(0) / math.log(probabilities.shape[0])
    first, second = probabilities.topk(2, dim=0).values
    return 1 - (first - second) if kind == 'margin' else 1 - first


def pooled(features: Tensor) -> Tensor:
    """Mean of features over all positions, scaled to length one.

    Args:
        features: (C, h, w).

    Returns:
        (C,) float32; zeros if the mean is zero.

    Example:
        >>> pooled(torch.tensor([3.0, 4.0]).view(2, 1, 1)).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    return torch.nn.functional.normalize(features.float().mean(dim=(1, 2)), dim=0)


@dataclass(frozen=True)
class Choice:
    """A ranked image.

    Attributes:
        index: Of the image.
        score: Of the weighted mean at the time of its choice.
        uncertainty: Its mean uncertainty.
        distance: From the nearest labelled or earlier chosen image; infinite if there was none.
    """

    index: int
    score: float
    uncertainty: float
    distance: float


def rank(
    embeddings: np.ndarray,
    uncertain: np.ndarray,
    centres: np.ndarray | None = None,
    count: int | None = None,
    diversity: float = 0.5,
) -> list[Choice]:
    """Choose images one after the other.

    The score of an image is ``distance ** diversity * uncertainty ** (1 - diversity)``, where the distance is that from the
    nearest centre or image chosen before. While there is none, the uncertainty alone decides (with ``diversity=1``: the
    distance from the mean of all images, the smallest first). Of equal scores the first image wins. Takes O(N C) memory and
    O(count N C) time.

    Args:
        embeddings: (N, C).
        uncertain: (N,) in [0, 1].
        centres: (M, C) embeddings of labelled images, or None.
        count: Number of images to choose; None ranks all.
        diversity: In [0, 1]: 0 looks at the uncertainty alone, 1 at the distance alone.

    Returns:
        The choices, best first.

    Example:
        >>> embeddings = np.array([[0.0], [0.1], [1.0]])
        >>> [choice.index for choice in rank(embeddings, np.array([0.9, 0.8, 0.5]))]
        [0, 2, 1]
    """
    embeddings, uncertain = np.asarray(embeddings, np.float64), np.asarray(uncertain, np.float64)
    distance = np.full(len(embeddings), np.inf)
    for centre in np.asarray(centres if centres is not None else [], np.float64):
        distance = np.minimum(distance, _distances(embeddings, centre))
    left = np.ones(len(embeddings), bool)
    chosen: list[Choice] = []
    for _ in range(min(count if count is not None else len(embeddings), len(embeddings))):
        if np.isinf(distance[left]).any():
            scores = uncertain
            if diversity == 1:
                scores = -_distances(embeddings, embeddings.mean(0))
        else:
            scores = distance**diversity * uncertain ** (1 - diversity)
        index = int(np.argmax(np.where(left, scores, -np.inf)))
        chosen.append(
            Choice(index, float(scores[index]), float(uncertain[index]), float(distance[index]))
        )
        left[index] = False
        distance = np.minimum(distance, _distances(embeddings, embeddings[index]))
    return chosen


def _distances(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(N,) Euclidean distances of (N, C) points."""
    return np.sqrt(((points - centre) ** 2).sum(1))
