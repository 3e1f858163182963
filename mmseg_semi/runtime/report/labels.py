"""Pixels of each class in the labelled training images."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mmseg_semi.data.checks import load_class_indices


def count_labels(dataset: Any, num_classes: int, limit: int) -> dict | None:
    """Count the labels of a training set, as training reads them.

    Args:
        dataset: A ``SemiDataset``, whose labelled images are counted, or a data set of labelled images.
        num_classes: K.
        limit: Most masks to read, spread evenly.

    Returns:
        dict: 'images', the number of labelled images; 'counted', that of read masks; 'pixels' and 'shows', lists of K: pixels
        of each class in them, and masks that show it. None for a data set that has no masks in files.
    """
    labeled = getattr(dataset, 'datasets', [dataset])[0]
    size = len(labeled)
    if not size or 'seg_map_path' not in labeled.get_data_info(0):
        return None
    count = min(limit, size)

    def bins(index: int) -> np.ndarray:
        return np.bincount(load_class_indices(labeled, index, num_classes).ravel(), minlength=256)

    chosen = [i * size // count for i in range(count)]
    with ThreadPoolExecutor(
        min(8, os.cpu_count() or 1)
    ) as pool:  # decoders release the interpreter lock
        counts = np.stack(list(pool.map(bins, chosen)))[:, :num_classes]
    return dict(
        images=size,
        counted=count,
        pixels=counts.sum(0).tolist(),
        shows=(counts > 0).sum(0).tolist(),
    )
