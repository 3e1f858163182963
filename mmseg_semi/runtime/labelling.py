"""Trained networks that label unlabelled images, one complete image at a time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import load_checkpoint
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import MODELS, TRANSFORMS
from torch import Tensor

from mmseg_semi.data.checks import header_size
from mmseg_semi.data.transforms import EvaluateAtThisSize
from mmseg_semi.errors import SetupError


def without_labels(pipeline: Sequence[Any]) -> list:
    """The pipeline of an image without labels: leaves out what loads labels, and evaluation at a smaller size.

    Args:
        pipeline: Configs of transforms, also of test-time augmentation.

    Example:
        >>> steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
        >>> [step['type'] for step in without_labels(steps)]
        ['LoadImageFromFile', 'PackSegInputs']
    """
    kept = []
    for step in pipeline:
        if isinstance(step, Mapping):
            kind = TRANSFORMS.get(step['type']) if isinstance(step['type'], str) else step['type']
            if isinstance(kind, type) and issubclass(kind, LoadAnnotations | EvaluateAtThisSize):
                continue
            step = dict(step)
            if isinstance(step.get('transforms'), list | tuple):
                step['transforms'] = without_labels(step['transforms'])
        elif isinstance(step, list | tuple):  # the alternatives of test-time augmentation
            step = without_labels(step)
            if not step:
                continue
        kept.append(step)
    return kept


class ImagesToLabel:
    """Unlabelled images as a network's input, at the size that the test pipeline gives them.

    Args:
        source: Data set of the images; its own pipeline is not used.
        pipeline: Test pipeline of the config.
        key: Key of the pipeline, named in the error.

    Raises:
        SetupError: If the pipeline makes no input of the first image, or notes another size than the image's own.
    """

    def __init__(self, source: BaseDataset, pipeline: Sequence[dict], key: str) -> None:
        self.source = source
        self.pipeline = Compose([dict(step) for step in without_labels(pipeline)])
        self._check(key)

    def __iter__(self) -> Iterator[str]:
        """Paths of the images."""
        return (self.path(index) for index in range(len(self.source)))

    def path(self, index: int) -> str:
        """Path of an image."""
        return self.source.get_data_info(index)['img_path']

    def batch(self, index: int) -> dict:
        """A batch of one image, as a network's ``test_step`` takes it."""
        return pseudo_collate([self.pipeline(self.source.get_data_info(index))])

    def _check(self, key: str) -> None:
        path = self.path(0)
        try:
            sample = self.batch(0)['data_samples'][0]
            sample = sample[0] if isinstance(sample, list | tuple) else sample  # of augmentation
            size = tuple(sample.ori_shape)
        except SetupError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SetupError(
                f'{key} makes no input of the unlabelled image {path} ({type(error).__name__}: {error}); it must load an '
                'image and pack it without labels, as test_pipeline of configs/_base_/datasets/semi.py does'
            ) from error
        wanted = header_size(path)
        if wanted is not None and size != wanted:
            raise SetupError(
                f'{key} notes the size {size[1]} x {size[0]} for the unlabelled image {path}, which is {wanted[1]} x '
                f'{wanted[0]}; masks must have the size of their image: load it with its orientation tag, and keep ori_shape'
            )


class Labeller:
    """A trained network that labels complete images.

    Args:
        model: Config of the segmentor, or of the test-time augmentation around it.
        checkpoint: Its weights.
    """

    def __init__(self, model: Config, checkpoint: str | Path) -> None:
        network = revert_sync_batchnorm(MODELS.build(model))
        inner = network if hasattr(network, 'predict_with') else network.module
        load_checkpoint(inner, str(checkpoint), map_location='cpu', logger='silent', strict=True)
        self.network = network.to(get_device()).eval()

    @torch.no_grad()
    def __call__(self, batch: dict) -> Tensor:
        """(H, W) uint8 labels, on the CPU, of the image in a batch of one.

        A batch is read only, so that several networks may label it.
        """
        batch = {key: list(value) for key, value in batch.items()}
        return self.network.test_step(batch)[0].pred_sem_seg.data[0].to(torch.uint8).cpu()
