"""Statistics of bands against NumPy on all pixels, and what is written into the data file."""

import json

import numpy as np
import pytest
import yaml

from mmseg_semi.cli import band_statistics as command
from mmseg_semi.data.bands import Bands
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.preparing.band_statistics import measure_bands, write_bands

TEXT = """\
# of the drone
labeled: {images: photos, masks: masks}
unlabeled: [more]

# four bands
bands: {count: 4, colour: [2, 1, 0],
        nodata: -1}
# and the classes
classes: [a, b]  # two
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    scale, shift = np.array([10, 1, 1000, 5]), np.array([0, 50, -300, 2])
    for place in ('photos', 'masks', 'more'):
        (tmp_path / place).mkdir()
    for i in range(6):
        image = rng.normal(size=(40, 50, 4)) * scale + shift
        image[:4, :, i % 4] = np.nan
        image[4] = -1
        np.save(tmp_path / ('photos' if i < 3 else 'more') / f'i{i}.npy', image.astype(np.float32))
        np.save(tmp_path / 'masks' / f'i{i}.npy', np.zeros((40, 50), np.uint8))
    (tmp_path / 'data.yaml').write_text(TEXT)
    return tmp_path


def known(folder) -> np.ndarray:
    """(pixels, 4) of all images, without the rows that have no data."""
    images = [
        np.load(path)[5:] for path in sorted(folder.glob('*/i*.npy')) if 'masks' not in str(path)
    ]
    return np.concatenate([image.reshape(-1, 4) for image in images]).astype(np.float64)


def test_statistics_of_all_pixels(folder):
    found = measure_bands(OwnData(folder / 'data.yaml'))
    values = known(folder)
    low, high = np.percentile(values, [0.1, 99.9], axis=0)
    inside = values.clip(low, high)
    for key, expected in (
        ('low', low),
        ('high', high),
        ('mean', inside.mean(0)),
        ('std', inside.std(0)),
    ):
        np.testing.assert_allclose(getattr(found.bands, key), expected, rtol=1e-4, atol=1e-3)
    assert found.images == 6 and found.pixels == len(values)
    assert found.missing == pytest.approx(5 / 40)


def test_a_sample_follows_from_the_seed(folder):
    own = OwnData(folder / 'data.yaml')
    one, same, other = (measure_bands(own, images=3, seed=seed).bands for seed in (1, 1, 2))
    assert one == same != other


def test_validation_images_are_not_read(folder):
    (folder / 'val').mkdir()
    (folder / 'val/v.npy').write_bytes(b'no array')
    (folder / 'data.yaml').write_text(TEXT + 'val: {images: val, masks: masks}\n')
    assert measure_bands(OwnData(folder / 'data.yaml')).images == 6


def test_the_other_lines_of_the_file_stay(folder):
    path = folder / 'data.yaml'
    command.main([str(path)])
    text = path.read_text()
    content = yaml.safe_load(text)
    assert {k: v for k, v in content.items() if k != 'bands'} == {
        k: v for k, v in yaml.safe_load(TEXT).items() if k != 'bands'
    }
    for line in TEXT.splitlines():
        assert line in text or 'bands' in line or 'nodata' in line
    assert content['bands']['colour'] == [2, 1, 0] and content['bands']['nodata'] == -1
    assert OwnData(path).bands.mean == tuple(content['bands']['mean'])
    command.main([str(path)])  # again, in place
    assert path.read_text() == text


def test_without_the_key_it_is_added(folder):
    path = folder / 'data.yaml'
    path.write_text('labeled: {images: photos, masks: masks}\nclasses: [a, b]')  # no line end
    command.main([str(path)])
    assert yaml.safe_load(path.read_text())['bands']['count'] == 4
    content = dict(labeled=dict(images='photos', masks='masks'), classes=['a', 'b'])
    (folder / 'data.json').write_text(json.dumps(content))
    write_bands(folder / 'data.json', Bands.of(dict(count=2)))
    assert json.loads((folder / 'data.json').read_text()) == {
        **content,
        'bands': {'count': 2, 'use': [0, 1]},
    }


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (
            lambda image: np.concatenate([image[..., :3], image[..., :1] * 0 + 7], 2),
            r'band 3 holds 7 .*use: \[0, 1, 2\]',
        ),
        (lambda image: image[..., :3], r'has 3 bands, expected 4'),
        (lambda image: image * np.nan, r'all pixels of 6 images are without data'),
    ],
)
def test_what_cannot_be_measured(folder, change, sentence, capsys):
    for path in [*folder.glob('photos/*'), *folder.glob('more/*')]:
        np.save(path, change(np.load(path)))
    with pytest.raises(SystemExit):
        command.main([str(folder / 'data.yaml')])
    import re

    assert re.search(sentence, capsys.readouterr().err)
