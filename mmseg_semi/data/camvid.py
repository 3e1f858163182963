"""CamVid: road scenes seen from a car in Cambridge (Brostow et al., ECCV 2008)."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid in SegNet's version: 360 x 480 frames, 11 classes; void is 255 (ignored).

    ``tools/dataset_converters/camvid.py`` arranges the files (images/{train,val}/NAME.jpg and
    labels/{train,val}/NAME.png) and turns the void label 11 of SegNet's files into 255.

    Writes for the pipeline: the keys of BaseSegDataset: ``img_path``, ``seg_map_path``,
    ``label_map``, ``reduce_zero_label``, ``seg_fields``.

    Args:
        img_suffix: Ending of image names, '.jpg' or '.png'. Defaults to '.jpg'.
        seg_map_suffix: Ending of label names. Defaults to '.png'.
        reduce_zero_label: Keep False: label 0 is a class (sky). Defaults to False.
        **kwargs: Other arguments of :class:`mmseg.datasets.BaseSegDataset`.
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'pavement',
            'tree',
            'sign_symbol',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )

    def __init__(
        self,
        img_suffix: str = '.jpg',
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
