"""Mean field against a loop over all pairs of pixels in float64; the lattice against the whole kernel matrix."""

import math
import sys
import types

import numpy as np
import pytest
import torch

from mmseg_semi.errors import SetupError
from projects.weak_labels.crf import (
    MeanFieldCRF,
    PackageCRF,
    build_refinement,
    dense_kernel,
    label_energy,
    mean_field,
    spatial_kernel,
)
from projects.weak_labels.lattice import PermutohedralLattice


def scene(height: int = 16, width: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four flat regions with noise; their labels; the labels with a third of them wrong."""
    rows, columns = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    truth = (columns >= width // 2) + 2 * (rows >= height // 2)
    colours = np.array([[40, 60, 90], [140, 50, 80], [60, 150, 100], [180, 180, 30]])
    image = (colours[truth] + rng.integers(0, 8, (height, width, 3))).astype(np.uint8)
    noisy = np.where(rng.random(truth.shape) < 0.35, rng.integers(0, 4, truth.shape), truth)
    return image, truth, noisy


def by_loops(image, labels, num_labels, gt_prob, spatial, bilateral, iterations) -> np.ndarray:
    """Marginals (H W, L) as the paper writes them, one pair of pixels after the other."""
    height, width = labels.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    count = len(pixels)
    kernels = []
    for kind in ('spatial', 'bilateral'):
        matrix = np.zeros((count, count))
        for i, p in enumerate(pixels):
            for j, q in enumerate(pixels):
                place = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
                if kind == 'spatial':
                    matrix[i, j] = math.exp(-place / (2 * spatial[0] ** 2))
                else:
                    colour = sum(
                        (float(a) - float(b)) ** 2 for a, b in zip(image[p], image[q], strict=True)
                    )
                    sxy, srgb, _ = bilateral
                    matrix[i, j] = math.exp(-place / (2 * sxy**2) - colour / (2 * srgb**2))
        row = matrix.sum(axis=1)
        weight = spatial[1] if kind == 'spatial' else bilateral[2]
        kernels.append(weight * matrix / np.sqrt(row[:, None] * row[None, :]))
    energy = np.full((count, num_labels), -math.log((1 - gt_prob) / (num_labels - 1)))
    for i, p in enumerate(pixels):
        energy[i, labels[p]] = -math.log(gt_prob)

    def softmax(x):
        x = np.exp(x - x.max(axis=1, keepdims=True))
        return x / x.sum(axis=1, keepdims=True)

    q = softmax(-energy)
    for _ in range(iterations):
        q = softmax(-energy + sum(kernel @ q for kernel in kernels))
    return q


def test_mean_field_equals_loops_over_all_pairs():
    image, _, noisy = scene(5, 6)
    settings = (0.7, (3, 3), (50, 5, 10), 10)
    expected = by_loops(image, noisy, 4, *settings)
    index = torch.from_numpy(noisy).flatten()
    grid = torch.stack(torch.meshgrid(torch.arange(5), torch.arange(6), indexing='ij'), -1).double()
    features = torch.cat([grid / 50, torch.from_numpy(image).double() / 5], -1).flatten(0, 1)
    kernels = [(3, spatial_kernel(5, 6, 3)), (10, dense_kernel(features))]
    found = mean_field(label_energy(index, 4, 0.7).double(), kernels, 10)
    # the energy is float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    refined = MeanFieldCRF(product='exact').refine(image, noisy, 4)
    assert np.array_equal(refined, expected.argmax(axis=1).reshape(5, 6))
    assert not np.array_equal(refined, noisy)


def test_products_in_parts_equal_the_whole():
    features = torch.rand(50, 5, dtype=torch.float64)
    values = torch.rand(50, 3, dtype=torch.float64)
    whole = torch.exp(-0.5 * torch.cdist(features, features).square()) @ values
    for chunk in (1, 130, 10**6):
        torch.testing.assert_close(dense_kernel(features, chunk)(values), whole)


@pytest.mark.parametrize('spread', [1.0, 0.3])
def test_lattice_is_near_the_kernel(spread):
    """Normalised as mean field uses it: entries of up to 1 differ by some hundredths, the known quality of the lattice."""
    image, _, _ = scene()
    grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(20), indexing='ij'), -1)
    features = (
        torch.cat([grid / 50, torch.from_numpy(image) / 5], -1).flatten(0, 1).double() * spread
    )
    exact = torch.exp(-0.5 * torch.cdist(features, features).square())
    lattice = PermutohedralLattice(features)
    ones = torch.ones(len(features), 1, dtype=torch.float64)
    values = torch.rand(len(features), 4, dtype=torch.float64)

    def normalised(product):
        norm = product(ones).rsqrt()
        return norm * product(norm * values)

    found, expected = normalised(lattice.filter), normalised(lambda v: exact @ v)
    assert (found - expected).abs().mean() < 0.03 * expected.mean()
    assert (found - expected).abs().max() < 0.1 * expected.max()
    # a symmetric matrix, as a kernel must be
    other = torch.rand_like(values)
    torch.testing.assert_close(
        (lattice.filter(values) * other).sum(),
        (values * lattice.filter(other)).sum(),
        rtol=0.02,
        atol=0,
    )
    # barycentric coordinates
    torch.testing.assert_close(lattice.weights.sum(dim=1), ones[:, 0])
    assert lattice.weights.min() > -1e-9 and lattice.weights.max() < 1 + 1e-9


def test_lattice_mean_field_finds_the_regions():
    image, truth, noisy = scene()
    exact = MeanFieldCRF(product='exact').refine(image, noisy, 4)
    found = MeanFieldCRF().refine(image, noisy, 4)
    assert (noisy == truth).mean() < 0.8
    assert (found == exact).mean() > 0.98 and (found == truth).mean() > 0.98


def test_one_crf_for_several_images():
    """What is kept of an image is not used for another one."""
    image, _, noisy = scene()
    other = np.roll(image, 4, axis=1)
    crf = MeanFieldCRF()
    for picture in (image, image, other, image):
        assert np.array_equal(
            crf.refine(picture, noisy, 4), MeanFieldCRF().refine(picture, noisy, 4)
        )
    assert not np.array_equal(crf.refine(other, noisy, 4), crf.refine(image, noisy, 4))


def test_no_refinement_and_one_label():
    image, _, noisy = scene()
    assert np.array_equal(build_refinement('none').refine(image, noisy, 4), noisy)
    nothing = np.zeros_like(noisy)
    for crf in (MeanFieldCRF(), MeanFieldCRF(spatial=None), MeanFieldCRF(bilateral=None)):
        assert np.array_equal(crf.refine(image, nothing, 1), nothing)
    unrefined = MeanFieldCRF(spatial=None, bilateral=None).refine(image, noisy, 4)
    assert np.array_equal(unrefined, noisy)


def test_package_is_called_with_its_arguments(monkeypatch):
    calls = {}

    class DenseCRF2D:
        def __init__(self, width, height, labels):
            self.shape = labels, height * width

        def setUnaryEnergy(self, energy):
            assert energy.shape == self.shape and energy.flags['C_CONTIGUOUS']
            self.energy = energy

        def addPairwiseGaussian(self, **kwargs):
            calls['spatial'] = kwargs

        def addPairwiseBilateral(self, rgbim, **kwargs):
            assert rgbim.dtype == np.uint8 and rgbim.flags['C_CONTIGUOUS']
            calls['bilateral'] = kwargs

        def inference(self, iterations):
            calls['iterations'] = iterations
            return np.exp(-self.energy)

    module = types.ModuleType('pydensecrf.densecrf')
    module.DenseCRF2D = DenseCRF2D
    package = types.ModuleType('pydensecrf')
    package.densecrf = module
    monkeypatch.setitem(sys.modules, 'pydensecrf', package)
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', module)
    image, _, noisy = scene()
    assert np.array_equal(build_refinement('pydensecrf').refine(image, noisy, 4), noisy)
    assert calls == dict(
        spatial=dict(sxy=3, compat=3), bilateral=dict(sxy=50, srgb=5, compat=10), iterations=10
    )


def test_mistakes(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)
    with pytest.raises(SetupError, match='not installed.*mean_field'):
        PackageCRF()
    with pytest.raises(SetupError, match="crf='dense': expected one of"):
        build_refinement('dense')
    with pytest.raises(SetupError, match='sigma'):
        build_refinement(dict(type='mean_field', sigma=3))
    for wrong in (
        dict(gt_prob=1.0),
        dict(spatial=(0, 3)),
        dict(bilateral=(50, 10)),
        dict(product='fast'),
    ):
        with pytest.raises(SetupError, match='crf'):
            MeanFieldCRF(**wrong)
