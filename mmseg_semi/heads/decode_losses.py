"""Losses of a decode head, computed without waiting for the device."""

from typing import Any

import torch
from torch import Tensor, nn

from mmseg_semi.class_scores import class_rows


def decode_losses(head: nn.Module, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Compute the losses and ``acc_seg`` of a decode head on labelled images.

    The values equal those of MMSegmentation's ``BaseDecodeHead.loss_by_feat``. That method indexes
    by a boolean mask, and its cross entropy reads the number of labelled pixels: both make the host
    wait for a GPU. Its cross entropy with ``class_weight`` and ``avg_non_ignore=True`` fails where
    a pixel is ignored; here it is the weighted mean over the labelled pixels, as in torch.

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
        if _is_softmax_loss(loss):
            value = _softmax_loss(loss, logits, label, weight, head.ignore_index)
        else:
            value = loss(logits, label, weight=weight, ignore_index=head.ignore_index)
        losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
    with torch.no_grad():
        valid = label != head.ignore_index
        correct = ((logits.argmax(dim=1) == label) & valid).sum()
        # the eps of MMSegmentation: without a labelled pixel the accuracy is 100
        eps = torch.finfo(torch.float32).eps
        losses['acc_seg'] = 100.0 * (correct + eps) / (valid.sum() + eps)
    return losses


def _is_softmax_loss(loss: nn.Module) -> bool:
    """Whether this is MMSegmentation's CrossEntropyLoss over classes; by its name, for this module needs no framework."""
    softmax = not (getattr(loss, 'use_sigmoid', False) or getattr(loss, 'use_mask', False))
    return (
        softmax
        and any(kind.__name__ == 'CrossEntropyLoss' for kind in type(loss).__mro__)
        and hasattr(loss, 'avg_non_ignore')
    )


def _softmax_loss(
    loss: nn.Module,
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None,
    ignore_index: int,
) -> Tensor:
    """MMSegmentation's softmax cross entropy with its divisor as a tensor, on rows of channels-last logits."""
    rows, flat = class_rows(logits, label)
    options: dict[str, Any] = {}
    if loss.reduction == 'mean':
        options['avg_factor'] = _divisor(loss, flat, ignore_index)
    if weight is not None:
        weight = weight.reshape(flat.shape)
    return loss(rows, flat, weight=weight, ignore_index=ignore_index, **options)


def _divisor(loss: nn.Module, label: Tensor, ignore_index: int) -> Tensor | int:
    """What the sum over pixels is divided by: labelled pixels, their class weights, or all pixels."""
    valid = label != ignore_index
    if loss.class_weight is not None:
        weights = torch.tensor(loss.class_weight, device=label.device)
        return (weights[label.masked_fill(~valid, 0)] * valid).sum()
    return valid.sum() if loss.avg_non_ignore else label.numel()
