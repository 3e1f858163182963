"""Contrast of sparse features with the dense centre of their class, for all classes at once.

The contrastive loss of DGCL: X. Wang et al., "Hunting Sparsity: Density-Guided Contrastive Learning
for Semi-Supervised Semantic Segmentation", CVPR 2023, doi 10.1109/CVPR52729.2023.00304; behaviour
checked against https://github.com/Gavinwxy/DGCL (1f3ea3f). With xi(a) = a / ||a||, the anchors u_i
of class c, its prototype m_c, the negatives u_n and the temperature T::

    e(a) = exp( xi(u_i) . xi(a) / T )
    l_c  = - mean_i ln( e(m_c) / ( e(m_c) + sum_n e(u_n) ) )
    L    = mean of l_c over the classes that have anchors and negatives

Departs from the authors' code in: a class without negatives is skipped, where the code gives it a
loss of about 1e-6; the code adds 1e-6 inside the logarithm.

Shapes: K classes, A anchors and N negatives of a class, D channels of the projections.
"""

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
    """Compute InfoNCE between each class's anchors, one prototype and shared negatives.

    Args:
        anchors: (K, A, D) projections of any length; the gradient flows through them.
        prototypes: (K, D), the centre of each class, of any length.
        negatives: (K, N, D) projections of other classes' pixels, of any length.
        anchor_counts: (K,) int64, number of a class's anchors that count, from the front.
        negative_counts: (K,) int64, number of its negatives that count, from the front.
        temperature: Temperature T > 0 (0.5).

    Returns:
        (K,) float32. Random directions give about ln(N + 1) with N negatives. A class without an
        anchor or without a negative gives an exact 0 with a graph.

    Example:
        >>> anchors, negatives = torch.randn(3, 20, 8), torch.randn(3, 50, 8)
        >>> counts = torch.tensor([20, 5, 0]), torch.tensor([50, 50, 50])
        >>> loss = prototype_contrast(anchors, torch.randn(3, 8), negatives, *counts)
        >>> (loss > 0).tolist()
        [True, True, False]
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
    """Average :func:`prototype_contrast` over the classes that have anchors and negatives.

    Args:
        temperature: Temperature T > 0 (0.5).

    Raises:
        SetupError: If the temperature is not positive.

    Example:
        >>> anchors, negatives = torch.randn(3, 20, 8), torch.randn(3, 50, 8)
        >>> counts = torch.tensor([20, 5, 0]), torch.tensor([50, 50, 50])
        >>> PrototypeContrastLoss()(anchors, torch.randn(3, 8), negatives, *counts).shape
        torch.Size([])
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
        """Take the arguments of :func:`prototype_contrast`.

        Returns:
            Scalar; an exact 0 with a graph if no class has both anchors and negatives.
        """
        losses = prototype_contrast(
            anchors, prototypes, negatives, anchor_counts, negative_counts, self.temperature
        )
        used = (anchor_counts > 0) & (negative_counts > 0)
        return losses.where(used, 0.0).sum() / used.sum().clamp(min=1)
