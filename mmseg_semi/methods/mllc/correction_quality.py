"""Measures how many predictions each round of label correction makes right and wrong, where the truth is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmseg_semi.labels import IGNORE


@dataclass
class CorrectionQuality:
    """Numbers of pixels by true class; ``+`` adds two of them.

    Example:
        >>> truth = torch.tensor([[[0, 1, 1]]])
        >>> before, after = torch.tensor([[[0, 0, 0]]]), torch.tensor([[[0, 1, 0]]])
        >>> quality = correction_quality([before, after], truth, num_classes=2)
        >>> quality.right.tolist(), (quality + quality).righted.tolist()
        ([[1, 0], [1, 1]], [[0, 2]])
    """

    pixels: Tensor
    """(K,) int64."""
    right: Tensor
    """(levels, K) int64, rightly predicted pixels: row 0 before correction, row k after round k."""
    righted: Tensor
    """(levels - 1, K) int64, wrong pixels that a round made right."""
    wronged: Tensor
    """(levels - 1, K) int64, right pixels that a round made wrong."""
    changed: Tensor
    """(levels - 1, K) int64, pixels whose prediction a round changed; some from one wrong class to another."""

    def __add__(self, other: 'CorrectionQuality') -> 'CorrectionQuality':
        return CorrectionQuality(
            *(mine + theirs for mine, theirs in zip(self._all(), other._all(), strict=True))
        )

    def _all(self) -> list[Tensor]:
        return [self.pixels, self.right, self.righted, self.wronged, self.changed]

    def values(self) -> dict[str, Tensor]:
        """Metrics for logging over all classes, 0-dim float32.

        Returns:
            ``accuracy_<k>`` by level; by round ``changed_<k>``, the share of all pixels that it changed, and of those
            ``righted_<k>`` and ``wronged_<k>``, the shares that became right and wrong (0 if none changed).
        """
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
    predictions: Sequence[Tensor], truth: Tensor, num_classes: int
) -> CorrectionQuality:
    """Compares the predictions of levels 0..K with the truth.

    Args:
        predictions: (N, H, W) int64 classes, for every level.
        truth: (N, H, W) int64, IGNORE where unknown.
        num_classes: K.

    Example:
        >>> truth = torch.tensor([[[0, 0, 1, 255]]])
        >>> before, after = torch.tensor([[[0, 1, 0, 0]]]), torch.tensor([[[0, 0, 0, 0]]])
        >>> quality = correction_quality([before, after], truth, num_classes=2)
        >>> quality.right.tolist(), quality.righted.tolist()
        ([[1, 0], [2, 0]], [[1, 0]])
    """
    truth = truth.flatten()
    own = truth.where(truth != IGNORE, num_classes)

    def by_class(mask: Tensor) -> Tensor:
        counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=truth.device)
        return counts.scatter_add_(0, own, mask.long())[:-1]

    predictions = [prediction.flatten() for prediction in predictions]
    right = [prediction == truth for prediction in predictions]
    pairs = list(zip(range(len(predictions) - 1), range(1, len(predictions)), strict=True))
    none = torch.zeros(0, num_classes, dtype=torch.int64, device=truth.device)

    def stacked(rows: list[Tensor]) -> Tensor:
        return torch.stack(rows) if rows else none

    return CorrectionQuality(
        by_class(torch.ones_like(truth)),
        torch.stack([by_class(r) for r in right]),
        stacked([by_class(~right[a] & right[b]) for a, b in pairs]),
        stacked([by_class(right[a] & ~right[b]) for a, b in pairs]),
        stacked([by_class(predictions[a] != predictions[b]) for a, b in pairs]),
    )


def describe_quality(
    name: str, quality: CorrectionQuality, classes: Sequence[str] | None = None
) -> str:
    """Describes a quality in one line a round: its accuracy, the share of pixels that it changes, and of those the shares
    that become right and wrong; then the same for each class that has pixels.

    Args:
        name: Begins every line.
        quality: See :func:`correction_quality`.
        classes: Names of the classes; default their numbers.

    Example:
        >>> truth = torch.tensor([[[0, 0, 1, 255]]])
        >>> print(describe_quality('mllc', correction_quality([truth * 0], truth, 2), ['road', 'car']))
        mllc: before correction 66.7 % right (road 100.0; car 0.0)
    """
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


def log_lines(text: str) -> None:
    """Writes a text into the run's log, line by line."""
    for line in text.splitlines():
        print_log(line, 'current')
