"""Contrast of sparse features with the dense centre of their class, for all classes at once."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError


def prototype_contrast(
    anchors: Tensor,
    prototypes: Tensor,
    negatives: Tensor,
    anchor_counts: Tensor,
    negative_counts: Tensor,
    temperature: float = 0.5,
) -> Tensor:
    """InfoNCE of every class's anchors against one prototype and shared negatives (DGCL, CVPR 2023).

    With xi(a) = a / ||a|| and T the temperature::

        l_c = - mean_i [ xi(u_i).xi(m_c) / T - ln( exp(xi(u_i).xi(m_c) / T) + sum_n exp(xi(u_i).xi(u_n) / T) ) ]

    The authors' code adds 1e-6 inside the logarithm.

    Args:
        anchors: (K, A, D), of any length; where a gradient is wanted.
        prototypes: (K, D).
        negatives: (K, N, D).
        anchor_counts: (K,) int64, how many of a class's anchors count, from the front.
        negative_counts: (K,) int64, how many of its negatives do.
        temperature: T > 0.

    Returns:
        (K,) float32; with N negatives about ln(N + 1) for random directions, and an exact 0 with a graph for a class
        without an anchor or without a negative.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, prototypes, negatives = (
            F.normalize(x.float(), dim=-1) for x in (anchors, prototypes, negatives)
        )
        own = (anchors @ prototypes[..., None]) / temperature  # K x A x 1
        other = (anchors @ negatives.transpose(1, 2)) / temperature  # K x A x N
        steps = torch.arange(other.shape[2], device=other.device)
        other = other.masked_fill((steps >= negative_counts[:, None])[:, None], -torch.inf)
        terms = torch.cat([own, other], dim=2).logsumexp(dim=2) - own[..., 0]
        steps = torch.arange(terms.shape[1], device=terms.device)
        terms = terms.where(steps < anchor_counts[:, None], 0.0)
        return terms.sum(dim=1) / anchor_counts.clamp(min=1)


@MODELS.register_module()
class PrototypeContrastLoss(nn.Module):
    """Mean of :func:`prototype_contrast` over the classes that have anchors and negatives.

    Args:
        temperature: T > 0.

    Raises:
        SetupError: The temperature is not positive.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        if not temperature > 0:
            raise SetupError(
                f'PrototypeContrastLoss: temperature={temperature}; expected a number > 0'
            )
        self.temperature = temperature

    def forward(
        self,
        anchors: Tensor,
        prototypes: Tensor,
        negatives: Tensor,
        anchor_counts: Tensor,
        negative_counts: Tensor,
    ) -> Tensor:
        """See the function; an exact 0 with a graph where no class has both."""
        losses = prototype_contrast(
            anchors, prototypes, negatives, anchor_counts, negative_counts, self.temperature
        )
        used = (anchor_counts > 0) & (negative_counts > 0)
        return losses.where(used, 0.0).sum() / used.sum().clamp(min=1)
