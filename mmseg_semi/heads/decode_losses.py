"""The losses of a decode head without reads of device counts."""

import torch
from torch import Tensor, nn


def decode_losses(head: nn.Module, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """The losses and ``acc_seg`` of MMSegmentation's ``BaseDecodeHead.loss_by_feat`` without its boolean indexing.

    Args:
        head: With ``loss_decode``, ``sampler`` and ``ignore_index``.
        logits: (N, K, H, W), at the size of the labels.
        label: (N, 1, H, W) int64.
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
        # mmseg's own eps: without a labelled pixel its accuracy is 100
        eps = torch.finfo(torch.float32).eps
        losses['acc_seg'] = 100.0 * (correct + eps) / (valid.sum() + eps)
    return losses
