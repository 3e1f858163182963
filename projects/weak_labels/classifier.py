"""A multi-label classifier that gives class activation maps: backbone, pooling, one linear layer.

With the settings of ``configs/weak_classifier/voc_r50.py`` this is the classifier of the authors'
code for CCT with image-level labels (github.com/yassouali/CCT, adapted from
github.com/jiwoon-ahn/irn).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmseg.registry import HOOKS, METRICS, MODELS
from torch import Tensor, nn

from mmseg_semi.data.randomness import derive_seed
from mmseg_semi.errors import SetupError
from mmseg_semi.step.hooks import bare_model, share_statistics, shared_seed


@MODELS.register_module()
class MultiLabelClassifier(BaseModel):
    """Classify which of several classes an image shows.

    It has a backbone, global average pooling and a linear layer without bias, and trains by the
    multi-label soft margin loss. The linear layer is a 1x1 convolution: applied before the pooling,
    it gives class activation maps.

    Args:
        backbone: Config of a backbone of MMSegmentation, or 'mmpretrain.<name>' (which needs
            torchvision).
        in_channels: Channels of the features.
        num_classes: Number of outputs.
        in_index: Index of the backbone's output that is used. Defaults to the last.
        data_preprocessor: Usually ``dict(type='ImgDataPreprocessor', ...)``.

    State: ``backbone.*``, ``classifier.weight`` (C, in_channels, 1, 1).
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: int,
        num_classes: int,
        in_index: int = -1,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if num_classes < 1:
            raise SetupError(f'model.num_classes={num_classes}: expected the number of classes')
        self.backbone = MODELS.build(backbone)
        self.in_index = in_index
        self.classifier = nn.Conv2d(in_channels, num_classes, 1, bias=False)

    @property
    def num_classes(self) -> int:
        """Number of outputs."""
        return self.classifier.out_channels

    def features(self, images: Tensor) -> Tensor:
        """Features (N, in_channels, h, w) of normalised images (N, 3, H, W)."""
        levels = self.backbone(images)
        found = levels[self.in_index] if isinstance(levels, tuple | list) else levels
        wanted = self.classifier.in_channels
        if found.dim() != 4 or found.shape[1] != wanted:
            raise SetupError(
                f'model.in_channels={wanted}, but output {self.in_index} of the backbone has the shape '
                f'{tuple(found.shape)}; expected (N, {wanted}, h, w)'
            )
        return found

    def cams(self, images: Tensor) -> Tensor:
        """Class activation maps (N, C, h, w), not negative."""
        return self.classifier(self.features(images)).relu()

    def forward(
        self, inputs: Tensor, data_samples: Sequence | None = None, mode: str = 'tensor'
    ) -> Tensor | dict | list:
        """Logits (N, C); with mode 'loss' the loss, with 'predict' the samples with ``scores`` in [0, 1]."""
        pooled = self.features(inputs).mean(dim=(2, 3), keepdim=True)
        logits = self.classifier(pooled).flatten(1).float()
        if mode == 'tensor':
            return logits
        if mode == 'predict':
            for sample, scores in zip(data_samples, logits.sigmoid(), strict=True):
                sample.scores = scores
            return list(data_samples)
        labels = torch.stack([sample.labels for sample in data_samples]).to(logits.device)
        if labels.shape != logits.shape:
            raise SetupError(
                f'model.num_classes={logits.shape[1]}, but the images have labels of {labels.shape[1]} classes: set '
                'them equal'
            )
        return {'loss': F.multilabel_soft_margin_loss(logits, labels)}


@HOOKS.register_module()
class ClassifierHook(Hook):
    """Makes a run of the classifier resume exactly, and averages running statistics over the ranks.

    Order, augmentation and dropout follow from (seed, rank, iteration).
    """

    def before_train(self, runner) -> None:
        self.seed = shared_seed(runner)
        loader = runner.train_dataloader
        if hasattr(loader.sampler, 'check_loader'):
            loader.sampler.check_loader(loader)
            loader.sampler.seed = self.seed
        known = getattr(loader.dataset, 'metainfo', {}).get('classes', ())
        outputs = bare_model(runner).num_classes
        if known and len(known) != outputs:
            raise SetupError(
                f'model.num_classes={outputs}, but train_dataloader.dataset has {len(known)} classes '
                f'({", ".join(known)}): set them equal'
            )

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        torch.manual_seed(derive_seed(self.seed, runner.rank, runner.iter))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if get_world_size() > 1:
            share_statistics(bare_model(runner))


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Average precision: the mean over the positives of the precision at their rank.

    Equal scores are ranked in their worst order.

    Args:
        scores: (N,).
        labels: (N,) bool, at least one True.
    """
    order = np.lexsort((labels, -scores))
    hits = labels[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


@METRICS.register_module()
class MultiLabelMetric(BaseMetric):
    """Report ``mAP``, the mean average precision of the classes, and ``F1``, in percent.

    ``F1`` counts scores above 1/2 as positive. A class that no image shows is left out of the mean.
    """

    default_prefix = 'labels'

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            self.results.append(
                (np.asarray(sample['scores'].cpu()), np.asarray(sample['labels'].cpu()) > 0.5)
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        scores, labels = (np.stack(column) for column in zip(*results, strict=True))
        shown = np.flatnonzero(labels.any(axis=0))
        precisions = [average_precision(scores[:, c], labels[:, c]) for c in shown]
        predicted = scores > 0.5
        hits = 2 * (predicted & labels).sum()
        return {
            'mAP': 100 * float(np.mean(precisions)) if precisions else float('nan'),
            'F1': 100 * float(hits / max(predicted.sum() + labels.sum(), 1)),
        }
