"""A threshold for every class, from how often the networks have been sure of it."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmseg_semi.errors import SetupError


class ClassCountThreshold(nn.Module):
    """eta_c = tau sigma_c / (max_c' sigma_c' + 1e-10), sigma_c = pixels of class c that were seen with confidence >= tau.

    MLLC's dynamic threshold (arXiv 2404.02065): FlexMatch's (arXiv 2110.08263) with the identity as its map. A class that is
    seldom sure has a low threshold. Before the first pixel all thresholds are 0.

    Args:
        num_classes: K.
        tau: Confidence from which on a pixel counts, and the largest threshold, in (0, 1].
        eta_min: Smallest threshold, in [0, tau].
        momentum: None counts for ever (the released code). Else sigma <- momentum sigma + new, in [0, 1), which forgets.

    State:
        counts: (K,) int64, sigma over all ranks; float64 with ``momentum``.

    Raises:
        SetupError: A value out of range.
    """

    def __init__(
        self,
        num_classes: int,
        tau: float = 0.95,
        eta_min: float = 0.0,
        momentum: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 < tau <= 1 or not 0 <= eta_min <= tau:
            raise SetupError(
                f'pseudo_label: tau={tau}, eta_min={eta_min}; expected 0 < tau <= 1 and 0 <= eta_min <= tau'
            )
        if momentum is not None and not 0 <= momentum < 1:
            raise SetupError(
                f'pseudo_label.count_momentum={momentum}: expected None or a number in [0, 1)'
            )
        self.tau, self.eta_min, self.momentum = tau, eta_min, momentum
        kind = torch.int64 if momentum is None else torch.float64
        self.register_buffer('counts', torch.zeros(num_classes, dtype=kind))
        self._new: Tensor | None = None

    def forward(self) -> Tensor:
        """(K,) float64, the thresholds of this step."""
        counts = self.counts.double()
        return (self.tau * counts / (counts.max() + 1e-10)).clamp(min=self.eta_min)

    @torch.no_grad()
    def observe(self, logits: Tensor, valid: Tensor | None = None) -> None:
        """Counts the sure pixels of (N, K, H, W) logits, (N, H, W) ``valid`` ones only; :meth:`step` adds them."""
        confidence, classes = logits.float().softmax(dim=1).max(dim=1)
        sure = confidence >= self.tau
        if valid is not None:
            sure = sure & valid
        new = torch.zeros(len(self.counts), dtype=torch.int64, device=logits.device)
        new.scatter_add_(0, classes.flatten(), sure.flatten().long())
        self._new = new if self._new is None else self._new + new

    @torch.no_grad()
    def step(self) -> None:
        """Adds what was observed on all ranks since the last call."""
        if self._new is None:
            return
        new, self._new = self._new, None
        all_reduce(new)
        if self.momentum is not None:
            self.counts.mul_(self.momentum)
        self.counts.add_(new)
