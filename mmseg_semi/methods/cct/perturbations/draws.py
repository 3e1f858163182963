"""One random draw of a feature perturbation for K decoders.

A draw can be applied in two ways, which give the same numbers. ``apply`` perturbs the features.
``project`` computes K 1x1 convolutions of the perturbed features without making those features: it
applies spatial masks after the convolution, folds factors of channels into its weights, and adds a
direction from the row space of its weights in the space of its outputs. In CCT
(https://arxiv.org/abs/2003.09005) this saves K copies of the encoder's output.

The gradient flows through the features. Masks, factors and directions are constants.

Shapes: N images, K decoders, C channels of the features, O outputs of a decoder's first layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def seeded(seed: int, device: torch.device) -> torch.Generator:
    """Return a new generator on a device."""
    return torch.Generator(device).manual_seed(seed)


class Draw(ABC):
    """K perturbations of one map of features z, (N, C, h, w)."""

    @abstractmethod
    def apply(self, z: Tensor, index: int) -> Tensor:
        """Return z as decoder ``index`` sees it, (N, C, h, w)."""

    @abstractmethod
    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        """Compute ``weight[k] @ apply(z, k)`` for every k.

        Args:
            z: (N, C, h, w).
            weight: (K, O, C).

        Returns:
            (N, K, O, h w).
        """


def project(z: Tensor, weight: Tensor) -> Tensor:
    """Apply K 1x1 convolutions to one map of features.

    Args:
        z: (N, C, h, w).
        weight: (K, O, C).

    Returns:
        (N, K, O, h w).

    Example:
        >>> project(torch.rand(2, 8, 5, 7), torch.randn(4, 3, 8)).shape
        torch.Size([2, 4, 3, 35])
    """
    return torch.bmm(each(weight.flatten(0, 1), z), z.flatten(2)).unflatten(1, weight.shape[:2])


def each(matrix: Tensor, images: Tensor) -> Tensor:
    """Repeat a matrix for every image, for a batched product: others would copy the images."""
    return matrix.expand(len(images), -1, -1)


@dataclass
class SpatialMask(Draw):
    """Keep some cells and set the others to 0, without rescaling.

    Args:
        keep: (N, K, h, w) bool, the cells that stay; K may be 1 for all decoders.

    Example:
        >>> z, weight = torch.rand(2, 8, 5, 7), torch.randn(4, 3, 8)
        >>> mask = SpatialMask(torch.rand(2, 4, 5, 7) > 0.5)
        >>> projected = mask.project(z, weight)  # all four decoders
        >>> torch.allclose(projected[:, 1], weight[1] @ mask.apply(z, 1).flatten(2), atol=1e-5)
        True
    """

    keep: Tensor

    def apply(self, z: Tensor, index: int) -> Tensor:
        return z * self.keep[:, index if self.keep.shape[1] > 1 else 0, None]

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        return project(z, weight) * self.keep.flatten(2)[:, :, None]


@dataclass
class ChannelFactor(Draw):
    """Multiply each channel of each image by a factor.

    Args:
        factor: (N, K, C).

    Example:
        >>> z, weight = torch.rand(2, 8, 5, 7), torch.randn(4, 3, 8)
        >>> draw = ChannelFactor(torch.rand(2, 4, 8))
        >>> draw.apply(z, 1).shape, draw.project(z, weight).shape
        (torch.Size([2, 8, 5, 7]), torch.Size([2, 4, 3, 35]))
    """

    factor: Tensor

    def apply(self, z: Tensor, index: int) -> Tensor:
        return z * self.factor[:, index, :, None, None]

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        folded = weight * self.factor[:, :, None].to(weight.dtype)  # (N, K, O, C)
        return (folded.flatten(1, 2) @ z.flatten(2)).unflatten(1, weight.shape[:2])


@dataclass
class ElementFactor(Draw):
    """Multiply each entry of the features by a factor, which is drawn at each use and never stored.

    Args:
        seeds: Seed of each decoder's factor.
        make: Maps z and a generator on z's device to a factor that broadcasts to z.

    Example:
        >>> def keep_half(z, generator):
        ...     return torch.rand(z.shape, generator=generator, device=z.device) > 0.5
        >>> z, draw = torch.ones(2, 8, 5, 7), ElementFactor([1, 2, 3], keep_half)
        >>> draw.apply(z, 0).unique(), torch.equal(draw.apply(z, 0), draw.apply(z, 0))
        (tensor([0., 1.]), True)
    """

    seeds: Sequence[int]
    make: Callable[[Tensor, torch.Generator], Tensor]

    def apply(self, z: Tensor, index: int) -> Tensor:
        with torch.no_grad():
            factor = self.make(z, seeded(self.seeds[index], z.device))
        return z * factor

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        kind, dtype = z.device.type, torch.promote_types(z.dtype, weight.dtype)
        if torch.is_autocast_enabled(kind) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(kind)
        return _FactoredProjection.apply(z, weight, self, dtype)

    def factors(self, z: Tensor) -> Iterator[Tensor]:
        """Draw the factor of each decoder in turn; each broadcasts to (N, C, h w)."""
        for seed in self.seeds:
            yield self.make(z, seeded(seed, z.device)).flatten(2)


class _FactoredProjection(torch.autograd.Function):
    """weight[k] @ (z * factor_k), with one perturbed copy of z at a time.

    The backward pass draws the factors again.
    """

    @staticmethod
    def forward(ctx, z, weight, draw, dtype):
        ctx.save_for_backward(z, weight)
        ctx.draw, ctx.dtype = draw, dtype
        flat = z.flatten(2)
        perturbed = torch.empty_like(flat)
        projected = []
        for layer, factor in zip(weight, draw.factors(z), strict=True):
            torch.mul(flat, factor, out=perturbed)
            projected.append(torch.bmm(each(layer.to(dtype), z), perturbed.to(dtype)))
        return torch.stack(projected, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        z, weight = ctx.saved_tensors
        flat = z.flatten(2)
        perturbed = torch.empty_like(flat)
        of_z, of_weight = torch.zeros_like(flat), torch.empty_like(weight)
        for k, factor in enumerate(ctx.draw.factors(z)):
            torch.mul(flat, factor, out=perturbed)
            own = gradient[:, k].to(ctx.dtype)
            of_weight[k] = (own @ perturbed.to(ctx.dtype).transpose(1, 2)).sum(dim=0)
            of_perturbed = torch.bmm(each(weight[k].to(ctx.dtype).T, z), own)
            of_z.addcmul_(of_perturbed.to(of_z.dtype), factor)
        return of_z.view_as(z), of_weight, None, None


@dataclass
class RowSpaceShift(Draw):
    """Add r_k = weight_k^T response_k, a constant, to the features.

    Args:
        response: (N, K, O, h w), without a graph.
        weight: (K, O, C), first layers of the decoders, without a graph.

    Example:
        >>> z, weight = torch.rand(2, 8, 5, 7), torch.randn(4, 3, 8)
        >>> draw = RowSpaceShift(torch.randn(2, 4, 3, 35), weight)
        >>> draw.shift(1).shape, draw.project(z, weight).shape
        (torch.Size([2, 8, 35]), torch.Size([2, 4, 3, 35]))
    """

    response: Tensor
    weight: Tensor

    def shift(self, index: int) -> Tensor:
        """Return r for decoder ``index``, (N, C, h w)."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.weight[index].T @ self.response[:, index]

    def apply(self, z: Tensor, index: int) -> Tensor:
        return z + self.shift(index).view_as(z)

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        lifted = project(z, weight)
        # in half precision the sum would round away a shift of a few thousandths of z
        with torch.autocast(z.device.type, enabled=False):
            # one of the two weights is a constant: the gradient of the layer is that at z + r
            gram = weight.to(self.weight.dtype) @ self.weight.transpose(1, 2)
            return lifted.to(self.response.dtype) + gram @ self.response
