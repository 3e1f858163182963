"""What rounds of correction do to labels whose truth is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_semi.labels import IGNORE


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
        """Over all classes, 0-dim float32: accuracy by level; by round the share of all pixels that changed, and of those
        the shares that became right and wrong (0 where none changed)."""
        total = self.pixels.sum().clamp(min=1).float()
        values = {f'accuracy_{k}': row.sum() / total for k, row in enumerate(self.right)}
        rounds = zip(self.changed, self.righted, self.wronged, strict=True)
        for k, (changed, righted, wronged) in enumerate(rounds, 1):
            count = changed.sum()
            values[f'changed_{k}'] = count / total
            values[f'righted_{k}'] = righted.sum() / count.clamp(min=1)
            values[f'wronged_{k}'] = wronged.sum() / count.clamp(min=1)
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
    """Text: a line a round with its accuracy, the share of pixels that it changes, and the shares of those that become
    right and wrong; the same for each class that has pixels."""
    counts = [tensor.reshape(-1, len(quality.pixels)) for tensor in quality._all()]
    pixels, *rest = torch.cat(counts).cpu().split([len(rows) for rows in counts])  # one read
    quality = CorrectionQuality(pixels[0], *rest)
    names = classes or [str(c) for c in range(len(quality.pixels))]
    shown = [c for c, count in enumerate(quality.pixels.tolist()) if count]

    def percent(part: Tensor, whole: Tensor) -> str:
        return f'{100 * int(part.sum()) / max(1, int(whole.sum())):.1f}'

    def by_class(text: Callable[[int], str]) -> str:
        return '; '.join(f'{names[c]} {text(c)}' for c in shown) or 'no labelled pixel'

    pixels, right = quality.pixels, quality.right[0]
    own = by_class(lambda c: percent(right[c], pixels[c]))
    lines = [f'{name}: before correction {percent(right, pixels)} % right ({own})']
    rounds = zip(quality.right[1:], quality.changed, quality.righted, quality.wronged, strict=True)
    for k, (right, changed, righted, wronged) in enumerate(rounds, 1):

        def row(which: slice | int, right=right, changed=changed, righted=righted, wronged=wronged):
            text = f'{percent(right[which], pixels[which])} %, {percent(changed[which], pixels[which])} % changed'
            if int(changed[which].sum()):
                text += (
                    f' ({percent(righted[which], changed[which])} % right, '
                    f'{percent(wronged[which], changed[which])} % wrong)'
                )
            return text

        lines.append(f'{name}: round {k}: {row(slice(None))}; by class: {by_class(row)}')
    return '\n'.join(lines)
