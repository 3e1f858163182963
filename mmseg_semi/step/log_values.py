"""Log values of a step: read in one transfer, and refused if they are not finite."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class NonFiniteLossError(RuntimeError):
    """A loss is inf or NaN; raised before the optimiser, the teacher or a checkpoint is changed."""


def read_values(log_vars: Mapping[str, Tensor]) -> dict[str, float]:
    """0-dim tensors as numbers, in one transfer from the device.

    Example:
        >>> read_values({'loss': torch.tensor(0.5), 'accuracy': torch.tensor(1)})
        {'loss': 0.5, 'accuracy': 1.0}
    """
    values = torch.stack([value.detach().float().reshape(()) for value in log_vars.values()])
    return dict(zip(log_vars, values.tolist(), strict=True))


def check_finite(
    log_values: Mapping[str, float], paths: Sequence[str], total: str = 'loss'
) -> None:
    """Raises NonFiniteLossError if a log value is inf or NaN.

    Args:
        log_values: Numbers by name.
        paths: Image files of the step, for the error.
        total: Name of the sum, which the error leaves out if it can name a summand.

    Example:
        >>> check_finite({'sup.loss': float('nan')}, ['a.png'])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        mmseg_semi.step.log_values.NonFiniteLossError: sup.loss=nan: not finite; nothing was updated. ...
    """
    broken = [name for name, value in log_values.items() if not math.isfinite(value)]
    if broken:
        names = [name for name in broken if name != total] or broken
        raise NonFiniteLossError(
            f'{", ".join(f"{name}={log_values[name]}" for name in names)}: not finite; nothing was updated. '
            'Lower optim_wrapper.optimizer.lr, or check the images of this step: '
            f'{", ".join(paths)}'
        )
