"""Pictures of predictions on images that only this package's loader reads."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import HOOKS

from mmseg_semi.data.bands import picture_of
from mmseg_semi.data.transforms import LoadAnyImage


@HOOKS.register_module()
class BandsVisualizationHook(SegVisualizationHook):
    """MMSegmentation's hook, which decodes images by OpenCV, for images of bands.

    They are shown by their colours, else by the first three bands or the first one.

    Args:
        bands: Keys of :class:`~mmseg_semi.data.bands.Bands`.
        **kwargs: Arguments of ``SegVisualizationHook``.
    """

    def __init__(self, bands: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self._load = LoadAnyImage(bands=bands, backend_args=self.backend_args)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence
    ) -> None:
        """Draw the first image of every ``interval``-th batch."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._draw(outputs[0], 'val', step)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence
    ) -> None:
        """Draw every image."""
        for sample in outputs if self.draw else ():
            self._test_index += 1
            self._draw(sample, 'test', self._test_index)

    def _draw(self, sample: Any, part: str, step: int) -> None:
        loaded = self._load.transform(dict(img_path=sample.img_path))
        self._visualizer.add_datasample(
            f'{part}_{osp.basename(sample.img_path)}',
            picture_of(loaded)[..., ::-1],
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            step=step,
        )
