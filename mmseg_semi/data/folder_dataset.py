"""The data set of a user's own folders."""

from __future__ import annotations

from collections.abc import Mapping

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_semi.data.own_data import PARTS, OwnData
from mmseg_semi.errors import SetupError


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """Images of a user's own folders, described by one small file, without lists.

    Its pipelines start with ``LoadAnyImage`` and, if there are masks, ``LoadAnyLabels``.

    Writes for the pipeline: ``img_path``, ``seg_map_path`` (if the part has masks), ``mask_map`` (a
    :class:`.MaskMap`), ``value_range``, (low, high) or None, ``bands``, a :class:`.Bands`, if the file
    describes some, ``seg_fields`` and the keys of BaseSegDataset.

    Args:
        data_file: YAML or JSON file, or its content as a dict (:class:`.OwnData`).
        part: 'labeled', 'unlabeled', 'val' or 'test'. Defaults to 'labeled'.
        **kwargs: Other arguments of :class:`mmseg.datasets.BaseSegDataset`, such as ``pipeline``.

    Raises:
        SetupError: If the file, a key of it or a folder is missing or wrong; if ``ann_file`` is
            set.
    """

    def __init__(self, data_file: str | Mapping, part: str = 'labeled', **kwargs) -> None:
        if part not in PARTS:
            raise SetupError(f'FolderDataset: part={part!r}, expected one of {", ".join(PARTS)}')
        self.own = OwnData(data_file)
        self.part = part
        if self.own.bands is not None:
            self.own.bands.need_statistics(self.own.source)
        if kwargs.get('ann_file'):
            raise SetupError(
                f'FolderDataset: ann_file={kwargs["ann_file"]!r}, but its images are all those of '
                f'{self.own.source}; remove the key'
            )
        metainfo = dict(classes=self.own.mask_map.names, palette=self.own.palette)
        super().__init__(
            **{
                **kwargs,
                'metainfo': metainfo,
                'data_root': None,
                'data_prefix': dict(
                    img_path=str(self.own.folder)
                ),  # SemiDataset names images relative to it
                'img_suffix': '',
                'reduce_zero_label': False,
            }
        )

    def load_data_list(self) -> list[dict]:
        """List the images and masks of the part."""
        return [dict(entry, seg_fields=[]) for entry in self.own.files(self.part)]

    def get_data_info(self, idx: int) -> dict:
        """Entry of an image, with what its loaders need: mask map, value range and bands."""
        info = super().get_data_info(idx)
        info['mask_map'], info['value_range'] = self.own.mask_map, self.own.value_range
        if self.own.bands is not None:
            info['bands'] = self.own.bands
        return info
