"""Contrast of anchors with the prototype of their class and with negatives of their own.

The contrastive loss of U2PL (Y. Wang et al., CVPR 2022, https://arxiv.org/abs/2203.03884, Eq. 6;
behaviour checked against https://github.com/Haochen-Wang409/U2PL, ab3d2be). With cosines <., .>, the
anchors z_i of class c, its prototype z+ and N negatives z-_ij of the anchor z_i::

    l_c = - mean_i ln( e^(<z_i, z+> / T) / ( e^(<z_i, z+> / T) + sum_j e^(<z_i, z-_ij> / T) ) )
    L   = mean of l_c over the classes that have anchors, a prototype and negatives

DGCL's contrast (``mmseg_semi.methods.dgcl.prototype_contrast``) has the same form, but all anchors of
a class share their negatives there.
"""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.u2pl.class_queue import ClassQueue


def queue_contrast(
    anchors: Tensor, prototype: Tensor, negatives: Tensor, temperature: float = 0.5
) -> Tensor:
    """Compute InfoNCE between the anchors of one class, its prototype and each anchor's negatives.

    Args:
        anchors: (A, D) of any length; the gradient flows through them alone.
        prototype: (D,) of any length.
        negatives: (A, N, D) of any length.
        temperature: Temperature T > 0 (0.5).

    Returns:
        (A,) float32. Random directions give about ln(N + 1).

    Example:
        >>> queue_contrast(torch.ones(1, 2), torch.ones(2), torch.ones(1, 3, 2))  # ln 4
        tensor([1.3863])
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, prototype, negatives = (
            F.normalize(x.float(), dim=-1)
            for x in (anchors, prototype.detach(), negatives.detach())
        )
        own = anchors @ prototype / temperature
        other = torch.einsum('ad,and->an', anchors, negatives) / temperature
        return torch.cat([own[:, None], other], dim=1).logsumexp(dim=1) - own


@MODELS.register_module()
class QueueContrastLoss(nn.Module):
    """Average :func:`queue_contrast` over classes, with negatives drawn from each class's queue.

    One class is computed at a time, and its negatives are gathered a second time for the gradient,
    so that the step holds those of one class alone: 13 MB for 256 x 50 negatives of 256 channels.

    Args:
        negatives: Negatives N of an anchor (50), drawn with replacement.
        temperature: Temperature T > 0 (0.5).

    Raises:
        SetupError: If a value is out of range.

    Example:
        >>> queue = ClassQueue(3, channels=8, size=40)
        >>> queue.push(torch.randn(3, 30, 8), torch.tensor([30, 30, 0]))
        >>> anchors, counts = torch.randn(3, 20, 8), torch.tensor([20, 5, 9])
        >>> QueueContrastLoss()(anchors, counts, torch.randn(3, 8), queue).shape
        torch.Size([])
    """

    def __init__(self, negatives: int = 50, temperature: float = 0.5) -> None:
        super().__init__()
        if negatives < 1 or not temperature > 0:
            raise SetupError(
                f'QueueContrastLoss: negatives={negatives}, temperature={temperature}; expected at least one negative and '
                'a temperature > 0'
            )
        self.negatives, self.temperature = negatives, temperature

    def forward(
        self,
        anchors: Tensor,
        counts: Tensor,
        prototypes: Tensor,
        queue: ClassQueue,
        used: Tensor | None = None,
    ) -> Tensor:
        """Draw negatives and compute the loss.

        Args:
            anchors: (K, A, D), with a graph.
            counts: (K,) int64, number of a class's anchors that count, from the front.
            prototypes: (K, D).
            queue: Negatives of each class.
            used: (K,) bool, False for classes that are left out; None: all may count.

        Returns:
            Scalar; an exact 0 with a graph if no class has anchors and negatives.
        """
        used = (counts > 0) & (queue.counts > 0) & (True if used is None else used)
        width = anchors.shape[1]
        steps = torch.arange(width, device=anchors.device)
        total = 0.0
        for number in range(len(counts)):
            # an index on the host: classes are few, and nothing is read from the device
            places = queue.places(number, width * self.negatives)
            losses = checkpoint(
                self._class_losses,
                anchors[number],
                prototypes[number],
                queue.rows,
                places,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            mean = losses.where(steps < counts[number], 0.0).sum() / counts[number].clamp(min=1)
            total = total + mean.where(used[number], 0.0)
        return total / used.sum().clamp(min=1)

    def _class_losses(self, anchors: Tensor, prototype: Tensor, rows: Tensor, places: Tensor):
        negatives = rows[places].view(len(anchors), self.negatives, -1)
        return queue_contrast(anchors, prototype, negatives, self.temperature)
