"""Normalizing flow: an invertible map of feature vectors with an exact log-determinant.

The flow of DDFP's density estimator: X. Wang et al., "Towards the Uncharted: Density-Descending
Feature Perturbation for Semi-supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2403.06462; behaviour checked against https://github.com/Gavinwxy/DDFP
(7956c72). Its blocks are the affine couplings of GLOW (Kingma and Dhariwal,
https://arxiv.org/abs/1807.03039) with the bounded scale of conditional invertible networks
(Ardizzone et al., https://arxiv.org/abs/1907.02392).

Departs from the authors' code in: the permutations come from private generators, where the code
reseeds NumPy's global generator; maps and log-determinants are never computed in half precision.

Shapes: M feature vectors, C channels, H = C / 2 channels of one half.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.precision import full_precision

SCALE_LIMIT = 2.0
SCALE_SLOPE = 0.636
"""The literal of the authors' code, not 2 / pi: ``|q|`` stays below 1.9981."""

INIT_STD = 0.05
"""Standard deviation of every initial weight and bias."""


def bounded_log_scale(s: Tensor) -> Tensor:
    """Bound the logarithm of a coupling's scale: ``q(s) = 2.0 * 0.636 * arctan(s)``.

    Args:
        s: Unbounded output of a subnet, any shape.

    Returns:
        q(s), of the same shape; ``|q| < 1.9981``.

    Example:
        >>> (bounded_log_scale(100 * torch.randn(5, 4)).abs() < 1.9981).all()
        tensor(True)
    """
    return SCALE_LIMIT * SCALE_SLOPE * torch.arctan(s)


class CouplingBlock(nn.Module):
    """Move each half of the channels by the other half, then permute all channels.

    The weights are uninitialised until :class:`CouplingFlow` draws them. With the input split into
    halves ``(a, c)``::

        (s, t)   = subnet_first(c);    a' = a * exp(q(s))  + t
        (s', t') = subnet_second(a');  c' = c * exp(q(s')) + t'
        out[j]   = [a', c'][permutation[j]];  log|det| = sum q(s) + sum q(s')

    Args:
        channels: Number of channels C, even.
        hidden_channels: Width of the two hidden layers of each subnet.
        permutation: (C,) int64, the order of the channels in the output.

    Example:
        >>> block = CouplingFlow(channels=8, hidden_channels=16).blocks[0]
        >>> x = torch.randn(5, 8)
        >>> out, logdet = block(x)
        >>> torch.allclose(block.inverse(out), x, atol=1e-4)
        True
    """

    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(self, channels: int, hidden_channels: int, permutation: Tensor) -> None:
        super().__init__()
        self.subnet_first = _subnet(channels, hidden_channels)
        self.subnet_second = _subnet(channels, hidden_channels)
        # The permutation follows from the block's index, so a checkpoint need not hold it.
        self.register_buffer('permutation', permutation, persistent=False)
        self.register_buffer('inverse_permutation', permutation.argsort(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map features.

        Args:
            x: (M, C).

        Returns:
            The mapped features (M, C) and log|det| (M,).
        """
        a, c = x.chunk(2, dim=1)  # M x H each
        s, t = self.subnet_first(c).chunk(2, dim=1)  # M x H each
        q_first = bounded_log_scale(s)
        a = a * q_first.exp() + t
        s, t = self.subnet_second(a).chunk(2, dim=1)
        q_second = bounded_log_scale(s)
        c = c * q_second.exp() + t
        out = torch.cat((a, c), dim=1).index_select(1, self.permutation)
        return out, q_first.sum(dim=1) + q_second.sum(dim=1)

    def inverse(self, out: Tensor) -> Tensor:
        """Undo :meth:`forward`: map (M, C) outputs back to (M, C) features."""
        a, c = out.index_select(1, self.inverse_permutation).chunk(2, dim=1)
        s, t = self.subnet_second(a).chunk(2, dim=1)
        c = (c - t) * (-bounded_log_scale(s)).exp()
        s, t = self.subnet_first(c).chunk(2, dim=1)
        a = (a - t) * (-bounded_log_scale(s)).exp()
        return torch.cat((a, c), dim=1)


class CouplingFlow(nn.Module):
    """Map feature vectors x to ``z = f(x)``, invertibly and with an exact log-determinant.

    Every weight and bias starts from N(0, 0.05^2). The permutation of block k is
    ``numpy.random.RandomState(k).permutation(channels)``, the same in every run.

    Args:
        channels: Number of channels C (256); even, because a coupling splits it into equal halves.
        hidden_channels: Width of the two hidden layers of every subnet (256).
        num_blocks: Number of coupling blocks (2); each moves both halves once.
        generator: CPU generator of the initial weights; None draws from PyTorch's global one.

    Raises:
        SetupError: If ``channels`` is odd, or if a size is not positive.

    Example:
        >>> flow = CouplingFlow(channels=8, hidden_channels=16)
        >>> x = torch.randn(5, 8)
        >>> z, logdet = flow(x)
        >>> z.shape, logdet.shape, torch.allclose(flow.inverse(z), x, atol=1e-4)
        (torch.Size([5, 8]), torch.Size([5]), True)
    """

    def __init__(
        self,
        channels: int = 256,
        hidden_channels: int = 256,
        num_blocks: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise SetupError(
                f"the density's flow got channels={channels}, expected an even number of at least "
                '2, because every coupling splits the channels into two equal halves; give the '
                'decode head such a number of penultimate channels.'
            )
        for key, value in (('hidden_channels', hidden_channels), ('num_blocks', num_blocks)):
            if value < 1:
                raise SetupError(
                    f"the density's flow got {key}={value}, expected at least 1; correct this key."
                )
        self.channels = channels
        self.blocks = nn.ModuleList(
            # RandomState is a private generator: the global one of NumPy does not move.
            CouplingBlock(
                channels,
                hidden_channels,
                torch.from_numpy(np.random.RandomState(k).permutation(channels)).long(),
            )
            for k in range(num_blocks)
        )
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight and bias anew from N(0, 0.05^2)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=INIT_STD, generator=generator)

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which the flow computes: that of its parameters."""
        return next(self.parameters()).dtype

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map features to the space of the prior.

        Args:
            x: (M, C) of any floating dtype.

        Returns:
            z (M, C) and log|det df/dx| (M,), both in the flow's dtype, inside autocast too. This is
            float32 unless the module was moved to float64.
        """
        with full_precision(x):
            z = x.to(self.dtype)
            logdet = z.new_zeros(len(z))
            for block in self.blocks:
                z, block_logdet = block(z)
                logdet = logdet + block_logdet
        return z, logdet

    def inverse(self, z: Tensor) -> Tensor:
        """Map (M, C) points of the prior's space back to features (M, C)."""
        with full_precision(z):
            x = z.to(self.dtype)
            for block in reversed(self.blocks):
                x = block.inverse(x)
        return x


def _subnet(channels: int, hidden_channels: int) -> nn.Sequential:
    """Build three linear layers from one half (M, H) to scale and shift of the other (M, 2 H)."""
    sizes = ((channels // 2, hidden_channels), (hidden_channels, hidden_channels))
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [_linear(*size), nn.ReLU()]
    return nn.Sequential(*layers, _linear(hidden_channels, channels))


def _linear(in_features: int, out_features: int) -> nn.Linear:
    """Build a linear layer without PyTorch's initialisation, which would move the global RNG."""
    return nn.utils.skip_init(nn.Linear, in_features, out_features)
