"""What rounds of correction do to labels whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_semi.structures import IGNORE


@dataclass
class CorrectionQuality:
    """Pixels by class of the truth; add two with ``+``."""

    pixels: Tensor
    """(K,) int64."""
    right: Tensor
    """(levels, K) int64, pixels with their true class after each round; row 0 before the first."""
    righted: Tensor
    """(levels - 1, K) int64, pixels that a round made right."""
    wronged: Tensor
    """(levels - 1, K) int64, right ones that a round made wrong."""
    changed: Tensor
    """(levels - 1, K) int64, pixels whose label a round changed; some from one wrong class to another."""

    def __add__(self, other: 'CorrectionQuality') -> 'CorrectionQuality':
        return CorrectionQuality(
            *(mine + theirs for mine, theirs in zip(self._all(), other._all(), strict=True))
        )

    def _all(self) -> list[Tensor]:
        return [self.pixels, self.right, self.righted, self.wronged, self.changed]

    def values(self) -> dict[str, Tensor]:
        """Shares of all pixels, over all classes: accuracy by level; righted, wronged by round (0-dim float32)."""
        total = self.pixels.sum().clamp(min=1).float()
        values = {f'accuracy_{k}': row.sum() / total for k, row in enumerate(self.right)}
        for k, (righted, wronged) in enumerate(zip(self.righted, self.wronged, strict=True), 1):
            values |= {f'righted_{k}': righted.sum() / total, f'wronged_{k}': wronged.sum() / total}
        return values


def correction_quality(
    answers: Sequence[Tensor], truth: Tensor, num_classes: int
) -> CorrectionQuality:
    """Compares the labels of levels 0..K with the truth.

    Args:
        answers: (N, H, W) int64 labels of every level.
        truth: (N, H, W) int64, IGNORE where unknown.
        num_classes: K.
    """
    truth = truth.flatten()
    own = truth.where(truth != IGNORE, num_classes)

    def by_class(mask: Tensor) -> Tensor:
        counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=truth.device)
        return counts.scatter_add_(0, own, mask.long())[:-1]

    answers = [answer.flatten() for answer in answers]
    right = [answer == truth for answer in answers]
    pairs = list(zip(range(len(answers) - 1), range(1, len(answers)), strict=True))
    none = torch.zeros(0, num_classes, dtype=torch.int64, device=truth.device)

    def stacked(rows: list[Tensor]) -> Tensor:
        return torch.stack(rows) if rows else none

    return CorrectionQuality(
        by_class(torch.ones_like(truth)),
        torch.stack([by_class(r) for r in right]),
        stacked([by_class(~right[a] & right[b]) for a, b in pairs]),
        stacked([by_class(right[a] & ~right[b]) for a, b in pairs]),
        stacked([by_class(answers[a] != answers[b]) for a, b in pairs]),
    )


def describe_quality(
    name: str, quality: CorrectionQuality, classes: Sequence[str] | None = None
) -> str:
    """Text: a line a round, with the classes that it changes most."""
    quality = CorrectionQuality(*(tensor.cpu() for tensor in quality._all()))  # a read each
    names = classes or [str(c) for c in range(len(quality.pixels))]
    total = max(1, int(quality.pixels.sum()))

    def percent(part: Tensor) -> str:
        return f'{100 * int(part.sum()) / total:.2f}'

    lines = [
        f'{name}: {percent(quality.right[0])} % of {total} labelled pixels right before correction'
    ]
    for k, (righted, wronged, changed) in enumerate(
        zip(quality.righted, quality.wronged, quality.changed, strict=True), 1
    ):
        own = ', '.join(
            f'{names[c]} +{int(righted[c])}/-{int(wronged[c])}'
            for c in range(len(names))
            if int(changed[c])
        )
        lines.append(
            f'{name}: round {k}: {percent(quality.right[k])} % right, {percent(changed)} % changed, {percent(righted)} % '
            f'righted, {percent(wronged)} % wronged; pixels by class: {own or "none"}'
        )
    return '\n'.join(lines)
