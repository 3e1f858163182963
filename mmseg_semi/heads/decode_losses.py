"""Losses of a decode head, computed without waiting for the device."""

import torch
from torch import Tensor, nn


def decode_losses(head: nn.Module, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Compute the losses and ``acc_seg`` of a decode head on labelled images.

    The values equal those of MMSegmentation's ``BaseDecodeHead.loss_by_feat``. That method indexes
    by a boolean mask, which makes a GPU wait for the number of labelled pixels.

    Args:
        head: A decode head, with ``loss_decode``, ``sampler`` and ``ignore_index``.
        logits: (N, K, H, W), at the size of the labels.
        label: (N, 1, H, W) int64, classes in [0, K) or the head's ignored label (255).

    Returns:
        Loss name -> value, and ``acc_seg``, the share of correct labelled pixels in percent.

    Example:
        >>> from mmseg.models.decode_heads import FCNHead
        >>> head = FCNHead(in_channels=8, channels=4, num_classes=3)
        >>> logits, label = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
        >>> sorted(decode_losses(head, logits, label))
        ['acc_seg', 'loss_ce']
    """
    weight = head.sampler.sample(logits, label) if head.sampler is not None else None
    label = label.squeeze(1)
    losses: dict[str, Tensor] = {}
    for loss in (
        head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
    ):
        value = loss(logits, label, weight=weight, ignore_index=head.ignore_index)
        losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
    with torch.no_grad():
        valid = label != head.ignore_index
        correct = ((logits.argmax(dim=1) == label) & valid).sum()
        # the eps of MMSegmentation: without a labelled pixel the accuracy is 100
        eps = torch.finfo(torch.float32).eps
        losses['acc_seg'] = 100.0 * (correct + eps) / (valid.sum() + eps)
    return losses
