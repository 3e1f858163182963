"""CCT's head: pyramid pooling and a pixel-shuffle decoder (CVPR 2020, arXiv 2003.09005; github.com/yassouali/CCT).

The pyramid (arXiv 1612.01105) is MMSegmentation's; it belongs to what CCT calls the encoder: its output is what the
auxiliary decoders of ``CCTObjective`` see perturbed. Where the image's side is no multiple of the output stride, the
answer is cropped; the released code pads images when it evaluates, and stretches in training.
"""

from collections.abc import Sequence

import torch
from mmseg.models.decode_heads import PSPHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.decode_losses import decode_losses
from mmseg_semi.heads.two_stage import HeadOutput, NoFirstLayer
from mmseg_semi.methods.cct.pixel_shuffle import PixelShuffleDecoder, check_decoder


@MODELS.register_module()
class CCTHead(NoFirstLayer, PSPHead):
    """``PSPHead`` whose classifier is a :class:`~mmseg_semi.methods.cct.pixel_shuffle.PixelShuffleDecoder`.

    In two stages: :meth:`embed` is the pyramid; fused, lifted and penultimate features are its output z, not negative; the
    classifier ``conv_seg`` is the decoder.

    Args:
        in_channels: Channels of the backbone's output.
        channels: Of the pyramid's branches and of z (512 in the paper).
        num_classes: K.
        upscale: Side of the answer over that of z, a power of two: the backbone's output stride.
        final_act: 'relu' (the released code) or None, of the decoder's last level.
        bias_init: 'replicate' or 'uniform' (the released code), of the decoder.
        pool_scales: Of the pyramid.
        kwargs: ``BaseDecodeHead``'s ``norm_cfg``, ``in_index``, ``loss_decode``, ...

    Raises:
        SetupError: ``upscale`` is no power of two; an unknown ``final_act`` or ``bias_init``. In training: one image,
            whose 1x1 map of the pyramid a batch norm cannot normalise.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        channels: int = 512,
        *,
        num_classes: int,
        upscale: int = 8,
        final_act: str | None = 'relu',
        bias_init: str = 'replicate',
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout_ratio: float = 0.0,
        init_cfg: dict | list | None = None,
        **kwargs,
    ) -> None:
        check_decoder(upscale, final_act, bias_init, 'decode_head')
        super().__init__(
            pool_scales=tuple(pool_scales),
            in_channels=in_channels,
            channels=channels,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            **kwargs,
        )
        self.upscale = upscale
        self.conv_seg = PixelShuffleDecoder(
            channels, self.out_channels, upscale, final_act, bias_init
        )

    def init_weights(self) -> None:
        """torch's default for the pyramid's convolutions, as in the released code; a norm follows each of them."""
        super().init_weights()
        for part in (self.psp_modules, self.bottleneck):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone outputs -> z, (N, channels, h, w), not negative."""
        if self.training and len(inputs[-1]) == 1 and 1 in self.pool_scales:
            self._refuse_one_image()
        return self._forward_feature(inputs)

    def _refuse_one_image(self) -> None:
        for module in self.psp_modules.modules():
            if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
                raise SetupError(
                    'decode_head CCTHead pools an image to one pixel, and a batch norm cannot normalise one pixel of one '
                    'image: give each device at least 2 images of each kind, or norm_cfg=dict(type="SyncBN") on several '
                    'devices'
                )

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """Identity: the features are the input of the decoder. There is one branch."""
        return lifted

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """The main decoder: z -> (N, K, upscale h, upscale w) scores."""
        return HeadOutput(lifted, self.cls_seg(lifted))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone outputs -> (N, K, upscale h, upscale w) scores, not negative with ``final_act='relu'``."""
        return self.finish(self.embed(inputs)).logits

    def fit(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Scores at the size of the image: cropped where they reach over it by less than a cell, else resized."""
        over = [have - want for have, want in zip(logits.shape[2:], size, strict=True)]
        if all(0 <= extent < self.upscale for extent in over):
            return logits[:, :, : size[0], : size[1]]
        return resize(
            logits,
            size=tuple(size),
            mode='bilinear',
            align_corners=self.align_corners,
            warning=False,
        )

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict:
        """The losses at the size of the labels, see :meth:`fit`."""
        label = self._stack_batch_gt(batch_data_samples)
        return decode_losses(self, self.fit(seg_logits, label.shape[2:]), label)

    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Scores at the size of the network's input, see :meth:`fit`."""
        meta = batch_img_metas[0]
        # as in the base class: a window of sliding inference has a torch.Size, else padding counts as input
        padded = not isinstance(meta['img_shape'], torch.Size) and 'pad_shape' in meta
        size = meta['pad_shape' if padded else 'img_shape'][:2]
        return super().predict_by_feat(self.fit(seg_logits, size), batch_img_metas)
