"""CCT's head: pyramid pooling and a pixel-shuffle decoder.

Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005; behaviour checked against
https://github.com/yassouali/CCT (65d4e5b). The pyramid (https://arxiv.org/abs/1612.01105) is
MMSegmentation's. It belongs to CCT's encoder: ``CCTObjective`` perturbs its output. If the image's
side is no multiple of the output stride, the logits are cropped. The released code pads images when
it evaluates, and stretches logits in training.
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
    """``PSPHead`` with a :class:`~mmseg_semi.methods.cct.pixel_shuffle.PixelShuffleDecoder`.

    In two stages (``heads/two_stage.py``), :meth:`embed` is the pyramid. Fused, lifted and
    penultimate features are its output z, which is not negative. The classifier ``conv_seg`` is the
    decoder.

    Args:
        in_channels: Channels of the backbone's output (2048).
        channels: Channels of the pyramid's branches and of z (512).
        num_classes: Number of classes K.
        upscale: Upsampling factor of the decoder, the backbone's output stride; a power of two (8).
        final_act: Activation of the decoder's last level, 'relu' (the released code) or None.
        bias_init: Initialisation of the decoder's biases, 'replicate' or 'uniform' (the released
            code).
        pool_scales: Sides of the pyramid's pooled maps (1, 2, 3, 6).
        dropout_ratio: Dropout before the decoder (0).
        kwargs: Arguments of ``BaseDecodeHead``: ``norm_cfg``, ``in_index``, ``loss_decode``, ...

    Raises:
        SetupError: If a setting of the decoder is out of range; in training, if a batch norm gets
            the 1x1 map of one image.

    Example:
        >>> head = CCTHead(in_channels=32, channels=16, num_classes=3, upscale=4, in_index=0)
        >>> z = head.embed([torch.rand(2, 32, 6, 6)])
        >>> features, logits, _ = head.finish(head.lift(z))
        >>> z.shape, logits.shape
        (torch.Size([2, 16, 6, 6]), torch.Size([2, 3, 24, 24]))
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
        """Give the pyramid's convolutions torch's default weights, as in the released code."""
        super().init_weights()
        for part in (self.psp_modules, self.bottleneck):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map backbone outputs to z, (N, channels, h, w), which is not negative."""
        if self.training and len(inputs[-1]) == 1 and 1 in self.pool_scales:
            self._refuse_one_image()
        return self._forward_feature(inputs)

    def _refuse_one_image(self) -> None:
        for module in self.psp_modules.modules():
            if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
                raise SetupError(
                    'decode_head CCTHead pools an image to one pixel, and a batch norm cannot '
                    'normalise one pixel of one image: give each device at least 2 images of each '
                    'kind, or set norm_cfg=dict(type="SyncBN") on several devices'
                )

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """Return the input: the features are the input of the decoder. There is one branch."""
        return lifted

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Apply the main decoder: map z to logits, (N, K, upscale h, upscale w)."""
        return HeadOutput(lifted, self.cls_seg(lifted))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map backbone outputs to logits, (N, K, upscale h, upscale w).

        With ``final_act='relu'`` they are not negative.
        """
        return self.finish(self.embed(inputs)).logits

    def fit(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Bring logits to the size of the image.

        They are cropped if they reach over the image by less than a cell, else resized.

        Args:
            logits: (N, K, H', W').
            size: (H, W) of the image.
        """
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
        """Compute the losses at the size of the labels, see :meth:`fit`."""
        label = self._stack_batch_gt(batch_data_samples)
        return decode_losses(self, self.fit(seg_logits, label.shape[2:]), label)

    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Bring logits to the size of the network's input, see :meth:`fit`."""
        meta = batch_img_metas[0]
        # as in the base class: a window of sliding inference has a torch.Size; otherwise padding
        # is part of the input
        padded = not isinstance(meta['img_shape'], torch.Size) and 'pad_shape' in meta
        size = meta['pad_shape' if padded else 'img_shape'][:2]
        return super().predict_by_feat(self.fit(seg_logits, size), batch_img_metas)
