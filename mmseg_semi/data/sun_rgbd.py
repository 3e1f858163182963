"""SUN RGB-D: indoor scenes from four depth cameras (Song et al., CVPR 2015)."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_semi.data.palette import voc_color


@DATASETS.register_module()
class SUNRGBDDataset(BaseSegDataset):
    """Colour images of SUN RGB-D with the 37 classes of its benchmark; unlabelled is 255 (ignored).

    ``tools/dataset_converters/sun_rgbd.py`` arranges the files (images/{train,val}/NAME.jpg and
    labels/{train,val}/NAME.png); val is the official test set.

    Writes for the pipeline: the keys of BaseSegDataset: ``img_path``, ``seg_map_path``,
    ``label_map``, ``reduce_zero_label``, ``seg_fields``.

    Args:
        img_suffix: Ending of image names. Defaults to '.jpg'.
        seg_map_suffix: Ending of label names. Defaults to '.png'.
        reduce_zero_label: Keep False: label 0 is a class (wall). Defaults to False.
        **kwargs: Other arguments of :class:`mmseg.datasets.BaseSegDataset`.
    """

    METAINFO = dict(
        classes=(
            'wall',
            'floor',
            'cabinet',
            'bed',
            'chair',
            'sofa',
            'table',
            'door',
            'window',
            'bookshelf',
            'picture',
            'counter',
            'blinds',
            'desk',
            'shelves',
            'curtain',
            'dresser',
            'pillow',
            'mirror',
            'floor_mat',
            'clothes',
            'ceiling',
            'books',
            'fridge',
            'tv',
            'paper',
            'towel',
            'shower_curtain',
            'box',
            'whiteboard',
            'person',
            'night_stand',
            'toilet',
            'sink',
            'lamp',
            'bathtub',
            'bag',
        ),
        palette=[voc_color(index) for index in range(1, 38)],  # 0 is black there
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
