"""Where the host can read a number without waiting."""

from torch import Tensor

READABLE = ('cpu',)
"""Types of the devices whose numbers are the host's own."""


def can_read(tensor: Tensor) -> bool:
    """Return whether reading a number of this tensor costs no wait for a device.

    Example:
        >>> import torch
        >>> can_read(torch.zeros(1)), can_read(torch.zeros(1, device='meta'))
        (True, False)
    """
    return tensor.device.type in READABLE
