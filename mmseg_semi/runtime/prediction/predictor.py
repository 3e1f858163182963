"""From an image to labels and confidence: as a whole, as ``inference_model`` predicts it, or by tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from torch import Tensor

from mmseg_semi.labels import IGNORE
from mmseg_semi.runtime.prediction.models import Model
from mmseg_semi.runtime.prediction.sources import ArrayImage, ImageSource, value_keys
from mmseg_semi.runtime.prediction.tiles import Grid, Tile, blended_rows, probabilities

WHOLE_PIXELS = 2304 * 1296
"""Pixels that a pipeline without a resize passes through the network at once; Cityscapes' frames have 2048 x 1024."""

TILE = 512
"""Side of a tile, if the pipeline does not resize and the config names no window."""

LARGER = 2.0
"""An image is cut into tiles of the training images' size if a side of it is more than this many times as long."""

SCORES = 256 * 1024**2
"""Bytes of class scores of a whole image, at its own size, up to which they are computed at once."""


class Block(NamedTuple):
    """A finished part of a prediction.

    Attributes:
        top, left: Its place in the image.
        labels: (h, w) uint8, a class or 255 where the image has no data.
        confidence: (h, w) float32 in [0, 1], the highest class probability; 0 where the image has no data.
    """

    top: int
    left: int
    labels: np.ndarray
    confidence: np.ndarray


class Plan(NamedTuple):
    """How an image is predicted.

    Attributes:
        tile: (height, width) of a tile; None for the whole image.
        why: For the summary.
    """

    tile: tuple[int, int] | None
    why: str


class Predictor:
    """Predicts images with a model's own test pipeline.

    Args:
        model: The model.
        tile: Long side of a tile in pixels of the image; 0 never cuts an image; None decides by the image's size.
        overlap: Share of a tile that neighbours share at least, in [0, 0.5].
        batch: Number of tiles, or of images of one size, that pass the network at once.
    """

    def __init__(
        self,
        model: Model,
        tile: int | None = None,
        overlap: float = 0.25,
        batch: int = 1,
    ) -> None:
        self.model = model
        self.tile, self.overlap, self.batch = tile, overlap, batch
        self.loader = Compose(model.pipeline[:1])
        self.rest = Compose(model.pipeline[1:])
        self.resize = next((s for s in model.pipeline if 'Resize' in str(s['type'])), None)

    # -- images to the network's input -----------------------------------------------------------

    def load(self, path: str) -> ArrayImage:
        """Decode an image as the model's test pipeline does.

        Raises:
            Exception: Of the decoder's kinds, if the file cannot be read.
        """
        return ArrayImage(self.loader(dict(img_path=str(path), **value_keys(self.model.own))))

    def pack(self, source: ImageSource, tile: Tile) -> dict:
        """A tile as the network's input: an image of its own for the transforms after the loader."""
        img = source.read(tile.top, tile.left, tile.bottom, tile.right)
        shape = img.shape[:2]
        record = dict(source.record, img=img, img_shape=shape, ori_shape=shape)
        return self.rest(record)

    @torch.no_grad()
    def logits(self, packed: Sequence[dict]) -> list[Tensor]:
        """Class scores of inputs of one size, (K, h, w) each, at the size of the input, its padding cut off."""
        data = self.model.segmentor.data_preprocessor(pseudo_collate(list(packed)), False)
        samples = data['data_samples']
        metas = [sample.metainfo for sample in samples]
        scores = self.model.network.inference(data['inputs'], metas)
        return [self.without_padding(s, meta) for s, meta in zip(scores, metas, strict=True)]

    @staticmethod
    def without_padding(scores: Tensor, meta: dict) -> Tensor:
        """(K, h, w) scores, cropped and turned back as MMSegmentation's ``postprocess_result`` does."""
        padding = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        left, right, top, bottom = padding
        scores = scores[:, top : scores.shape[1] - bottom, left : scores.shape[2] - right]
        if meta.get('flip'):
            scores = scores.flip(dims=(2 if meta.get('flip_direction') == 'horizontal' else 1,))
        return scores

    # -- the plan --------------------------------------------------------------------------------

    def plan(self, size: tuple[int, int]) -> Plan:
        """How an image of this (height, width) is predicted."""
        if self.tile == 0:
            return Plan(None, 'whole, as --tile 0 asks')
        if self.tile is not None:
            shape = self._shape(self.tile)
            if size[0] <= shape[0] and size[1] <= shape[1]:
                return Plan(None, 'whole')
            return Plan(shape, f'in tiles of {shape[1]} x {shape[0]} pixels')
        if self.resize is not None:
            return self._plan_resized(size)
        if size[0] * size[1] <= WHOLE_PIXELS:
            return Plan(None, 'whole')
        window = self.model.network.test_cfg
        shape = tuple(window.crop_size) if window.get('mode') == 'slide' else (TILE, TILE)
        return Plan(shape, f'in tiles of {shape[1]} x {shape[0]} pixels')

    def _plan_resized(self, size: tuple[int, int]) -> Plan:
        frame = self.frame
        if self.model.image_size is None:
            return Plan(
                None,
                f'whole, each brought to {frame} pixels as the test pipeline says; where images show more than those of the '
                'training (a mosaic), give the long side of the training images as --tile',
            )
        height, width = self.model.image_size
        if max(size) <= LARGER * max(height, width):
            return Plan(None, f'whole, each brought to {frame} pixels as the test pipeline says')
        return Plan(
            (height, width),
            f'in tiles of {width} x {height} pixels, the size of the training images, each brought to {frame} pixels: the '
            'scale of the training; --tile 0 takes such images whole',
        )

    @property
    def frame(self) -> str:
        """The size to which the pipeline brings images, for sentences."""
        scale = (self.resize or {}).get('scale') or (self.resize or {}).get('scale_factor')
        if isinstance(scale, list | tuple) and len(scale) == 2:
            if self.resize.get('keep_ratio') and scale[0] == scale[1]:
                return f'a long side of {scale[0]}'
            return f'{scale[0]} x {scale[1]}'
        return f'{scale} times their'

    def _shape(self, side: int) -> tuple[int, int]:
        """(height, width) of a tile with this long side: of the frame's shape, if the pipeline ignores the image's."""
        scale = (self.resize or {}).get('scale')
        if (
            self.resize is None
            or self.resize.get('keep_ratio')
            or not isinstance(scale, list | tuple)
        ):
            return side, side
        width, height = scale
        longest = max(width, height)
        return max(1, round(side * height / longest)), max(1, round(side * width / longest))

    # -- prediction ------------------------------------------------------------------------------

    def is_small(self, size: tuple[int, int], plan: Plan) -> bool:
        """Whether an image is predicted at once, so that several of one size may share a batch."""
        return plan.tile is None and 4 * self.model.num_classes * size[0] * size[1] <= SCORES

    @torch.no_grad()
    def predict_small(self, sources: Sequence[ImageSource]) -> list[Block]:
        """Predict images of one size, as ``mmseg.apis.inference_model`` does."""
        packed = [self.pack(source, Tile(0, 0, *source.size)) for source in sources]
        results = self.model.segmentor.data_preprocessor(pseudo_collate(packed), False)
        found = self.model.network.predict(results['inputs'], results['data_samples'])
        blocks = []
        for source, sample in zip(sources, found, strict=True):
            scores = sample.seg_logits.data
            # of a network with one output MMSegmentation has applied the sigmoid
            scores = scores if scores.shape[0] == 1 else probabilities(scores.float())
            labels = sample.pred_sem_seg.data[0].to(torch.uint8)
            blocks.append(self._block(source, 0, 0, labels, scores))
        return blocks

    def predict(
        self, source: ImageSource, plan: Plan, done: Callable[[float], None] | None = None
    ) -> Iterator[Block]:
        """Predict one image, some rows at a time.

        Args:
            source: The image.
            plan: Of :meth:`plan`.
            done: Is told the share of tiles that are computed, in [0, 1].
        """
        if self.is_small(source.size, plan):
            yield self.predict_small([source])[0]
            return
        grid = Grid(source.size, plan.tile or source.size, self.overlap)
        counted = 0
        shape: tuple[int, int] | None = None

        def scores(tiles: list[Tile]) -> list[Tensor]:
            nonlocal counted
            counted += len(tiles)
            if done is not None:
                done(min(1.0, counted / len(grid)))
            return self.logits([self.pack(source, tile) for tile in tiles])

        shape = tuple(self.pack(source, grid.tile(0, 0))['inputs'].shape[1:])
        for top, left, part in blended_rows(
            grid,
            scores,
            self.model.network.out_channels,
            self.model.network.align_corners,
            self.batch,
            shape,
        ):
            yield self._block(source, top, left, self.decide(part), part)

    def decide(self, scores: Tensor) -> Tensor:
        """(h, w) uint8 classes of (K, h, w) probabilities; of one output, class 1 above the head's threshold."""
        if scores.shape[0] > 1:
            return scores.argmax(0).to(torch.uint8)
        return (scores[0] > self.model.network.decode_head.threshold).to(torch.uint8)

    @staticmethod
    def _block(source: ImageSource, top: int, left: int, labels: Tensor, scores: Tensor) -> Block:
        if scores.shape[0] == 1:
            scores = torch.cat([1 - scores, scores])
        labels, confidence = labels.cpu().numpy(), scores.amax(0).cpu().numpy()
        height, width = labels.shape
        missing = source.missing(top, left, top + height, left + width)
        if missing is not None:
            labels, confidence = labels.copy(), confidence.copy()
            labels[missing], confidence[missing] = IGNORE, 0
        return Block(top, left, labels, confidence)
