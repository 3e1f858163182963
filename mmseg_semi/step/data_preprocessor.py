"""Normalisation and batching of the semi-supervised branches."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.data.colour.batches import apply_operations
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.views import STRONG, is_strong

BRANCHES = ('labeled', 'weak', 'strong')
"""Branches of most recipes; further strong views are 'strong_2' and so on."""


@MODELS.register_module()
class BandsDataPreprocessor(SegDataPreProcessor):
    """MMSegmentation's data preprocessor for images of any number of bands (its own one takes one or three).

    Args:
        mean, std: A number for each band, in the levels of ``LoadAnyImage``.
        **kwargs: Other arguments of ``SegDataPreProcessor``. Channels keep their order.

    Raises:
        SetupError: Different numbers of means and deviations.

    Example:
        >>> normalise = BandsDataPreprocessor(mean=[1.0, 2.0], std=[1.0, 4.0])
        >>> images = torch.tensor([2.0, 6.0]).view(2, 1, 1)
        >>> normalise(dict(inputs=[images]))['inputs'].flatten().tolist()
        [1.0, 1.0]
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs) -> None:
        if len(mean) != len(std):
            raise SetupError(
                f'BandsDataPreprocessor: {len(mean)} means and {len(std)} deviations: give one of each for every band'
            )
        super().__init__(**{**kwargs, 'bgr_to_rgb': False, 'rgb_to_bgr': False})
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values).float().view(-1, 1, 1), False)


@MODELS.register_module()
class SemiDataPreprocessor(BaseDataPreprocessor):
    """Normalises and batches each branch with an inner data preprocessor, as mmdetection's ``MultiBranchDataPreprocessor``.

    In training it takes ``{'inputs': {branch: [image or None]}, 'data_samples': {branch: [sample or None]}}`` with the
    branches 'labeled', 'weak', 'strong' and further strong ones ('strong_2', ...), drops the None entries, and returns the same two dicts with an (N, C, H, W)
    tensor and a list of N samples a branch. A plain MMSegmentation batch (``inputs`` is a list) is taken as labelled.
    Outside training it is the inner preprocessor, so that ``init_model`` and ``inference_model`` work unchanged.

    If the weak view carries colour operations (``DeferColour``) and there is no strong branch, the strong views are made
    here, on the device, from the weak one's pixels.

    Args:
        data_preprocessor: Config of the inner one, usually ``dict(type='SegDataPreProcessor', ...)``. Without ``size`` and
            ``size_divisor`` the crops of a batch must have one size, and nothing is padded.
        bands: Of images that are not blue, green and red: ``channels``, their number, and ``colour``, the positions of red,
            green and blue or None. :func:`~mmseg_semi.runtime.band_configs.fill_bands` sets it from the data file. Pictures and
            the first convolution of pretrained weights follow it.

    Attributes:
        channels: Number of channels of an image.
        colour: Positions of red, green and blue among bands, or None.
        in_file_order: Whether channels are bands in their own order, not blue, green, red.

    Raises:
        SetupError: In training: an unknown branch, or crops of different sizes.
    """

    def __init__(self, data_preprocessor: dict, bands: dict | None = None) -> None:
        super().__init__()
        self.data_preprocessor = MODELS.build(data_preprocessor)
        mean = getattr(self.data_preprocessor, 'mean', None)
        self.channels = 3 if mean is None or mean.numel() == 1 else mean.numel()
        self.colour: tuple[int, ...] | None = None
        self.in_file_order = bands is not None
        if bands is not None:
            if mean is not None and self.channels != bands['channels']:
                raise SetupError(
                    f'model.data_preprocessor.bands.channels={bands["channels"]}, but mean and std of the inner one have '
                    f'{self.channels} numbers: give one for each band'
                )
            self.channels = bands['channels']
            self.colour = tuple(bands['colour']) if bands.get('colour') else None
        self._open_size = not ({'size', 'size_divisor'} & set(data_preprocessor))

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        if not training:
            return self.data_preprocessor(data, training=False)
        if not isinstance(data['inputs'], dict):
            data = {key: {'labeled': value} for key, value in data.items()}
        inputs: dict[str, Tensor] = {}
        samples: dict[str, list] = {}
        data = self._add_strong(data)
        for branch, images in data['inputs'].items():
            if branch not in BRANCHES and not is_strong(branch):
                raise SetupError(
                    f"the batch has a branch '{branch}': MultiBranch of the pipelines may use {BRANCHES}, and further strong "
                    "views named 'strong_2', 'strong_3' and so on"
                )
            kept = [i for i, image in enumerate(images) if image is not None]
            if not kept:
                continue
            output = self._inner(branch, [images[i].shape[-2:] for i in kept])(
                {
                    'inputs': [images[i] for i in kept],
                    'data_samples': [data['data_samples'][branch][i] for i in kept],
                },
                training=True,
            )
            inputs[branch], samples[branch] = output['inputs'], output['data_samples']
        return {'inputs': inputs, 'data_samples': samples}

    def _add_strong(self, data: dict) -> dict:
        """The batch with its strong branches, made from the weak one if that carries colour operations."""
        weak = [sample for sample in data['data_samples'].get('weak', []) if sample is not None]
        deferred = ['colour' in sample.metainfo for sample in weak]
        if not any(deferred):
            return data
        given = any(
            image is not None
            for branch, images in data['inputs'].items()
            if is_strong(branch)
            for image in images
        )
        if not all(deferred) or given:
            raise SetupError(
                'some unlabelled images carry colour operations of DeferColour, others have none or a strong view besides: '
                'begin the weak branch of every unlabelled pipeline with DeferColour, and let none have a strong branch'
            )
        # by strong view the operations of each image
        views = [*zip(*map(_operations, weak), strict=False)]
        if any(len(_operations(sample)) != len(views) for sample in weak):
            raise SetupError(
                'DeferColour draws colours for different numbers of strong views: set one number of `views` in all '
                'unlabelled pipelines'
            )
        images = [image for image in data['inputs']['weak'] if image is not None]
        # refuses crops of different sizes
        self._inner('weak', [image.shape[-2:] for image in images])
        device = self.data_preprocessor.device
        images = torch.stack([image.to(device, non_blocking=True) for image in images])
        inputs, samples = {**data['inputs']}, {**data['data_samples']}
        inputs['weak'], samples['weak'] = list(images), weak
        for number, operations in enumerate(views, start=1):
            branch = STRONG if number == 1 else f'{STRONG}_{number}'
            inputs[branch] = list(apply_operations(images, operations))
            samples[branch] = [sample.clone() for sample in weak]
        return {'inputs': inputs, 'data_samples': samples}

    def _inner(self, branch: str, sizes: list) -> BaseDataPreprocessor:
        """The inner preprocessor, with the size of the crops if the config leaves it open (mmseg's demands one)."""
        inner = self.data_preprocessor
        if self._open_size:
            if len(set(sizes)) > 1:
                raise SetupError(
                    f"branch '{branch}': images of sizes {sorted(set(map(tuple, sizes)))} in one batch; end the geometry of "
                    'the pipeline with RandomScaleCrop (or PadAllMaps and RandomCrop) of one size, or set model.data_preprocessor.size'
                )
            inner.size = tuple(sizes[0])
        return inner

    def to(self, *args, **kwargs) -> 'SemiDataPreprocessor':
        self.data_preprocessor.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def cuda(self, *args, **kwargs) -> 'SemiDataPreprocessor':
        self.data_preprocessor.cuda(*args, **kwargs)
        return super().cuda(*args, **kwargs)

    def cpu(self) -> 'SemiDataPreprocessor':
        self.data_preprocessor.cpu()
        return super().cpu()

    def stack_valid(self, samples: list, device: torch.device) -> Tensor:
        """(N, H, W) bool validity of unlabelled samples; see ``PackSemiInputs``.

        Raises:
            SetupError: The pipeline did not carry validity.
        """
        if any('valid_map' not in sample for sample in samples):
            raise SetupError(
                'unlabelled samples carry no validity map: begin the unlabelled pipeline with InitValidMap and end its '
                'branches with PackSemiInputs'
            )
        return (
            torch.stack([sample.valid_map.data.squeeze(0) for sample in samples]).to(device).bool()
        )

    @staticmethod
    def stack_noisy(samples: list, device: torch.device) -> Tensor | None:
        """(N, H, W) int64 noisy labels of unlabelled samples, IGNORE where one has none; None if none has any."""
        maps = [
            sample.given_map.data.squeeze(0) if 'given_map' in sample else None
            for sample in samples
        ]
        known = next((labels for labels in maps if labels is not None), None)
        if known is None:
            return None
        nothing = torch.full_like(known, IGNORE)
        maps = [nothing if labels is None else labels for labels in maps]
        return torch.stack(maps).to(device).long()


def _operations(sample: Any) -> list:
    """The colour operations of an image for each strong view, see ``DeferColour``."""
    return [sample.metainfo['colour'], *sample.metainfo.get('more_colours', ())]
