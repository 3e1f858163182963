"""The two-stage contract of decode heads, and a view that gives it to other heads.

Objectives perturb features inside the decoder. So every decode head is used in two stages::

    inputs --embed--> v --lift--> u --features--> x --cls_seg--> logits
                      |           |                              |
                      |           '----------- finish -----------'
                      '--------------- classify -----------------'

- ``inputs`` are the backbone's outputs, ``logits`` (N, K, h, w) class scores.
- ``embed(inputs)`` is stage 1. It gives the fused features v, (N, Cv, h, w), which DDFP and CCT
  perturb.
- ``lift(fused)`` is stage 2's first layer, affine: u = W v + b, (N, C1, h, w). So a perturbation d
  of v can reuse u: ``lift(v + d) = lift(v) + lift_delta(d)`` with ``lift_delta(d) = W d``.
  ``lift_transpose(grad)``, W transposed, turns a gradient with respect to u into one with respect
  to v.
- ``features(lifted, branches)`` maps u to the penultimate features x, (N, C, h, w).
- ``finish(lifted, branches)`` maps u to ``HeadOutput(features, logits, embedding)``.
- ``classify(fused, branches)`` is all of stage 2, ``finish(lift(fused), branches)``. The step never
  calls it, and only ``DeepLabV3PlusHead`` and its subclasses have it.
- ``branches=(a, b)`` sends the first a images of the batch through the deployed norms and the last
  b images through the auxiliary norms. None sends all images through the deployed norms. A head
  without auxiliary norms has one branch.
- ``fit(logits, size)`` is optional. It brings logits to the size of the image, for a head whose
  logits may reach over the image's border (``CCTHead``).

``forward(inputs)`` gives the same logits, so such a head works in any config of MMSegmentation.
The heads of this package implement the contract. :func:`two_stage` gives it to every other
MMSegmentation head whose ``forward`` ends in one call of ``cls_seg``. There fused, lifted and
penultimate features are the same tensor, the input of ``cls_seg``, and stage 2 is ``cls_seg``.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from mmseg_semi.errors import SetupError


class HeadOutput(NamedTuple):
    """Output of stage 2."""

    features: Tensor
    """(N, C, h, w) penultimate features."""
    logits: Tensor
    """(N, K, h, w) class scores."""
    embedding: Tensor | None = None
    """(N, D, h, w) embedding of the features, for heads that compute one."""


class NoFirstLayer:
    """Base of heads without a first affine layer: fused and lifted features are the same."""

    def lift(self, fused: Tensor) -> Tensor:
        """Return the input."""
        return fused

    def lift_delta(self, delta: Tensor) -> Tensor:
        """Return the input."""
        return delta

    def lift_transpose(self, grad: Tensor) -> Tensor:
        """Return the input."""
        return grad


class PlainHead(NoFirstLayer):
    """View another head in two stages; the view refers to the head and has no state.

    Args:
        head: A decode head whose ``forward`` returns ``cls_seg(features)``.

    Raises:
        SetupError: From :meth:`embed`, if the head does not end in exactly one call of ``cls_seg``.
    """

    def __init__(self, head: nn.Module) -> None:
        self.head = head

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the input of ``cls_seg``: run ``forward`` with ``cls_seg`` as the identity."""
        seen: list[Tensor] = []

        def capture(feature: Tensor) -> Tensor:
            seen.append(feature)
            return feature

        self.head.cls_seg = capture  # shadows the method on this instance only
        try:
            output = self.head(inputs)
        finally:
            del self.head.cls_seg
        if len(seen) != 1 or output is not seen[0]:
            raise SetupError(
                f'student.decode_head {type(self.head).__name__} calls cls_seg {len(seen)} times '
                'or changes its result, but objectives need a head whose forward returns one '
                'cls_seg(features): use DeepLabV3PlusHead, FCNHead, PSPHead, UPerHead, '
                'SegformerHead or a similar head'
            )
        return output

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """Return the input: the features are the classifier's input. There is one branch."""
        return lifted

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Apply ``cls_seg``, its dropout included."""
        return HeadOutput(lifted, self.head.cls_seg(lifted))


def two_stage(head: nn.Module):
    """Return a head that has the two stages: the head itself or its :class:`PlainHead` view.

    Args:
        head: A decode head of this package or of MMSegmentation.

    Raises:
        SetupError: If the head is a cascade of heads, or has no ``cls_seg`` and ``conv_seg``.

    Example:
        >>> import torch
        >>> from mmseg.models.decode_heads import FCNHead
        >>> stages = two_stage(FCNHead(in_channels=32, channels=16, num_classes=3))
        >>> fused = stages.embed([torch.randn(2, 32, 4, 4)])
        >>> features, logits, _ = stages.finish(stages.lift(fused))
        >>> features.shape, logits.shape
        (torch.Size([2, 16, 4, 4]), torch.Size([2, 3, 4, 4]))
    """
    if hasattr(head, 'embed') and hasattr(head, 'finish'):
        return head
    if not hasattr(head, 'cls_seg') or not hasattr(head, 'conv_seg') or head.conv_seg is None:
        name = 'a cascade of heads' if isinstance(head, nn.ModuleList) else type(head).__name__
        raise SetupError(
            f'student.decode_head is {name}, which has no single cls_seg: use a decode head whose '
            'forward returns one cls_seg(features), for instance DeepLabV3PlusHead, FCNHead, '
            'PSPHead, UPerHead or SegformerHead'
        )
    return PlainHead(head)
