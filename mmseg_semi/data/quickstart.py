"""The data set of the demo: generated outdoor scenes, a few with labels, many without."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

CLASSES = ('sky', 'ground', 'water', 'building', 'tree', 'vehicle')
PALETTE = (
    (120, 180, 235),
    (150, 130, 110),
    (40, 90, 170),
    (190, 80, 70),
    (70, 150, 60),
    (240, 190, 60),
)


@DATASETS.register_module()
class QuickstartDataset(BaseSegDataset):
    """Generated outdoor scenes in six classes, without ignored pixels.

    ``mmseg-semi demo --data-only`` generates them.

    Writes for the pipeline: the keys of BaseSegDataset: ``img_path``, ``seg_map_path``,
    ``label_map``, ``reduce_zero_label``, ``seg_fields``.

    Args:
        img_suffix: Ending of image names. Defaults to '.png'.
        seg_map_suffix: Ending of label names. Defaults to '.png'.
        reduce_zero_label: Keep False: label 0 is a class (sky). Defaults to False.
        **kwargs: Other arguments of :class:`mmseg.datasets.BaseSegDataset`.
    """

    METAINFO = dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE])

    def __init__(
        self,
        img_suffix: str = '.png',
        seg_map_suffix: str = '.png',
        reduce_zero_label: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )
