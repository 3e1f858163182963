"""What the end of ``mmseg-semi predict`` says."""

import time
from collections import Counter

from mmseg_semi.runtime.prediction.models import names_text
from mmseg_semi.runtime.prediction.outputs import AreaTable, Outputs
from mmseg_semi.runtime.prediction.predictor import Plan


class Report:
    """What the end of a run says.

    Args:
        classes: Names of the classes.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.areas = AreaTable(classes)
        self.ways: Counter[str] = Counter()
        self.failed: list[tuple[str, str]] = []
        self.turned: list[str] = []
        self.images = self.georeferenced = 0
        self.start = time.monotonic()

    def add(self, name: str, outputs: Outputs, plan: Plan, square_metres: float | None) -> None:
        """Count an image."""
        self.images += 1
        self.ways[plan.why] += 1
        self.areas.add(name, outputs.counts, square_metres)

    def lines(self, unit: str = 'images') -> list[str]:
        """The summary."""
        seconds = time.monotonic() - self.start
        pixels = int(self.areas.total.sum())
        lines = [
            f'{self.images} {unit}, {pixels / 1e6:.1f} million pixels, in {seconds:.1f} s '
            f'({seconds / max(1, self.images):.2f} s each)'
        ]
        lines += [f'predicted {why}: {count} {unit}' for why, count in self.ways.items()]
        if self.images:
            lines += self.areas.summary()
        if self.turned:
            lines.append(
                f'{len(self.turned)} photographs are turned by their orientation tag; their masks match the upright '
                f'pictures: {names_text(self.turned)}'
            )
        if self.failed:
            lines.append(f'{len(self.failed)} files could not be read:')
            lines += [f'  {name}: {reason}' for name, reason in self.failed]
        return lines
