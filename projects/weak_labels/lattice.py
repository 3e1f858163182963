"""Gaussian filtering in a few dimensions on the permutohedral lattice (A. Adams, J. Baek, A. Davis, Eurographics 2010).

Values at points of R^d are spread to the corners of the lattice simplex around each point, blurred
along the lattice's d + 1 axes, and read back. Time and memory are linear in the number of points.
The
implementation needs torch only: corners are found by sorting their numbers, without a hash table.
"""

import torch
from torch import Tensor


class PermutohedralLattice:
    """Multiply by an approximation of K_ij = exp(-|f_i - f_j|^2 / 2), up to a common factor.

    Args:
        features: (P, d) float; distances are in standard deviations.
    """

    def __init__(self, features: Tensor) -> None:
        features = features.detach()
        count, d = features.shape
        device = features.device
        axes = torch.arange(d + 1, device=device)
        # position in the plane sum = 0 of R^(d+1), scaled so that the blur's deviation is one
        scale = (d + 1) * (2 / 3) ** 0.5 / ((axes[:d] + 1.0) * (axes[:d] + 2)).sqrt()
        scaled = features * scale.to(features)
        tail = scaled.flip(1).cumsum(1).flip(1)  # sum over i >= j
        tail = torch.cat([tail, tail.new_zeros(count, 1)], dim=1)
        elevated = tail.clone()
        elevated[:, 1:] -= axes[1:] * scaled
        # the nearest lattice point with remainder 0, and how the axes are ranked inside its simplex
        low = (elevated / (d + 1)).floor() * (d + 1)
        nearest = torch.where(elevated - low < low + (d + 1) - elevated, low, low + (d + 1))
        excess = (nearest.sum(1) / (d + 1)).round().long()
        order = (elevated - nearest).sort(dim=1, descending=True, stable=True).indices
        rank = torch.empty_like(order).scatter_(1, order, axes.expand_as(order))
        rank = rank + excess[:, None]
        wrap = (rank < 0).long() - (rank > d).long()
        rank = rank + wrap * (d + 1)
        nearest = nearest + wrap * (d + 1)
        # barycentric coordinates
        delta = (elevated - nearest) / (d + 1)
        weights = delta.new_zeros(count, d + 2)
        weights.scatter_add_(1, d - rank, delta)
        weights.scatter_add_(1, d + 1 - rank, -delta)
        weights[:, 0] += 1 + weights[:, d + 1]
        self.weights = weights[:, : d + 1]
        # corners: remainder k adds k, or k - (d + 1) where the rank is larger than d - k
        remainder = axes[None, :, None]
        corner = nearest.long()[:, None] + remainder
        corner = corner - (d + 1) * (rank[:, None] > d - remainder).long()
        keys, self._radix, self._lowest = _pack(corner[..., :d].reshape(-1, d), d + 1)
        points, index = keys.unique(return_inverse=True)
        self.index = index.view(count, d + 1)
        self.size = len(points)
        # neighbours of every point along every axis; points that do not exist are number ``size``, which stays 0
        step = self._radix.sum()
        self.neighbours = []
        for axis in range(d + 1):
            shift = -step + ((d + 1) * self._radix[axis] if axis < d else 0)
            self.neighbours.append((self._find(points, shift), self._find(points, -shift)))

    def _find(self, points: Tensor, shift: Tensor) -> Tensor:
        wanted = points + shift
        place = torch.searchsorted(points, wanted).clamp(max=len(points) - 1)
        return torch.where(points[place] == wanted, place, self.size)

    def filter(self, values: Tensor) -> Tensor:
        """Compute K @ values, up to a factor.

        Args:
            values: (P, C).

        Returns:
            (P, C).
        """
        corners = self.weights.shape[1]
        table = values.new_zeros(self.size + 1, values.shape[1])
        for k in range(corners):
            table.index_add_(0, self.index[:, k], self.weights[:, k, None].to(values) * values)
        for before, behind in self.neighbours:
            blurred = table[:-1] + 0.5 * (table[before] + table[behind])
            table = torch.cat([blurred, table.new_zeros(1, values.shape[1])])
        return sum(
            self.weights[:, k, None].to(values) * table[self.index[:, k]] for k in range(corners)
        )


def _pack(corners: Tensor, margin: int) -> tuple[Tensor, Tensor, Tensor]:
    """Encode each row of integers as one integer, with room for ``margin`` steps outwards.

    Raises:
        ValueError: If the rows spread too far for 63 bits.
    """
    lowest = corners.amin(dim=0) - margin
    extent = corners.amax(dim=0) + margin + 1 - lowest
    if extent.double().log2().sum() > 62:
        raise ValueError('the features of the bilateral kernel spread too far: raise sxy or srgb')
    radix = torch.cat([extent.new_ones(1), extent.cumprod(0)[:-1]])
    return ((corners - lowest) * radix).sum(dim=1), radix, lowest
