"""Images of any number of bands: reading, pixels without data, levels, and the operations on them."""

import io
import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmseg_semi.data.bands import Bands, missing_pixels, picture_of
from mmseg_semi.data.colour import PILColorJitter, PILGrayscale, change_bands
from mmseg_semi.data.colour.images import OPERATIONS
from mmseg_semi.data.decoding import decode_bands, tiff_layout
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.transforms import (
    InitValidMap,
    LoadAnyImage,
    LoadAnyLabels,
    RandomErasing,
    RandomScaleCrop,
    ResizeAnyImage,
    resize_window,
)
from mmseg_semi.errors import SetupError, UnreadableFileError

NODATA = 42113


def tiff(
    array, planar=False, photometric='minisblack', nodata=None, extra=None, **options
) -> bytes:
    """(H, W, bands) as a TIFF file."""
    file = io.BytesIO()
    bands = array.shape[2]
    if bands == 1:
        tifffile.imwrite(file, array[..., 0])
        return file.getvalue()
    if extra is None:
        extra = ['unspecified'] * (bands - (3 if photometric == 'rgb' else 1))
    tifffile.imwrite(
        file,
        np.moveaxis(array, 2, 0) if planar else array,
        planarconfig='separate' if planar else 'contig',
        photometric=photometric,
        extrasamples=extra or None,
        extratags=[] if nodata is None else [(NODATA, 's', 0, nodata, True)],
        **options,
    )
    return file.getvalue()


def pixels(bands: int, dtype, seed=0, shape=(9, 12)) -> np.ndarray:
    return (np.random.default_rng(seed).random((*shape, bands)) * 200 + 1).astype(dtype)


def load(content: bytes, tmp_path, name='i.tif', given=None, **settings) -> dict:
    path = tmp_path / name
    path.write_bytes(content)
    results = dict(img_path=str(path), seg_fields=[], **(given or {}))
    return LoadAnyImage(**settings).transform(results)


def full(bands: int, **changes) -> dict:
    """Statistics with which levels are the values."""
    numbers = dict(low=[0] * bands, high=[255] * bands, mean=[100] * bands, std=[20] * bands)
    return dict(count=bands, **numbers) | changes


# -------------------------------------------------------------------------------------- reading bands


@pytest.mark.parametrize('compression', [None, 'lzw', 'deflate'])
@pytest.mark.parametrize('planar', [False, True], ids=['pixels', 'planes'])
@pytest.mark.parametrize('photometric', ['minisblack', 'rgb'])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
def test_every_layout_gives_all_bands(dtype, photometric, planar, compression):
    for bands in (2, 3, 4, 6):
        if photometric == 'rgb' and bands == 2:
            continue
        array = pixels(bands, dtype)
        content = tiff(array, planar, photometric, compression=compression)
        found, nodata = decode_bands(content, 'i.tif', bands)
        assert found.dtype == array.dtype and np.array_equal(found, array) and nodata is None


def test_other_formats_keep_the_order_of_the_file():
    array = pixels(4, 'uint8')
    for kind, img in (
        ('PNG', Image.fromarray(array)),
        ('PNG', Image.fromarray(array[..., :3])),
        ('TIFF', Image.fromarray(array[..., 0])),
    ):
        file = io.BytesIO()
        img.save(file, kind)
        want = np.asarray(img)
        found = decode_bands(file.getvalue(), 'i')[0]
        assert np.array_equal(found, want if want.ndim == 3 else want[..., None])
    deep = pixels(3, 'uint16')
    content = cv2.imencode('.png', deep[..., ::-1])[1].tobytes()
    assert np.array_equal(decode_bands(content, 'i.png')[0], deep)


def test_arrays_of_numpy():
    array = pixels(5, 'float64')
    for stored, count in (
        (array, 5),
        (np.moveaxis(array, 2, 0), 5),
        (np.moveaxis(array, 2, 0), None),
    ):
        file = io.BytesIO()
        np.save(file, stored)
        assert np.array_equal(decode_bands(file.getvalue(), 'i.npy', count)[0], array)
    file = io.BytesIO()
    np.save(file, np.array([object()]), allow_pickle=True)
    with pytest.raises(UnreadableFileError, match=r'image i\.npy .* cannot be decoded'):
        decode_bands(file.getvalue(), 'i.npy')


def test_pages_of_one_band_each_are_bands():
    array = pixels(3, 'uint16')
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for band in range(3):
            writer.write(array[..., band], photometric='minisblack')
    assert np.array_equal(decode_bands(file.getvalue(), 'i.tif', 3)[0], array)


def test_overviews_are_no_pages():
    array = pixels(4, 'uint16', shape=(32, 32))
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(array, photometric='minisblack', planarconfig='contig')
        writer.write(
            array[::2, ::2], photometric='minisblack', planarconfig='contig', subfiletype=1
        )
    assert tiff_layout(io.BytesIO(file.getvalue())).pages == 1
    assert np.array_equal(decode_bands(file.getvalue(), 'i.tif', 4)[0], array)


def test_without_a_reader_the_sentence_names_the_package(monkeypatch):
    for name in ('tifffile', 'rasterio', 'rasterio.io'):
        monkeypatch.setitem(sys.modules, name, None)
    content = tiff(pixels(6, 'uint16'), planar=True)
    with pytest.raises(
        SetupError, match=r'6 bands of 16 bits, tagged grey, stored one after .*mmseg_semi\[bands\]'
    ):
        decode_bands(content, 'i.tif')


def test_rasterio_reads_what_tifffile_cannot(monkeypatch):
    pytest.importorskip('rasterio')
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    array = pixels(6, 'uint16')
    assert np.array_equal(decode_bands(tiff(array, planar=True), 'i.tif')[0], array)


# ---------------------------------------------------------------- colour images in unusual layouts


@pytest.mark.parametrize(
    ('dtype', 'photometric', 'planar'),
    [
        ('uint16', 'minisblack', False),
        ('uint16', 'minisblack', True),
        ('uint16', 'rgb', False),
        ('uint16', 'rgb', True),
        ('float32', 'rgb', True),
        ('uint8', 'minisblack', False),
        ('uint8', 'rgb', True),
    ],
)
def test_three_bands_are_red_green_and_blue(tmp_path, dtype, photometric, planar):
    array = pixels(3, dtype)
    found = load(tiff(array, planar, photometric), tmp_path, value_range=(0, 255))['img']
    assert np.abs(found[..., ::-1].astype(float) - array).max() <= 0.51


@pytest.mark.parametrize(('dtype', 'photometric'), [('uint16', 'minisblack'), ('uint8', 'rgb')])
def test_a_fourth_band_is_not_dropped_unless_it_is_alpha(tmp_path, dtype, photometric):
    array = pixels(4, dtype)
    with pytest.raises(SetupError, match=r'has 4 bands, .*bands: \{count: 4\}.*use: \[0, 1, 2\]'):
        load(tiff(array, photometric=photometric), tmp_path)
    content = tiff(array, photometric='rgb', extra=['unassalpha'])
    found = load(content, tmp_path, value_range=(0, 255))['img']
    assert np.array_equal(found[..., ::-1], array[..., :3])


def test_six_bands_are_refused_with_their_number(tmp_path):
    with pytest.raises(SetupError, match=r'i\.tif has 6 bands.* expected 1 or 3'):
        load(tiff(pixels(6, 'uint16')), tmp_path)


# ------------------------------------------------------------------------------- pixels without data


def test_missing_pixels_against_the_definition():
    values = np.float32([[[1, 2], [np.nan, 2], [np.inf, 1], [-9, 2], [0, 0]]])
    assert missing_pixels(values, [-9, None]).tolist() == [[False, True, True, True, False]]
    # black and white stand in single bands of valid pixels, too
    values = np.uint8([[[0, 0], [0, 5], [255, 255], [7, 255]]])
    assert missing_pixels(values, [0]).tolist() == [[True, False, False, False]]
    assert missing_pixels(values, [255]).tolist() == [[False, False, True, False]]


def test_missing_pixels_are_ignored_in_both_streams(tmp_path):
    array = pixels(4, 'float32')
    array[2, 3, 1], array[4] = np.nan, -9999
    expected = np.zeros((9, 12), bool)
    expected[2, 3], expected[4] = True, True
    content = tiff(array, planar=True, nodata='-9999')
    results = load(content, tmp_path, bands=full(4))
    # the mean, which the data preprocessor makes 0
    assert np.all(results['img'][expected] == 100)
    assert np.abs(results['img'][~expected] - array[~expected]).max() < 1e-3
    unlabelled = InitValidMap().transform(dict(results))
    assert np.array_equal(unlabelled['gt_valid_map'] == 255, expected)
    assert set(np.unique(unlabelled['gt_valid_map'])) == {0, 255}
    Image.fromarray(np.ones((9, 12), np.uint8)).save(tmp_path / 'm.png')
    own = OwnData(dict(labeled=dict(images='a', masks='b'), classes=['x', 'y']))
    labelled = LoadAnyLabels().transform(
        dict(results, seg_map_path=str(tmp_path / 'm.png'), mask_map=own.mask_map)
    )
    assert np.array_equal(labelled['gt_seg_map'], np.where(expected, 255, 1))


def test_missing_pixels_of_plain_images(tmp_path):
    array = pixels(3, 'uint8')
    array[0, :5] = 0
    results = load(tiff(array, photometric='rgb', nodata='0'), tmp_path)
    assert np.array_equal(results['missing_map'], (array == 0).all(2))
    assert results['img'][0, 0].tolist() == [104, 116, 124]
    grey = pixels(1, 'float32')
    grey[1, 1] = np.nan
    results = load(tiff(grey), tmp_path, value_range=(0, 255))
    assert results['missing_map'].sum() == 1 and results['missing_map'][1, 1]


# --------------------------------------------------------------------------------- the key in the file


def own(bands, **keys) -> OwnData:
    return OwnData(
        dict(labeled=dict(images='a', masks='b'), classes=['x', 'y'], bands=bands, **keys)
    )


def test_levels_of_the_bands_in_use(tmp_path):
    bands = full(
        4, use=[3, 1], colour=None, low=[0, 100], high=[51, 200], mean=[5, 150], std=[1, 10]
    )
    array = np.float64([[[7, 150, 9, 51], [7, 900, 9, 10]]])
    file = io.BytesIO()
    np.save(file, array)
    found = load(file.getvalue(), tmp_path, 'i.npy', bands=bands)['img']
    assert found.dtype == np.float32 and found.tolist() == [[[255, 127.5], [50, 255]]]
    mean, std = Bands.of(bands).level_statistics()
    assert mean == [25, 127.5] and std == [5, 25.5]


def test_colours_are_bands_of_the_file():
    bands = Bands.of(
        full(
            5,
            use=[4, 2, 1, 0],
            colour=[2, 1, 0],
            low=[0] * 4,
            high=[1] * 4,
            mean=[0] * 4,
            std=[1] * 4,
        )
    )
    assert bands.colour == (1, 2, 3) and Bands.of(bands.as_dict()) == bands


@pytest.mark.parametrize(
    ('bands', 'sentence'),
    [
        (dict(), r'bands\.count is None'),
        (dict(count=0), r'bands\.count is 0'),
        (
            dict(count=4, colours=[0, 1, 2]),
            r"'bands' is .*, expected keys among count, use, colour",
        ),
        (dict(count=4, use=[0, 4]), r'bands\.use is \[0, 4\], expected .* from 0 to 3'),
        (dict(count=4, colour=[0, 1]), r'bands\.colour is \[0, 1\], expected the red'),
        (dict(count=4, use=[0, 1], colour=[0, 1, 2]), r'all of them in use \(\[0, 1\]\)'),
        (dict(count=2, low=[0]), r'bands\.low is \[0\], expected 2 numbers'),
        (
            dict(count=1, low=[3], high=[3]),
            r'bands\.high\[0\] is 3\.0, expected a number above low',
        ),
        (dict(count=1, nodata='none'), r"bands\.nodata is 'none', expected one value"),
    ],
)
def test_mistakes_in_the_key(bands, sentence):
    with pytest.raises(SetupError, match=sentence):
        own(bands)


def test_a_range_and_bands_are_two_words_for_one_thing():
    with pytest.raises(SetupError, match=r"has 'value_range' and 'bands'; remove value_range"):
        own(full(2), value_range=[0, 1])


def test_an_image_of_other_bands_is_named(tmp_path):
    with pytest.raises(SetupError, match=r'i\.tif has 6 bands, expected 4 \(bands\.count\)'):
        load(tiff(pixels(6, 'uint16')), tmp_path, bands=full(4))


# ------------------------------------------------------------------------------------------ transforms


def test_resizing_is_that_of_each_band():
    """Pillow's filter on each plane alone is the independent form."""
    img = pixels(5, 'float32', shape=(40, 50))
    for size in ((33, 21), (80, 64)):
        expected = [
            np.asarray(Image.fromarray(img[..., band]).resize(size, Image.Resampling.BILINEAR))
            for band in range(5)
        ]
        found = resize_window(img, size, (0, 0, *size))
        assert found.dtype == np.float32 and np.abs(found - np.stack(expected, 2)).max() < 1e-2
        window = resize_window(img, size, (4, 3, 20, 15))
        assert np.abs(window - np.stack(expected, 2)[3:15, 4:20]).max() < 1e-2


@pytest.mark.parametrize('bands', [1, 2, 4, 7])
def test_crops_of_any_number_of_bands(bands):
    results = dict(img=pixels(bands, 'float32'), seg_fields=['gt_seg_map'])
    results['gt_seg_map'] = np.zeros((9, 12), np.uint8)
    found = RandomScaleCrop(16, ratio_range=(1, 1)).transform(dict(results))
    assert found['img'].shape == (16, 16, bands) and np.array_equal(
        found['img'][:9, :12], results['img']
    )
    assert not found['img'][9:].any() and (found['gt_seg_map'][9:] == 255).all()
    erased = RandomErasing(prob=1.0).transform(dict(found))
    assert erased['img'].shape == (16, 16, bands) and erased['img'].dtype == np.float32
    resized = ResizeAnyImage(scale=(6, 6), keep_ratio=True).transform(dict(img=results['img']))
    assert resized['img'].shape == (4, 6, bands) or resized['img'].shape == (5, 6, bands)


@pytest.mark.parametrize('name', [*OPERATIONS])
def test_colours_change_as_those_of_an_ordinary_image(name):
    """The bands red, green and blue of four are changed as the 8-bit operations change such an image."""
    rgb = np.random.default_rng(0).integers(0, 256, (16, 20, 3)).astype(np.uint8)
    img = np.concatenate([rgb[..., ::-1], rgb[..., :1]], axis=2).astype(np.float32)
    amount = dict(hue=0.2, blur=1.2).get(name, 0.6)
    found = change_bands(img, name, amount, (2, 1, 0))
    expected = OPERATIONS[name](np.ascontiguousarray(rgb[..., ::-1]), amount)
    assert np.abs(found[..., :3] - expected).max() <= (3 if name == 'blur' else 1.51)
    if name in ('saturation', 'hue', 'grayscale'):
        assert np.array_equal(found[..., 3], img[..., 3])
    else:
        assert not np.array_equal(found[..., 3], img[..., 3])


def test_without_colours_only_what_any_band_has_changes():
    img = pixels(6, 'float32')
    for name in ('saturation', 'hue', 'grayscale'):
        assert change_bands(img, name, 0.3, ()) is img
    assert np.allclose(change_bands(img, 'brightness', 0.5, ()), img / 2)
    means = np.rint(img.mean((0, 1)))
    assert np.allclose(change_bands(img, 'contrast', 0.5, ()), means + (img - means) / 2, atol=1e-4)
    assert PILGrayscale(prob=1.0).transform(dict(img=img, colour_bands=()))['img'] is img
    np.random.seed(0)
    changed = PILColorJitter(prob=1.0).transform(dict(img=img, colour_bands=()))['img']
    assert changed.shape == img.shape and changed.min() >= 0 and changed.max() <= 255


def test_pictures_show_the_colours():
    img = pixels(4, 'float32')
    shown = picture_of(dict(img=img, colour_bands=(3, 1, 0)))
    assert np.array_equal(shown[..., ::-1], np.rint(img[..., [3, 1, 0]]))
    assert np.array_equal(picture_of(dict(img=img, colour_bands=()))[..., 2], np.rint(img[..., 0]))
