"""Density of pixel features: a normalizing flow under a mixture of unit Gaussians, one per class.

The density estimator of DDFP: X. Wang et al., "Towards the Uncharted: Density-Descending Feature
Perturbation for Semi-supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2403.06462; behaviour checked against https://github.com/Gavinwxy/DDFP
(7956c72). With z = f(x), the mixture has K components of equal weight and unit covariance::

    log p(x)    = logsumexp_k log N(z; mu_k, I) - log K + log|det df/dx|
    log p(x | y) = log N(z; mu_y, I) + log|det df/dx|
    loss        = - mean over the samples of log p(x | y), or of log p(x) where y is unknown

The authors' code materialises ``z - mu`` as (M, K, C). Here the squares are multiplied out,
``log N(z; mu_k, I) = -C/2 log 2 pi - ||z||^2 / 2 + (z . mu_k - ||mu_k||^2 / 2)``, so one (M, C) x
(C, K) product gives the same numbers from (M, K) memory.

Shapes: M features, C channels, K components (classes).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.ddfp.flow import CouplingFlow
from mmseg_semi.precision import full_precision

UNLABELED = -1
"""Component id of a feature of unknown class: its likelihood is that of the mixture."""

IGNORED = -2
"""Component id of a feature that does not count: it pads a sample to its fixed size."""


class MixtureDensity(nn.Module):
    """Give the log-density of labelled and unlabelled features, and its gradient.

    All values are computed and returned in the module's dtype, inside autocast too. This is float32
    unless the module was moved to float64. Run backward passes outside autocast, as always.

    No parameter requires a gradient outside :meth:`trainable`. So the module can be part of a
    model, and neither the model's optimiser nor DistributedDataParallel's reducer sees it. Fit the
    density inside :meth:`trainable`.

    Args:
        channels: Number of channels C (256), even.
        num_components: Number of Gaussians K, the number of classes.
        hidden_channels: Width of the flow's subnets (256).
        num_blocks: Number of the flow's coupling blocks (2).
        generator: CPU generator of the initial weights and means; None draws from PyTorch's global
            one.

    State:
        flow: The coupling flow's weights, initially N(0, 0.05^2).
        means: (K, C), the components' means in the flow's output space, initially N(0, 1).

    Raises:
        SetupError: If ``channels`` is odd, or if a size is not positive.

    Example:
        >>> density = MixtureDensity(channels=8, num_components=3, hidden_channels=16)
        >>> features, components = torch.randn(5, 8), torch.tensor([0, 2, 1, UNLABELED, UNLABELED])
        >>> with density.trainable():  # an optimiser's step belongs inside, too
        ...     density.nll(features, components).backward()
        >>> density.log_prob(features).shape, density.energy_gradient(features).shape
        (torch.Size([5]), torch.Size([5, 8]))
    """

    def __init__(
        self,
        channels: int,
        num_components: int,
        hidden_channels: int = 256,
        num_blocks: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_components < 1:
            raise SetupError(
                f'the density got num_components={num_components}, expected the number of classes, '
                'at least 1; correct this key.'
            )
        self.channels = channels
        self.num_components = num_components
        self.flow = CouplingFlow(channels, hidden_channels, num_blocks, generator)
        self.means = nn.Parameter(torch.randn(num_components, channels, generator=generator))
        self.requires_grad_(False)

    @contextmanager
    def trainable(self) -> Iterator['MixtureDensity']:
        """Let the parameters collect gradients; forward, backward and optimiser step belong inside.

        On leaving, the parameters are frozen again and their gradients are dropped. Another
        optimiser that lists the same parameters would apply these gradients once more.
        """
        self.requires_grad_(True)
        try:
            yield self
        finally:
            self.requires_grad_(False)
            for parameter in self.parameters():
                parameter.grad = None

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density of features of unknown class.

        Args:
            x: (M, C) of any floating dtype.

        Returns:
            (M,) log p(x) in nats.
        """
        with full_precision(x):
            common, by_component = self._log_joint(x)
            return common + self._mixture(by_component)

    def log_prob_of(self, x: Tensor, components: Tensor) -> Tensor:
        """Compute the log-density of features under the Gaussian of their class.

        The weight 1/K of the component is left out, as in the authors' code.

        Args:
            x: (M, C) of any floating dtype.
            components: (M,) int64 in [0, K).

        Returns:
            (M,) log p(x | y) in nats.
        """
        with full_precision(x):
            common, by_component = self._log_joint(x)
            return common + self._own(by_component, components)

    def nll(self, x: Tensor, components: Tensor) -> Tensor:
        """Compute the mean negative log-likelihood, the loss that fits flow and means.

        Args:
            x: (M, C) of any floating dtype.
            components: (M,) int64: the class in [0, K) of a labelled feature, which enters by
                :meth:`log_prob_of`; :data:`UNLABELED`, which enters by :meth:`log_prob`; or
                :data:`IGNORED`, which does not count.

        Returns:
            Scalar in nats, or in bits per dimension once divided by C ln 2. It is an exact 0 with a
            graph if no feature counts.
        """
        with full_precision(x):
            common, by_component = self._log_joint(x)
            unlabeled, ignored = components == UNLABELED, components == IGNORED
            # Only these two ids are replaced: the gather still fails on any other id out of range.
            own = self._own(by_component, components.masked_fill(unlabeled | ignored, 0))
            log_prob = common + torch.where(unlabeled, self._mixture(by_component), own)
            return -log_prob.masked_fill(ignored, 0).sum() / (~ignored).sum().clamp(min=1)

    def energy_gradient(self, x: Tensor, chunk_size: int | None = None) -> Tensor:
        """Compute the gradient of the *negative* log-density with respect to each feature.

        The gradient points to where the density falls. The statistical literature calls its
        negative the score.

        Args:
            x: (M, C) of any floating dtype.
            chunk_size: Number of features whose graph through the flow is alive at one time.
                Features do not interact, so this bounds memory and changes nothing else. None means
                8192, but 1024 on a CPU, where a layer's output then stays in the cache.

        Returns:
            (M, C) without a graph. No ``.grad`` is touched.
        """
        if chunk_size is None:
            chunk_size = 1024 if x.device.type == 'cpu' else 8192
        gradient = torch.empty(x.shape, dtype=self.means.dtype, device=x.device)
        for start in range(0, len(x), chunk_size):
            rows = slice(start, start + chunk_size)
            # Around the backward pass too: autocast acts on its matrix products like on any other.
            with torch.enable_grad(), full_precision(x):
                chunk = x[rows].detach().to(self.means.dtype).requires_grad_()
                energy = -self.log_prob(chunk).sum()
                (gradient[rows],) = torch.autograd.grad(energy, chunk)
        return gradient

    def _log_joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split log N(z; mu_k, I) + log|det| into what all k share (M,) and the rest (M, K)."""
        z, logdet = self.flow(x)  # M x C, M
        common = logdet - 0.5 * z.square().sum(dim=1) - 0.5 * self.channels * math.log(2 * math.pi)
        by_component = z @ self.means.T - 0.5 * self.means.square().sum(dim=1)  # M x K
        return common, by_component

    def _mixture(self, by_component: Tensor) -> Tensor:
        """(M, K) -> (M,), the mixture's part of log p(x)."""
        return by_component.logsumexp(dim=1) - math.log(self.num_components)

    @staticmethod
    def _own(by_component: Tensor, components: Tensor) -> Tensor:
        """(M, K) and (M,) -> (M,), the class's part of log p(x | y)."""
        return by_component.gather(1, components[:, None]).squeeze(1)
