"""Confusion matrices of a validation, counted from the predictions that the evaluator gets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from torch import Tensor


def confusion_matrix(truth: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Pixels of each pair of classes.

    Args:
        truth: Integers of any shape; values outside [0, K) do not count.
        predicted: Likewise, of the same shape.
        num_classes: K.

    Returns:
        (K, K) int64, rows are the truth.

    Example:
        >>> confusion_matrix(torch.tensor([0, 0, 1, 255]), torch.tensor([0, 1, 1, 0]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    truth, predicted = truth.long().flatten(), predicted.long().flatten()
    counted = (truth >= 0) & (truth < num_classes) & (predicted >= 0) & (predicted < num_classes)
    # one more bin for what does not count: choosing pixels would stop the device
    pairs = torch.where(counted, truth * num_classes + predicted, num_classes**2)
    counts = torch.bincount(pairs, minlength=num_classes**2 + 1)
    return counts[:-1].view(num_classes, num_classes)


def class_ious(matrix: np.ndarray) -> np.ndarray:
    """IoU of each class, in [0, 1]; NaN for a class that is neither in the truth nor predicted.

    Args:
        matrix: (K, K) pixels, rows are the truth.

    Example:
        >>> class_ious(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0]])).round(3).tolist()
        [0.5, 0.667, nan]
    """
    matrix = np.asarray(matrix, np.float64)
    shared = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - shared
    return np.where(union > 0, shared / np.maximum(union, 1), np.nan)


class ConfusionMatrix(BaseMetric):
    """Counts a confusion matrix beside the other metrics of an evaluator, and has no metric of its own.

    ``ReportHook`` adds it for the time of a validation. As ``collect_results`` does, it leaves out the images that a
    distributed sampler repeats at the end to give every rank as many.

    Args:
        num_classes: K.
        num_images: Images of the validation set.

    Attributes:
        matrix: (K, K) int64 pixels of this rank, rows are the truth.
        shows: (K,) int64 images of this rank that show each class.
        scores: Mean IoU of each image of the last batch in [0, 1], over the classes in its truth or prediction; None for a
            repeated image, and for one without labelled pixels.
        error: What went wrong, which ends the counting and not the validation.
    """

    default_prefix = 'confusion'  # without one MMEngine warns at every validation

    def __init__(self, num_classes: int, num_images: int) -> None:
        super().__init__()
        self.num_classes, self.num_images = num_classes, num_images
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self.shows = np.zeros(num_classes, np.int64)
        self.scores: list[float | None] = []
        self.error: Exception | None = None
        self._seen = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts a batch."""
        self.scores = [None] * len(data_samples)
        if self.error is not None:
            return
        try:
            for position, sample in enumerate(data_samples):
                self._count(position, sample)
        except Exception as error:  # the hook logs it
            self.error = error

    def _count(self, position: int, sample: dict) -> None:
        rank, world_size = get_dist_info()
        number = self._seen * world_size + rank
        self._seen += 1
        if number >= self.num_images:
            return
        predicted = sample['pred_sem_seg']['data']
        truth = sample['gt_sem_seg']['data'].to(predicted.device)
        matrix = confusion_matrix(truth, predicted, self.num_classes).cpu().numpy()
        self.matrix += matrix
        self.shows += matrix.sum(1) > 0
        if matrix.any():
            self.scores[position] = float(np.nanmean(class_ious(matrix)))

    def compute_metrics(self, results: list) -> dict:
        """No metric."""
        return {}

    def evaluate(self, size: int) -> dict:
        """No metric; the hook takes the counts."""
        return {}
