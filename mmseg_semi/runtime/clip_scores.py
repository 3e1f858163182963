"""IoU of every clip and every class, from areas that are counted image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.tables import number, text_table

MEAN = (
    'mIoU is the mean over the classes that occur in a mask or in a prediction of these frames; the IoU of '
    "another class is null (MMSegmentation's rule, nanmean)"
)
"""How the mean over classes is taken, for the file that holds the scores."""


class AreasByImage(IoUMetric):
    """MMSegmentation's ``IoUMetric``, which also keeps the areas of every image.

    Args:
        kwargs: See :class:`mmseg.evaluation.IoUMetric`.

    Attributes:
        areas: After ``evaluate``, on the main process: path of the image -> (4, K) int64, the pixels of each
            class in the intersection, the union, the prediction and the mask.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.areas: dict[str, Tensor] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the areas of a batch, see ``IoUMetric``."""
        start = len(self.results)
        super().process(data_batch, data_samples)
        paths = [sample['img_path'] for sample in data_samples]
        counted = zip(self.results[start:], paths, strict=True)
        self.results[start:] = [(*areas, path) for areas, path in counted]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics of all images, see ``IoUMetric``."""
        # float32 holds the counts of one image exactly, their sums not
        self.areas = {path: torch.stack(areas).round().long() for *areas, path in results}
        return super().compute_metrics([tuple(areas) for *areas, _ in results])


def areas_by_image(metrics: Any) -> list:
    """The metrics of a config with its one ``IoUMetric`` replaced by :class:`AreasByImage`.

    Args:
        metrics: Config of a metric or a list of them.

    Raises:
        SetupError: If there is no ``IoUMetric``, or it evaluates nothing.
    """
    metrics = list(metrics) if isinstance(metrics, list | tuple) else [metrics]
    for i, metric in enumerate(metrics):
        if metric.get('type') == 'IoUMetric' and not metric.get('format_only'):
            metrics[i] = AreasByImage(**{key: v for key, v in metric.items() if key != 'type'})
            return metrics
    raise SetupError(
        'scores by clip need an IoUMetric in test_evaluator, without format_only; found '
        f'{[metric.get("type") for metric in metrics]}'
    )


def score(areas: Tensor) -> dict[str, Any]:
    """mIoU, accuracy and the IoU of each class from summed areas.

    Args:
        areas: (4, K) int64, see :class:`AreasByImage`.

    Returns:
        dict: ``mIoU`` and ``aAcc`` in percent and ``IoU``, a list of K percentages. An IoU is None for a class
        that occurs in neither masks nor predictions. The mean leaves it out, as MMSegmentation's does.

    Example:
        >>> areas = torch.tensor([[3, 0, 0], [4, 1, 0], [3, 1, 0], [4, 0, 0]])
        >>> score(areas)
        {'mIoU': 37.5, 'aAcc': 75.0, 'IoU': [75.0, 0.0, None]}
    """
    intersect, union, _, mask = areas.double()
    iou = (100 * intersect / union).tolist()
    known = [value for value in iou if not math.isnan(value)]
    total = mask.sum().item()
    return dict(
        mIoU=sum(known) / len(known) if known else None,
        aAcc=100 * intersect.sum().item() / total if total else None,
        IoU=[None if math.isnan(value) else value for value in iou],
    )


def scores_by_clip(areas: Mapping[str, Mapping[str, Tensor]], clips: Mapping[str, str]) -> dict:
    """Scores of each network on all frames and on each clip.

    Args:
        areas: Network -> path of an image -> its areas, (4, K) int64.
        clips: Path of an image -> its clip.

    Returns:
        dict: ``all`` and ``clips``, which has one entry a clip, sorted by name. An entry holds ``images``,
        ``pixels`` (of each class in the masks) and, by network, the values of :func:`score`.
    """
    groups: dict[str | None, list[str]] = {None: list(clips)}
    for path in clips:
        groups.setdefault(clips[path], []).append(path)
    found = {}
    for name, paths in groups.items():
        sums = {network: sum(by[path] for path in paths) for network, by in areas.items()}
        pixels = next(iter(sums.values()))[3].tolist()
        scores = {network: score(total) for network, total in sums.items()}
        found[name] = dict(images=len(paths), pixels=pixels, networks=scores)
    return dict(all=found.pop(None), clips=dict(sorted(found.items())))


def describe(scores: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Table of the scores: a row a clip and network, a column a class.

    Args:
        scores: See :func:`scores_by_clip`.
        classes: Names of the K classes.
    """
    header = ['clip', 'frames', 'network', 'mIoU', *classes]
    entries = [*scores['clips'].items(), ('all', scores['all'])]
    rows = [
        [clip, str(entry['images']), network, number(values['mIoU']), *map(number, values['IoU'])]
        for clip, entry in entries
        for network, values in entry['networks'].items()
    ]
    return text_table(header, rows) + '\n-: the class is in no mask and no prediction of the clip'
