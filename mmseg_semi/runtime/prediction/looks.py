"""What a network makes of an image as a whole: its uncertainty and its features, for ranking."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from mmseg_semi.heads.two_stage import two_stage
from mmseg_semi.runtime.pictures import shrink
from mmseg_semi.runtime.prediction.predictor import Predictor
from mmseg_semi.runtime.prediction.ranking import pooled, uncertainty
from mmseg_semi.runtime.prediction.sources import ImageSource, picture_of
from mmseg_semi.runtime.prediction.tiles import Grid, probabilities


class Look(NamedTuple):
    """A network's look at an image.

    Attributes:
        uncertainty: Mean over the pixels, in [0, 1].
        embedding: (C,) float32, of length one.
    """

    uncertainty: float
    embedding: np.ndarray


class Looker:
    """Looks at images through a model's test pipeline; large ones in tiles without overlap.

    Args:
        predictor: The model.
        kind: Of :func:`.ranking.uncertainty`.

    Raises:
        SetupError: If the head has no features in front of one classifier.
    """

    def __init__(self, predictor: Predictor, kind: str = 'entropy') -> None:
        self.predictor, self.kind = predictor, kind
        self.stages = two_stage(predictor.model.network.decode_head)

    @torch.no_grad()
    def __call__(self, source: ImageSource) -> Look:
        """Uncertainty and features, averaged over the tiles; padding of the pipeline is no part of them."""
        plan = self.predictor.plan(source.size)
        grid = Grid(source.size, plan.tile or source.size, 0.0)
        total, values, features = 0.0, 0.0, 0.0
        for row in range(len(grid.tops)):
            for column in range(len(grid.lefts)):
                tile = grid.tile(row, column)
                unsure, feature = self._look(self.predictor.pack(source, tile))
                weight = (tile.bottom - tile.top) * (tile.right - tile.left)
                total, values, features = (
                    total + weight,
                    values + weight * unsure,
                    features + weight * feature,
                )
        embedding = features / total
        length = float(np.linalg.norm(embedding))
        return Look(values / total, (embedding / max(length, 1e-12)).astype(np.float32))

    def _look(self, packed: dict) -> tuple[float, np.ndarray]:
        model = self.predictor.model
        data = model.segmentor.data_preprocessor(pseudo_collate([packed]), False)
        inputs, meta = data['inputs'], data['data_samples'][0].metainfo
        output = self.stages.finish(
            self.stages.lift(self.stages.embed(model.network.extract_feat(inputs)))
        )
        logits = self._valid(output.logits[0], inputs.shape[2:], meta)
        unsure = uncertainty(probabilities(logits.float()), self.kind)
        features = pooled(self._valid(output.features[0], inputs.shape[2:], meta))
        return float(unsure.mean()), features.cpu().numpy()

    def _valid(self, maps: torch.Tensor, size: tuple[int, int], meta: dict) -> torch.Tensor:
        """The part of (C, h, w) maps of an input of this size that shows the image, not its padding."""
        padding = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        left, right, top, bottom = padding
        height, width = maps.shape[1:]
        rows = slice(round(top * height / size[0]), round((size[0] - bottom) * height / size[0]))
        columns = slice(round(left * width / size[1]), round((size[1] - right) * width / size[1]))
        return maps[:, rows, columns]


def content(source: ImageSource) -> bytes:
    """A digest of an image's pixels, equal for equal pixels in files of any lossless format.

    Args:
        source: The image. It is read in bands of rows.
    """
    height, width = source.size
    digest = hashlib.sha256(f'{height} {width}'.encode())
    for top in range(0, height, 512):
        img = source.read(top, 0, min(height, top + 512), width)
        digest.update(np.ascontiguousarray(img).tobytes())
    return digest.digest()


def thumbnail(source: ImageSource, side: int = 240) -> np.ndarray:
    """(h, w, 3) uint8 picture of at most ``side`` pixels a side, every n-th pixel of the image."""
    step = max(1, -(-max(source.size) // (2 * side)))
    rows = [
        source.read(top, 0, top + 1, source.size[1])[:, ::step]
        for top in range(0, source.size[0], step)
    ]
    return shrink(picture_of(np.concatenate(rows), source.record), side)
