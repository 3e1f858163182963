"""One random draw of a feature perturbation for K decoders, applied in either of two ways that give the same numbers.

``apply`` perturbs the features themselves. ``project`` gives what a 1x1 convolution would make of the perturbed features
without making them, for K convolutions at once: spatial masks are applied behind it, factors of channels are folded into
its weights, a direction that lies in the row space of the weights is added in the space of their outputs. In CCT
(arXiv 2003.09005) this spares K copies of the encoder's output.

The gradient flows through the features; masks, factors and directions are constants.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def seeded(seed: int, device: torch.device) -> torch.Generator:
    """A generator of its own on a device."""
    return torch.Generator(device).manual_seed(seed)


class Draw:
    """K perturbations of one map of features z, (N, C, h, w)."""

    def apply(self, z: Tensor, index: int) -> Tensor:
        """z as decoder ``index`` sees it, (N, C, h, w)."""
        raise NotImplementedError

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        """``weight[k] @ apply(z, k)`` for every k: (K, O, C) weights give (N, K, O, h w)."""
        raise NotImplementedError


def project(z: Tensor, weight: Tensor) -> Tensor:
    """1x1 convolutions (K, O, C) of one map of features (N, C, h, w): (N, K, O, h w)."""
    return (weight.flatten(0, 1) @ z.flatten(2)).unflatten(1, weight.shape[:2])


@dataclass
class SpatialMask(Draw):
    """Cells that are kept; the others become 0, and nothing is rescaled.

    Args:
        keep: (N, K, h, w) bool; K may be 1 for all decoders.
    """

    keep: Tensor

    def apply(self, z: Tensor, index: int) -> Tensor:
        return z * self.keep[:, index if self.keep.shape[1] > 1 else 0, None]

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        return project(z, weight) * self.keep.flatten(2)[:, :, None]


@dataclass
class ChannelFactor(Draw):
    """A factor for each channel of each image.

    Args:
        factor: (N, K, C).
    """

    factor: Tensor

    def apply(self, z: Tensor, index: int) -> Tensor:
        return z * self.factor[:, index, :, None, None]

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        folded = weight * self.factor[:, :, None].to(weight.dtype)  # (N, K, O, C)
        return (folded.flatten(1, 2) @ z.flatten(2)).unflatten(1, weight.shape[:2])


@dataclass
class ElementFactor(Draw):
    """A factor for each entry of the features. It is drawn anew whenever it is asked for, and never stored.

    Args:
        seeds: One a decoder.
        make: (z, generator on z's device) -> factor that broadcasts to z.
    """

    seeds: Sequence[int]
    make: Callable[[Tensor, torch.Generator], Tensor]

    def apply(self, z: Tensor, index: int) -> Tensor:
        with torch.no_grad():
            factor = self.make(z, seeded(self.seeds[index], z.device))
        return z * factor

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        def one(z: Tensor, weight: Tensor, index: int) -> Tensor:
            return weight @ self.apply(z, index).flatten(2)

        # the perturbed copy of z is made again in the backward pass
        rows = [
            checkpoint(one, z, own, index, use_reentrant=False, preserve_rng_state=False)
            for index, own in enumerate(weight)
        ]
        return torch.stack(rows, dim=1)


@dataclass
class RowSpaceShift(Draw):
    """r_k = weight_k^T response_k is added to the features; r is a constant.

    Args:
        response: (N, K, O, h w), without a graph.
        weight: (K, O, C), without a graph.
    """

    response: Tensor
    weight: Tensor

    def shift(self, index: int) -> Tensor:
        """r for decoder ``index``, (N, C, h w)."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.weight[index].T @ self.response[:, index]

    def apply(self, z: Tensor, index: int) -> Tensor:
        return z + self.shift(index).view_as(z)

    def project(self, z: Tensor, weight: Tensor) -> Tensor:
        lifted = project(z, weight)
        # not in half precision: a shift of a few thousandths of z would be lost in the rounding of the sum
        with torch.autocast(z.device.type, enabled=False):
            # weight appears twice, once as a constant: the gradient sees z + r
            gram = weight.to(self.weight.dtype) @ self.weight.transpose(1, 2)
            return lifted.to(self.response.dtype) + gram @ self.response
