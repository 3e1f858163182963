"""Of a PNG the part is decoded that a crop shows: its pixels are those of the whole file."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from PIL import Image, PngImagePlugin

from mmseg_semi.data.decoding import png
from mmseg_semi.data.transforms import InitValidMap, LoadImage, RandomScaleCrop, decode_image
from mmseg_semi.errors import SetupError, UnreadableFileError


@pytest.fixture(params=['zlib', 'isal'], autouse=True)
def inflate(request, monkeypatch):
    """Everything holds with zlib and with the optional library."""
    library = zlib
    if request.param == 'isal':
        library = pytest.importorskip('isal.isal_zlib')
    monkeypatch.setattr(png, 'fast_zlib', library)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with noise, which make an encoder take all kinds of filters."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(smooth + rng.integers(-3, 4, smooth.shape), 0, 255).astype(np.uint8)


def encode(img: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(img).save(file, format='PNG', **options)
    return file.getvalue()


def with_chunk(content: bytes, kind: bytes, data: bytes) -> bytes:
    """The file with one more chunk behind its header."""
    chunk = struct.pack('>I', len(data)) + kind + data
    return content[:33] + chunk + struct.pack('>I', zlib.crc32(kind + data)) + content[33:]


def recoded(content: bytes, change) -> bytes:
    """The file with other compressed rows, whose checksum is right."""
    place = content.index(b'IDAT') - 4
    (length,) = struct.unpack_from('>I', content, place)
    data = change(content[place + 8 : place + 8 + length])
    head, tail = content[:place], content[place + 12 + length :]
    chunk = struct.pack('>I', len(data)) + b'IDAT' + data
    return head + chunk + struct.pack('>I', zlib.crc32(b'IDAT' + data)) + tail


def of_filter(img: np.ndarray, strategy: int) -> bytes:
    return cv2.imencode('.png', img, [cv2.IMWRITE_PNG_FILTER, strategy])[1].tobytes()


FILTERS = [
    cv2.IMWRITE_PNG_FILTER_NONE,
    cv2.IMWRITE_PNG_FILTER_SUB,
    cv2.IMWRITE_PNG_FILTER_UP,
    cv2.IMWRITE_PNG_FILTER_AVG,
    cv2.IMWRITE_PNG_FILTER_PAETH,
    cv2.IMWRITE_PNG_ALL_FILTERS,
]


@pytest.mark.parametrize('strategy', FILTERS)
def test_a_corner_is_the_whole_images(strategy):
    img = picture(61, 83)
    content = of_filter(img, strategy)
    opened = png.PlainPNG.of(content)
    assert (opened.height, opened.width) == (61, 83)
    decoded = 0
    for height, width in ((1, 1), (1, 83), (61, 1), (30, 40), (45, 83), (61, 50), (61, 83)):
        corner = opened.corner(height, width)
        if corner is not None:
            decoded += 1
            assert corner.shape == (height, width, 3)
            assert np.array_equal(corner, img[:height, :width])
    assert decoded >= 6  # zlib leaves the whole one to OpenCV


def test_large_files_of_many_chunks():
    img = picture(2500, 3000)
    content = encode(img[..., ::-1], compress_level=1)
    assert content.count(b'IDAT') > 10
    assert np.array_equal(png.PlainPNG.of(content).corner(1900, 2900), img[:1900, :2900])


@pytest.mark.parametrize(
    'content',
    [
        encode(picture(9, 9)[..., 0]),
        encode(np.dstack([picture(9, 9), picture(9, 9, 1)[..., :1]])),
        encode(picture(9, 9), transparency=(1, 2, 3)),
        encode(picture(9, 9), exif=Image.Exif()),
        with_chunk(encode(picture(9, 9)), b'eXIf', b'MM\0*\0\0\0\x08\0\0\0\0\0\0'),
        with_chunk(encode(picture(9, 9)), b'acTL', struct.pack('>II', 1, 0)),
        cv2.imencode('.png', picture(9, 9).astype(np.uint16) * 257)[1].tobytes(),
        cv2.imencode('.jpg', picture(9, 9))[1].tobytes(),
        b'',
        b'\x89PNG\r\n\x1a\n',
    ],
    ids='grey alpha transparent exif turned animated deep jpeg empty cut'.split(),
)
def test_unusual_files_are_left_alone(content):
    opened = png.PlainPNG.of(content)
    if opened is not None:  # an EXIF block without tags may not have been written
        assert b'eXIf' not in content and b'tRNS' not in content
        assert np.array_equal(opened.corner(5, 5), decode_image(content)[:5, :5])


def test_interlaced_files_are_left_alone():
    content = bytearray(encode(picture(9, 9)))
    assert png.PlainPNG.of(bytes(content)) is not None
    content[28] = 1
    content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
    assert png.PlainPNG.of(bytes(content)) is None


def test_descriptions_change_nothing():
    words = PngImagePlugin.PngInfo()
    words.add_text('Software', 'a camera')
    img = picture(40, 40)
    content = encode(img[..., ::-1], pnginfo=words, dpi=(72, 72))
    assert np.array_equal(png.PlainPNG.of(content).corner(20, 20), img[:20, :20])


# ------------------------------------------------------------------------------- in the pipeline


SETTINGS = [
    dict(),
    dict(ratio_range=(0.5, 0.6)),
    dict(ratio_range=(1.0, 1.0)),
    dict(ratio_range=(1.9, 2.0)),
    dict(ratio_range=(1.0, 1.1), crop_size=(60, 70)),
    dict(factor='halves', interpolation='bilinear_plain', padding='centre'),
    dict(base=60, interpolation='bicubic'),
    dict(factor='tenths', ratio_range=(0.5, 1.6)),
]


@pytest.mark.parametrize('setting', SETTINGS)
def test_crops_of_a_deferred_image_are_the_same(tmp_path, setting):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(picture(90, 121)))
    crop = RandomScaleCrop(**{'crop_size': (40, 48), **setting})
    for seed in range(40):
        outs = []
        for defer in (False, True):
            np.random.seed(seed)
            steps = Compose([LoadImage(defer=defer), InitValidMap(), crop])
            outs.append(steps(dict(img_path=str(path), seg_fields=[])))
        one, other = outs
        assert np.array_equal(one.pop('img'), other.pop('img'))
        assert np.array_equal(one.pop('gt_valid_map'), other.pop('gt_valid_map'))
        assert one == other


def test_parts_are_decoded_indeed(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(picture(400, 400)))
    asked = []
    corner = png.PlainPNG.corner
    monkeypatch.setattr(png.PlainPNG, 'corner', lambda *a: asked.append(a[1:]) or corner(*a))
    np.random.seed(0)
    steps = [LoadImage(defer=True), RandomScaleCrop(40, ratio_range=(1.0, 1.0))]
    Compose(steps)(dict(img_path=str(path), seg_fields=[]))
    ((height, width),) = asked
    # the draws: the long side, the top, the left
    np.random.seed(0)
    _, top, left = np.random.randint(400, 401), np.random.randint(361), np.random.randint(361)
    assert top + 40 <= height <= top + 48 and left + 40 <= width <= left + 48


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-40],
        lambda content: content[:2000] + bytes([content[2000] ^ 255]) + content[2001:],
        lambda content: recoded(content, lambda data: data[:500] + bytes(50) + data[550:]),
        lambda content: recoded(content, lambda data: data[: len(data) // 3]),
    ],
)
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / 'a.png'
    path.write_bytes(damage(encode(picture(90, 121))))
    np.random.seed(3)
    steps = [LoadImage(defer=True), RandomScaleCrop(80, ratio_range=(1.0, 1.0))]
    with pytest.raises(UnreadableFileError, match='image .*a.png .* cannot be decoded'):
        Compose(steps)(dict(img_path=str(path), seg_fields=[]))


def test_a_transform_that_needs_pixels_is_refused(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(picture(90, 121)))
    steps = [dict(type='LoadImage', defer=True), dict(type='AdjustGamma')]
    with pytest.raises(SetupError, match=r'LoadImage\(defer=True\) and RandomScaleCrop needs'):
        Compose([TRANSFORMS.build(step) for step in steps])(dict(img_path=str(path)))


def test_the_configs_of_png_files_defer():
    cfg = Config.fromfile('configs/_base_/datasets/cityscapes.py')
    for pipeline in (cfg.labeled_pipeline, cfg.unlabeled_pipeline):
        assert pipeline[0] == dict(type='LoadImage', defer=True)
        assert pipeline[2]['type'] == 'RandomScaleCrop'
