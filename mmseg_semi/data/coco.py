"""COCO: everyday scenes with 80 kinds of objects (Lin et al., ECCV 2014)."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_semi.data.palette import voc_color


@DATASETS.register_module()
class COCOObjectsDataset(BaseSegDataset):
    """Images of COCO 2017 with its 80 categories of objects and background; crowds may be 255 (ignored).

    MMSegmentation's classes for COCO have those of COCO-Stuff, or of its 10,000 images. Here 0 is
    background, and the categories follow in the order of their ids in COCO, without its gaps.

    Writes for the pipeline: the keys of BaseSegDataset: ``img_path``, ``seg_map_path``,
    ``label_map``, ``reduce_zero_label``, ``seg_fields``.

    Args:
        img_suffix: Ending of image names. Defaults to '.jpg'.
        seg_map_suffix: Ending of label names. Defaults to '.png'.
        reduce_zero_label: Keep False: label 0 is a class (background). Defaults to False.
        **kwargs: Other arguments of :class:`mmseg.datasets.BaseSegDataset`.
    """

    METAINFO = dict(
        classes=(
            'background',
            'person',
            'bicycle',
            'car',
            'motorcycle',
            'airplane',
            'bus',
            'train',
            'truck',
            'boat',
            'traffic light',
            'fire hydrant',
            'stop sign',
            'parking meter',
            'bench',
            'bird',
            'cat',
            'dog',
            'horse',
            'sheep',
            'cow',
            'elephant',
            'bear',
            'zebra',
            'giraffe',
            'backpack',
            'umbrella',
            'handbag',
            'tie',
            'suitcase',
            'frisbee',
            'skis',
            'snowboard',
            'sports ball',
            'kite',
            'baseball bat',
            'baseball glove',
            'skateboard',
            'surfboard',
            'tennis racket',
            'bottle',
            'wine glass',
            'cup',
            'fork',
            'knife',
            'spoon',
            'bowl',
            'banana',
            'apple',
            'sandwich',
            'orange',
            'broccoli',
            'carrot',
            'hot dog',
            'pizza',
            'donut',
            'cake',
            'chair',
            'couch',
            'potted plant',
            'bed',
            'dining table',
            'toilet',
            'tv',
            'laptop',
            'mouse',
            'remote',
            'keyboard',
            'cell phone',
            'microwave',
            'oven',
            'toaster',
            'sink',
            'refrigerator',
            'book',
            'clock',
            'vase',
            'scissors',
            'teddy bear',
            'hair drier',
            'toothbrush',
        ),
        palette=[voc_color(index) for index in range(81)],
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
