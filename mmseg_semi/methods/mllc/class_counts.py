"""A threshold for every class, from the number of pixels that the networks predicted with confidence."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmseg_semi.class_scores import softmax
from mmseg_semi.errors import SetupError


class ClassCountThreshold(nn.Module):
    """Gives a class a lower threshold the fewer confident pixels it has had.

    eta_c = tau sigma_c / (max_c' sigma_c' + 1e-10), where sigma_c is the number of pixels so far whose prediction was class c
    with confidence >= tau. This is MLLC's dynamic threshold (arXiv 2404.02065): FlexMatch's (arXiv 2110.08263) with the
    identity as its map. Before the first confident pixel all thresholds are 0.

    Args:
        num_classes: K.
        tau: Smallest confidence of a pixel that counts, and the largest threshold, in (0, 1].
        eta_min: Smallest threshold, in [0, tau].
        momentum: None adds up all counts (the released code). A number in [0, 1) forgets: sigma <- momentum sigma + new.

    State:
        counts: (K,) int64, sigma over all ranks; float64 with ``momentum``.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> thresholds = ClassCountThreshold(num_classes=2, tau=0.5)
        >>> logits = torch.tensor([[9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]]).view(1, 2, 1, 3)
        >>> thresholds.observe(logits)  # two pixels of class 0, one of class 1
        >>> thresholds.step()
        >>> [round(threshold, 6) for threshold in thresholds().tolist()]
        [0.5, 0.25]
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
        self.resize(num_classes)
        self._new: Tensor | None = None

    def resize(self, num_classes: int) -> None:
        """Starts anew with another number of classes."""
        kind = torch.int64 if self.momentum is None else torch.float64
        self.register_buffer('counts', torch.zeros(num_classes, dtype=kind))

    def forward(self) -> Tensor:
        """(K,) float64, the thresholds of this step."""
        counts = self.counts.double()
        return (self.tau * counts / (counts.max() + 1e-10)).clamp(min=self.eta_min)

    @torch.no_grad()
    def observe(self, logits: Tensor, valid: Tensor | None = None) -> None:
        """Counts confident pixels; :meth:`step` adds them.

        Args:
            logits: (N, K, H, W).
            valid: (N, H, W) bool, the pixels that may count; None: all.
        """
        confidence, classes = softmax(logits.float()).max(dim=1)
        confident = confidence >= self.tau
        if valid is not None:
            confident = confident & valid
        new = torch.zeros(len(self.counts), dtype=torch.int64, device=logits.device)
        new.scatter_add_(0, classes.flatten(), confident.flatten().long())
        self._new = new if self._new is None else self._new + new

    @torch.no_grad()
    def step(self) -> None:
        """Adds what :meth:`observe` counted on all ranks since the last call."""
        if self._new is None:
            return
        new, self._new = self._new, None
        all_reduce(new)
        if self.momentum is not None:
            self.counts.mul_(self.momentum)
        self.counts.add_(new)
