"""The progress bar of everything that prepares data."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar on the standard error, with a title, these columns and the time that is left."""
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
