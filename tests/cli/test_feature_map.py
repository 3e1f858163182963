"""tools/analysis/feature_map.py: what it marks is right, and it draws for every method."""

import sys

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from tiny_semi import tiny_data
from torch.nn import functional as F

from mmseg_semi.cli.analysis import feature_map
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.dgcl.knn import knn_density


@pytest.fixture
def tool():
    return feature_map


def two_axes(rows: np.ndarray, seed: int) -> np.ndarray:
    """Stands in for t-SNE."""
    centred = rows - rows.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


def some_pixels(tool, count: int = 3, side: int = 6, seed: int = 0) -> list:
    draw = torch.Generator().manual_seed(seed)
    pixels = []
    for _ in range(count):
        features = torch.randn(side * side, 8, generator=draw).relu()
        truth = torch.randint(0, 3, (side * side,), generator=draw)
        truth[:2] = IGNORE
        classes = torch.randint(0, 3, (side * side,), generator=draw)
        image = np.zeros((24, 24, 3), np.uint8)
        pixels.append(
            tool.Pixels(image, (side, side), features, classes, classes.view(side, side), truth)
        )
    return pixels


def test_density_without_a_model_of_it_is_that_in_the_other_images(tool):
    pixels = some_pixels(tool, count=6)
    name, density = tool.density_of(torch.nn.Module(), pixels)
    assert 'other images' in name
    one = pixels[2]
    found = density(one.features, one.classes, 2)
    for c in range(3):
        others = torch.cat([p.features[p.classes == c] for i, p in enumerate(pixels) if i != 2])
        assert len(others) >= 32
        expected = knn_density(one.features[one.classes == c], F.normalize(others, dim=1))
        assert (found[one.classes == c] - expected).abs().max() < 1e-6


def test_too_few_neighbours_are_no_density(tool):
    pixels = some_pixels(tool, count=2, side=4)
    _, density = tool.density_of(torch.nn.Module(), pixels)
    assert density(pixels[0].features, pixels[0].classes, 0).isnan().all()


def test_sample_marks_the_ends_of_each_class(tool):
    pixels = some_pixels(tool)
    sample = tool.draw_sample(pixels, lambda x, c, i: x.sum(dim=1), points=60, seed=0, share=0.2)
    every = torch.cat([one.features for one in pixels])
    truth = torch.cat([one.truth for one in pixels])
    for row, c in zip(sample.features, sample.classes, strict=True):
        assert ((every == row).all(dim=1) & (truth == c)).any()
    assert sample.centre_classes.tolist() == [0, 1, 2] and sample.moved is None
    for c in range(3):
        own = sample.classes == c
        values = sample.features.sum(dim=1)
        assert own.sum() == 20 and (sample.sparse & own).sum() == (sample.dense & own).sum() == 4
        assert values[sample.sparse & own].max() <= values[own & ~sample.sparse].min()
        assert values[sample.dense & own].min() >= values[own & ~sample.dense].max()
        assert torch.allclose(sample.centres[c], sample.features[sample.dense & own].mean(dim=0))


@pytest.mark.filterwarnings('error:.*looks like a single numeric')
@pytest.mark.parametrize('method', ['supervised', 'ddfp', 'dgcl', 'cct'])
def test_it_draws_for_every_method(tool, method, tmp_path, monkeypatch, capsys):
    cfg = tiny_data(tmp_path, method)
    init_default_scope('mmseg')
    paths = []
    for name in ('early', 'late'):
        model = MODELS.build(cfg.model)
        if method == 'dgcl':
            bank = model.objectives[-1].bank
            rows = torch.randn(11, 12, 16).relu()
            bank.push(rows, torch.randn(11, 12, 8), torch.full((11,), 12))
        paths.append(tmp_path / f'{name}.pth')
        torch.save({'state_dict': model.state_dict(), 'meta': {}}, paths[-1])
    moved = []
    draw_sample = tool.draw_sample

    def keep(*arguments, **options):
        moved.append(draw_sample(*arguments, **options))
        return moved[-1]

    monkeypatch.setattr(tool, 'draw_sample', keep)
    monkeypatch.setattr(tool, 'embed', two_axes)
    out = tmp_path / 'pictures'
    arguments = ['--out', str(out), '--images', '2', '--points', '60']
    tool.main([cfg.filename, *map(str, paths), *arguments])
    said = capsys.readouterr().out
    own = {
        'supervised': 'other images',
        'cct': 'other images',
        'ddfp': "the flow's log-density",
        'dgcl': "similarity to the class's bank",
    }
    assert said.count(own[method]) == 2
    sizes = {path.name: Image.open(path).size for path in out.iterdir()}
    # image, prediction and two densities of two pictures of 48 x 36, at seven times their size
    assert sizes['density.png'][0] >= 4 * 336 and sizes['density.png'][1] >= 2 * 252
    assert sizes['features.png'][0] == round(2 * 6.4 * 120)
    # one move a pixel, of the features of the same pixels
    for sample in moved:
        assert (sample.moved is not None) == (method == 'ddfp')
        if sample.moved is not None:
            assert sample.moved.shape == sample.features.shape
            assert not torch.equal(sample.moved, sample.features)


def test_tsne_is_repeatable_and_named_where_it_is_missing(tool, monkeypatch):
    rows = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    try:
        import sklearn.manifold  # noqa: F401
    except ImportError:
        pass
    else:
        one, other = (tool.embed(rows, seed=3) for _ in range(2))
        assert one.shape == (30, 2) and np.array_equal(one, other)
    monkeypatch.setitem(sys.modules, 'sklearn.manifold', None)
    with pytest.raises(tool.SetupError, match='pip install scikit-learn'):
        tool.embed(rows, seed=0)
