"""Refinement of hard label maps by a fully connected CRF (P. Kraehenbuehl, V. Koltun, NIPS 2011, arXiv 1210.5644).

All refinements have one interface: ``refine(image, labels, num_labels) -> labels``. ``none``
returns the labels unchanged. ``mean_field`` needs torch only, runs on any device, and its memory is
proportional to the pixels. ``pydensecrf`` calls the package of that name, if it is installed.

Mean field: Q = softmax(-u), then for each iteration
Q = softmax(-u + sum_m w_m D_m^-1/2 K_m D_m^-1/2 Q). K_m is the Gaussian kernel of position, or of
position and colour, over all pairs of pixels, and D_m its row sums. The authors' C++ code and
``pydensecrf`` compute the same (symmetric normalisation, a pixel counts as its own neighbour, Potts
compatibility).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.errors import SetupError

from .lattice import PermutohedralLattice


class Refinement(Protocol):
    """Interface of all entries of :data:`REFINEMENTS`."""

    def refine(self, image: np.ndarray, labels: np.ndarray, num_labels: int) -> np.ndarray:
        """Refine hard labels by the image.

        Args:
            image: (H, W, 3) uint8.
            labels: (H, W) integers in [0, num_labels).
            num_labels: Number of labels L.

        Returns:
            np.ndarray: (H, W) int64 in [0, L).
        """


class NoRefinement:
    """Returns the labels unchanged."""

    def refine(self, image: np.ndarray, labels: np.ndarray, num_labels: int) -> np.ndarray:
        """See :class:`Refinement`."""
        return labels.astype(np.int64)


def label_energy(labels: Tensor, num_labels: int, gt_prob: float) -> Tensor:
    """Unary energy of hard labels.

    It is -log(gt_prob) for a pixel's label and -log((1 - gt_prob) / (L - 1)) for every other label.

    Args:
        labels: (P,) int64.
        num_labels: L, at least 2.
        gt_prob: Probability that a label is right, in (0, 1).

    Returns:
        (P, L).
    """
    right = F.one_hot(labels, num_labels).bool()
    p = torch.tensor([gt_prob, (1 - gt_prob) / (num_labels - 1)], dtype=torch.float64).log()
    energy = torch.where(right, -p[0], -p[1])
    return energy.to(torch.float32)


def mean_field(
    energy: Tensor, kernels: Sequence[tuple[float, Callable[[Tensor], Tensor]]], iterations: int
) -> Tensor:
    """Approximate the marginals of a fully connected CRF by mean field.

    Args:
        energy: (P, L) unary energy.
        kernels: Pairs (weight, product with an unnormalised kernel matrix: (P, C) -> (P, C)).
        iterations: Number of updates.

    Returns:
        (P, L) probabilities.
    """
    scaled = [
        (weight, product, (product(torch.ones_like(energy[:, :1])) + 1e-20).rsqrt())
        for weight, product in kernels
    ]
    q = (-energy).softmax(dim=1)
    for _ in range(iterations):
        field = -energy
        for weight, product, norm in scaled:
            field = field + weight * norm * product(norm * q)
        q = field.softmax(dim=1)
    return q


def spatial_kernel(height: int, width: int, sxy: float) -> Callable[[Tensor], Tensor]:
    """Product with exp(-|x - y|^2 / (2 sxy^2)) over an image's pixels.

    It is exact: two one-dimensional kernels without truncation.
    """

    def line(length: int, like: Tensor) -> Tensor:
        place = torch.arange(length, dtype=like.dtype, device=like.device) / sxy
        return torch.exp(-0.5 * (place[:, None] - place).square())

    def product(values: Tensor) -> Tensor:
        maps = values.view(height, width, -1)
        maps = torch.einsum('yh,hwc->ywc', line(height, values), maps)
        return torch.einsum('xw,ywc->yxc', line(width, values), maps).reshape(values.shape)

    return product


def dense_kernel(features: Tensor, chunk: int = 2**22) -> Callable[[Tensor], Tensor]:
    """Product with exp(-|f - g|^2 / 2) over all pairs of rows, some rows at a time.

    Args:
        features: (P, d).
        chunk: Number of matrix entries that are in memory at a time.
    """

    def product(values: Tensor) -> Tensor:
        rows = max(1, chunk // len(features))
        parts = [
            torch.exp(-0.5 * torch.cdist(part, features).square()) @ values
            for part in features.split(rows)
        ]
        return torch.cat(parts)

    return product


class MeanFieldCRF:
    """Refine labels by mean field in torch.

    Args:
        gt_prob: Probability that an input label is right.
        spatial: (sxy, weight) of the kernel of positions, or None.
        bilateral: (sxy, srgb, weight) of the kernel of positions and colours, or None.
        iterations: Number of mean-field updates.
        product: How the bilateral kernel is multiplied: 'lattice', a permutohedral lattice (linear
            in the pixels, an approximation), or 'exact' (quadratic time, bounded memory, too).
        device: Device of the computation; None: the CPU.
    """

    def __init__(
        self,
        gt_prob: float = 0.7,
        spatial: Sequence[float] | None = (3, 3),
        bilateral: Sequence[float] | None = (50, 5, 10),
        iterations: int = 10,
        product: str = 'lattice',
        device: str | torch.device | None = None,
    ) -> None:
        _check(gt_prob, spatial, bilateral, iterations)
        if product not in ('lattice', 'exact'):
            raise SetupError(f"crf.product='{product}': expected 'lattice' or 'exact'")
        self.gt_prob, self.spatial, self.bilateral = gt_prob, spatial, bilateral
        self.iterations, self.product, self.device = iterations, product, device or 'cpu'
        self._last: tuple | None = (
            None  # an image and its kernels: two maps of it follow each other
        )

    @torch.no_grad()
    def refine(self, image: np.ndarray, labels: np.ndarray, num_labels: int) -> np.ndarray:
        """See :class:`Refinement`."""
        if num_labels < 2:
            return labels.astype(np.int64)
        index = torch.from_numpy(labels.astype(np.int64)).to(self.device).flatten()
        if self._last is None or self._last[0] is not image:
            self._last = image, self._kernels(image)
        energy = label_energy(index, num_labels, self.gt_prob)
        q = mean_field(energy, self._last[1], self.iterations)
        return q.argmax(dim=1).view(labels.shape).cpu().numpy()

    def _kernels(self, image: np.ndarray) -> list[tuple[float, Callable[[Tensor], Tensor]]]:
        height, width = image.shape[:2]
        kernels = []
        if self.spatial:
            sxy, weight = self.spatial
            kernels.append((weight, spatial_kernel(height, width, sxy)))
        if self.bilateral:
            sxy, srgb, weight = self.bilateral
            colours = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).float()
            grid = torch.stack(
                torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij'), dim=-1
            ).to(colours)
            features = torch.cat([grid / sxy, colours / srgb], dim=-1).flatten(0, 1)
            if self.product == 'lattice':
                kernels.append((weight, PermutohedralLattice(features).filter))
            else:
                kernels.append((weight, dense_kernel(features)))
        return kernels


class PackageCRF:
    """Refine labels by ``pydensecrf``, an optional package.

    Args:
        gt_prob, spatial, bilateral, iterations: See :class:`MeanFieldCRF`.
        device: Has no effect: the package runs on the CPU.

    Raises:
        SetupError: If the package is not installed.
    """

    def __init__(
        self,
        gt_prob: float = 0.7,
        spatial: Sequence[float] | None = (3, 3),
        bilateral: Sequence[float] | None = (50, 5, 10),
        iterations: int = 10,
        device: str | torch.device | None = None,
    ) -> None:
        _check(gt_prob, spatial, bilateral, iterations)
        try:
            import pydensecrf.densecrf as package
        except ImportError as error:
            raise SetupError(
                "crf='pydensecrf': the package is not installed (pip install pydensecrf needs a C++ compiler); take "
                "crf='mean_field', which needs none"
            ) from error
        self._package = package
        self.gt_prob, self.spatial, self.bilateral = gt_prob, spatial, bilateral
        self.iterations = iterations

    def refine(self, image: np.ndarray, labels: np.ndarray, num_labels: int) -> np.ndarray:
        """See :class:`Refinement`."""
        if num_labels < 2:
            return labels.astype(np.int64)
        height, width = labels.shape
        index = torch.from_numpy(labels.astype(np.int64)).flatten()
        crf = self._package.DenseCRF2D(width, height, num_labels)
        energy = label_energy(index, num_labels, self.gt_prob).T.contiguous().numpy()
        crf.setUnaryEnergy(energy)
        if self.spatial:
            sxy, weight = self.spatial
            crf.addPairwiseGaussian(sxy=sxy, compat=weight)
        if self.bilateral:
            sxy, srgb, weight = self.bilateral
            crf.addPairwiseBilateral(
                sxy=sxy, srgb=srgb, rgbim=np.array(image, np.uint8, order='C'), compat=weight
            )
        q = np.asarray(crf.inference(self.iterations)).reshape(num_labels, height, width)
        return q.argmax(axis=0)


def _check(gt_prob: float, spatial, bilateral, iterations: int) -> None:
    widths = [*(spatial or ())[:1], *(bilateral or ())[:2]]
    lengths = (len(spatial or (0, 0)), len(bilateral or (0, 0, 0)))
    if not 0 < gt_prob < 1 or iterations < 0 or min(widths, default=1) <= 0 or lengths != (2, 3):
        raise SetupError(
            f'crf: gt_prob={gt_prob}, spatial={spatial}, bilateral={bilateral}, iterations={iterations}; expected a '
            'probability, (sxy, weight) and (sxy, srgb, weight) with positive widths, and a number >= 0'
        )


REFINEMENTS: dict[str, Callable[..., Refinement]] = {
    'none': NoRefinement,
    'mean_field': MeanFieldCRF,
    'pydensecrf': PackageCRF,
}


def build_refinement(config: dict | str, device: torch.device | str = 'cpu') -> Refinement:
    """Build a refinement from its name, or from ``dict(type=NAME, ...)``.

    Raises:
        SetupError: If no refinement has this name, or an argument is unknown.
    """
    config = {'type': config} if isinstance(config, str) else dict(config)
    name = config.pop('type', None)
    if name not in REFINEMENTS:
        raise SetupError(f'crf={name!r}: expected one of {tuple(REFINEMENTS)}')
    if name != 'none':
        config['device'] = device
    try:
        return REFINEMENTS[name](**config)
    except TypeError as error:
        raise SetupError(f"crf='{name}': {error}") from error
