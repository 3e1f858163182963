"""One view on every decode head: stage 1 ``embed``, stage 2 ``lift`` (its first affine layer) and ``finish``.

Heads of this package have these methods. Any other mmseg head whose ``forward`` ends in one call of ``cls_seg`` gets
them here: fused, lifted and penultimate features are then the same tensor, the input of ``cls_seg``, and stage 2 is
``cls_seg``.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from mmseg_semi.errors import SetupError


class HeadOutput(NamedTuple):
    """What stage 2 returns."""

    features: Tensor
    """(N, C, h, w) penultimate features."""
    logits: Tensor
    """(N, K, h, w) class scores."""
    embedding: Tensor | None = None
    """(N, D, h, w) projection of the features, where the head has one."""


class NoFirstLayer:
    """For heads whose stage 2 begins with no linear layer of its own: fused and lifted features are one tensor."""

    def lift(self, fused: Tensor) -> Tensor:
        """Identity."""
        return fused

    def lift_delta(self, delta: Tensor) -> Tensor:
        """Identity."""
        return delta

    def lift_transpose(self, grad: Tensor) -> Tensor:
        """Identity."""
        return grad


class PlainHead(NoFirstLayer):
    """The two-stage view of a head that is not ours; holds the head, owns nothing.

    Raises:
        SetupError: From :meth:`embed`, when the head does not end in exactly one call of ``cls_seg``.
    """

    def __init__(self, head: nn.Module) -> None:
        self.head = head

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """The input of the head's ``cls_seg``, found by running its ``forward`` with ``cls_seg`` as the identity."""
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
                f'student.decode_head {type(self.head).__name__} calls cls_seg {len(seen)} times or works on its result, '
                'but objectives need a head whose forward returns one cls_seg(features): use DeepLabV3PlusHead, FCNHead, '
                'PSPHead, UPerHead, SegformerHead or a head like them'
            )
        return output

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """Identity: the features are the input of the classifier. There is one branch."""
        return lifted

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Stage 2 is ``cls_seg``, its dropout included."""
        return HeadOutput(lifted, self.head.cls_seg(lifted))


def two_stage(head: nn.Module):
    """The head itself if it has the two stages, else its :class:`PlainHead` view.

    Raises:
        SetupError: A cascade of heads, or a head without ``cls_seg`` and ``conv_seg``.
    """
    if hasattr(head, 'embed') and hasattr(head, 'finish'):
        return head
    if not hasattr(head, 'cls_seg') or not hasattr(head, 'conv_seg') or head.conv_seg is None:
        name = 'a cascade of heads' if isinstance(head, nn.ModuleList) else type(head).__name__
        raise SetupError(
            f'student.decode_head is {name}, which has no single cls_seg: use a decode head whose forward returns one '
            'cls_seg(features), for instance DeepLabV3PlusHead, FCNHead, PSPHead, UPerHead or SegformerHead'
        )
    return PlainHead(head)
