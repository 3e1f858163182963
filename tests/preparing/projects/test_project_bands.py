"""Projects of images with other bands than eight bits of grey or colour."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_semi import cli
from mmseg_semi.data.decoding import decode_bands
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.files import read_header
from mmseg_semi.runtime import configs

RNG_SHAPE = (6, 14, 18)  # images, height, width


def values(bands: int, dtype=np.uint16) -> np.ndarray:
    """(images, H, W, bands), band b between 1,000 b and 1,000 b + 700."""
    rng = np.random.default_rng(0)
    base = 1000 * np.arange(bands)
    return (rng.integers(0, 700, (*RNG_SHAPE, bands)) + base).astype(dtype)


def export(folder: Path, arrays: np.ndarray, save) -> list[str]:
    """Five annotated images and one without a mask; the options of init."""
    for part in ('photos', 'masks'):
        (folder / part).mkdir()
    for i, array in enumerate(arrays):
        save(folder / 'photos', i, array)
        if i:
            mask = np.zeros(RNG_SHAPE[1:], np.uint8)
            mask[2:9, 3:9] = 1
            Image.fromarray(mask).save(folder / f'masks/{i}.png')
    given = ['--images', folder / 'photos', '--masks', folder / 'masks', '--out', folder / 'made']
    return ['init', *map(str, given), '--classes', 'ground=0', 'leaf=1']


def save_tiff(folder: Path, i: int, array: np.ndarray, **options) -> None:
    kind = dict(photometric='minisblack', planarconfig='separate') | options
    tifffile.imwrite(folder / f'{i}.tif', np.moveaxis(array, 2, 0), **kind)


def save_npy(folder: Path, i: int, array: np.ndarray) -> None:
    np.save(folder / f'{i}.npy', array)


def bands_of(folder: Path) -> dict | None:
    return yaml.safe_load((folder / 'made/data.yaml').read_text()).get('bands')


def test_statistics_of_five_bands(tmp_path, capsys):
    """Equal to numpy's over all pixels but those of images that validate; the config takes five channels."""
    arrays = values(5)
    assert cli.main(export(tmp_path, arrays, save_tiff)) == 0
    found = bands_of(tmp_path)
    used = [
        int(path.stem)
        for part in ('images/train', 'unlabeled')
        for path in (tmp_path / 'made' / part).iterdir()
    ]
    pixels = arrays[used].reshape(-1, 5).astype(float)
    low, high = np.percentile(pixels, [0.1, 99.9], axis=0)
    np.testing.assert_allclose(found['low'], low, rtol=1e-5)
    np.testing.assert_allclose(found['high'], high, rtol=1e-5)
    np.testing.assert_allclose(found['std'], np.clip(pixels, low, high).std(0), rtol=1e-5)
    assert found['count'] == 5 and 'colour' not in found
    assert '5 of uint16, none are colours' in ' '.join(capsys.readouterr().out.split())
    cfg = configs.load_config(tmp_path / 'made/config.py')
    assert cfg.model.student.backbone.in_channels == 5
    for part in ('val_dataloader', 'test_dataloader'):
        (first, *_) = DATASETS.build(cfg[part].dataset)
        assert first['inputs'].shape[0] == 5 and first['inputs'].dtype == torch.float32


def test_pillow_resizes_no_bands(tmp_path):
    assert cli.main(export(tmp_path, values(5), save_tiff)) == 0
    path = tmp_path / 'made/config.py'
    old = "dict(type='ResizeAnyImage', scale=(side, side), keep_ratio=True)"
    new = "dict(type='Resize', scale=(side, side), keep_ratio=True, backend='pillow')"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SetupError, match='val_dataloader uses Resize .* use ResizeAnyImage'):
        configs.load_config(path)


def test_colours_that_are_named(tmp_path):
    arrays = values(4)
    arguments = export(tmp_path, arrays, save_tiff)
    assert cli.main([*arguments, '--colour', '2', '1', '0', '--nodata', '-1']) == 0
    found = bands_of(tmp_path)
    assert found['colour'] == [2, 1, 0] and found['nodata'] == -1


def test_a_file_in_colour_of_16_bits(tmp_path):
    def save(folder, i, array):
        save_tiff(folder, i, array, photometric='rgb')

    assert cli.main(export(tmp_path, values(3), save)) == 0
    assert bands_of(tmp_path)['colour'] == [0, 1, 2]


def test_arrays_of_fractions_and_missing_pixels(tmp_path, capsys):
    arrays = values(2, np.float32) / 10
    arrays[:, :3] = np.nan
    assert cli.main(export(tmp_path, arrays, save_npy)) == 0
    found = bands_of(tmp_path)
    assert found['count'] == 2 and 90 < found['low'][1] < found['high'][1] < 171
    assert f'{3 / RNG_SHAPE[1]:.1%} of the pixels have no data' in ' '.join(
        capsys.readouterr().out.split()
    )


def test_photographs_need_no_bands(tmp_path):
    def save(folder, i, array):
        Image.fromarray((array % 256).astype(np.uint8)).save(folder / f'{i}.png')

    for name, count in (('colour', 3), ('alpha', 4)):
        folder = tmp_path / name
        folder.mkdir()
        assert cli.main(export(folder, values(count), save)) == 0
        assert bands_of(folder) is None


def test_one_image_with_other_bands(tmp_path, capsys):
    """One sentence with the image and both numbers; no folder is left, and the draft's name is not told."""
    arguments = export(tmp_path, values(5), save_tiff)
    np.save(tmp_path / 'photos/0.npy', values(3)[0])
    (tmp_path / 'photos/0.tif').unlink()
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and '0.npy has 3 bands, expected 5' in error
    assert 'draft' not in error and sorted(p.name for p in tmp_path.iterdir()) == [
        'masks',
        'photos',
    ]


def test_a_colour_that_is_no_band(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main([*export(tmp_path, values(5), save_tiff), '--colour', '5', '1', '0'])
    assert '--colour and --nodata: bands.colour is [5, 1, 0]' in capsys.readouterr().err
    assert not (tmp_path / 'made').exists()


def test_headers_of_what_pillow_does_not_open(tmp_path):
    array = values(5)[0]
    save_tiff(tmp_path, 0, array)
    save_npy(tmp_path, 1, array)
    for name in ('0.tif', '1.npy'):
        path = tmp_path / name
        assert read_header(path).size == (RNG_SHAPE[2], RNG_SHAPE[1])
        assert decode_bands(path.read_bytes(), name)[0].shape[2] == 5
