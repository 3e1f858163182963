"""Which images enter the running statistics of batch norms."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_semi.errors import SetupError

SEGMENTS = ('labeled', 'mixed', 'weak')
"""Segments of the student's images, see :class:`~mmseg_semi.step.views.StudentViews`."""


def check_running_stats(segments: Sequence[str], forward: str) -> None:
    """Refuse values of ``model.running_stats`` that no step can follow.

    Args:
        segments: The value.
        forward: ``model.forward``.

    Raises:
        SetupError: Unknown segments, none, no labelled ones, or segments that pass the network in one call.
    """
    if isinstance(segments, str) or not set(segments) <= set(SEGMENTS) or 'labeled' not in segments:
        raise SetupError(
            f"model.running_stats={segments!r}: expected a list of {', '.join(SEGMENTS)}, with 'labeled' among them"
        )
    if forward != 'stream':
        raise SetupError(
            f"model.running_stats={list(segments)} needs model.forward='stream': with '{forward}' all images have one "
            'batch statistic'
        )


@contextmanager
def running_stats_kept(network: nn.Module) -> Iterator[None]:
    """Let batch norms normalise by their batch, as in training, without remembering it.

    Args:
        network: Its running means, variances and counts of batches are afterwards what they were. A buffer is not
            copied: the momentum is 0 meanwhile.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm2d(3)
        >>> with running_stats_kept(norm):
        ...     y = norm(5 + torch.randn(2, 3, 4, 4))
        >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
        ([0.0, 0.0, 0.0], 0)
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
