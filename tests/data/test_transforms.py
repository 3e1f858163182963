import io

import cv2
import numpy as np
import pytest
import torch
from miniatures import write_image, write_mask
from mmengine.dataset import pseudo_collate
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

from mmseg_semi.data.transforms import (
    InitValidMap,
    LoadImage,
    LoadSegLabels,
    MultiBranch,
    PackSemiInputs,
    RandomRelativeResize,
    RandomScaleCrop,
    decode_image,
)
from mmseg_semi.errors import SetupError


def random_rgb(height=24, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sample(height=20, width=30, **maps):
    """Results of a loader; the red channel is never black, so black means padding."""
    img = random_rgb(height, width) | np.uint8(1)
    return dict(
        img=img, img_shape=(height, width), ori_shape=(height, width), seg_fields=[], **maps
    )


# ---------------------------------------------------------------------------------------- loading


def test_image_is_read_as_bgr(tmp_path):
    path = write_image(tmp_path / 'a.png', 0)
    results = LoadImage()(dict(img_path=str(path)))
    assert np.array_equal(results['img'][..., ::-1], np.asarray(Image.open(path)))
    assert results['img_shape'] == results['ori_shape'] == (30, 40)
    assert results['img'].flags.c_contiguous


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('kept', [0.0, 0.02, 0.6])
def test_truncated_image_is_named(tmp_path, suffix, kept):
    path = write_image(tmp_path / f'a{suffix}', 0, size=(400, 300))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(SetupError, match=rf'image .*a\{suffix} .* cannot be decoded'):
        LoadImage()(dict(img_path=str(path)))


def test_missing_file_and_text_file_are_named(tmp_path):
    with pytest.raises(SetupError, match='image .*nowhere.jpg does not exist'):
        LoadImage()(dict(img_path=str(tmp_path / 'nowhere.jpg')))
    (tmp_path / 'a.jpg').write_text('not an image')
    with pytest.raises(SetupError, match='a.jpg .* cannot be decoded'):
        LoadImage()(dict(img_path=str(tmp_path / 'a.jpg')))


def load_labels(path, num_classes=3, **info):
    results = dict(seg_map_path=str(path), reduce_zero_label=False, label_map=None, seg_fields=[])
    results.update(info)
    return LoadSegLabels(num_classes=num_classes)(results)['gt_seg_map']


def test_palette_mask_gives_indices(tmp_path):
    labels = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
    img = Image.fromarray(labels)
    img.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    img.save(tmp_path / 'a.png')
    assert Image.open(tmp_path / 'a.png').mode == 'P'
    assert np.array_equal(load_labels(tmp_path / 'a.png'), labels)


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 255, 1: 0, 2: 1, 3: 2}])
def test_labels_are_mapped_as_in_mmseg(tmp_path, reduce_zero_label, label_map):
    labels = np.random.default_rng(0).choice([0, 1, 2, 3, 255], (9, 9)).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / 'a.png')
    info = dict(reduce_zero_label=reduce_zero_label, label_map=label_map)
    theirs = dict(seg_map_path=str(tmp_path / 'a.png'), seg_fields=[], **info)
    expected = LoadAnnotations()(theirs)['gt_seg_map']
    ours = load_labels(tmp_path / 'a.png', num_classes=4, **info)
    assert ours.dtype == np.uint8 and np.array_equal(ours, expected)


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.array([[0, 3, 3]], np.uint8), r'holds the label 3 \(2 pixels\).* has 3 classes'),
        (np.array([[0, 254]], np.uint8), 'holds the label 254'),
        (np.array([[0, 257]], np.uint16), 'holds the label 257'),  # 1 after a cast to 8 bits
        (np.array([[0, 70000]], np.int32), 'holds the label 70000'),
        (np.array([[0, -1]], np.int32), 'holds the label -1'),
        (np.array([[0.5, 1.0]], np.float32), 'holds float32 values'),
        (np.zeros((2, 2, 3), np.uint8), '3 colour channels'),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, message):
    Image.fromarray(labels).save(tmp_path / 'a.tif')
    with pytest.raises(SetupError, match=rf'mask .*a.tif.* {message}'):
        load_labels(tmp_path / 'a.tif')


def test_wide_types_with_valid_labels_are_read(tmp_path):
    labels = np.array([[0, 2, 255]])
    for dtype in (np.uint16, np.int32):
        Image.fromarray(labels.astype(dtype)).save(tmp_path / 'a.tif')
        assert np.array_equal(load_labels(tmp_path / 'a.tif'), labels)


def test_mask_of_another_size_is_refused(tmp_path):
    image, mask = write_image(tmp_path / 'a.png', 0), write_mask(tmp_path / 'b.png', 0, (30, 40))
    results = LoadImage()(dict(img_path=str(image), seg_map_path=str(mask), seg_fields=[]))
    with pytest.raises(
        SetupError, match='b.png is 30 x 40 pixels, but its image .*a.png is 40 x 30'
    ):
        LoadSegLabels(num_classes=3)(results)


def encode(img: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    img.save(file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ('kind', 'mode'),
    [(kind, mode) for kind in ('JPEG', 'PNG') for mode in ('RGB', 'L')]
    + [('JPEG', 'CMYK'), ('PNG', 'P'), ('PNG', 'RGBA')],
)
@pytest.mark.parametrize('orientation', [None, 6])
def test_decoded_pixels_are_pillows(monkeypatch, kind, mode, orientation):
    options = dict(format=kind)
    img = Image.fromarray(random_rgb(31, 45)).resize((90, 62)).convert(mode)
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = dict(options, exif=exif)
    content = encode(img, **options)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert expected.size == ((62, 90) if orientation else (90, 62))
    used = []
    fast = cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda *args: used.append(1) or fast(*args))
    out = decode_image(content)
    assert np.array_equal(out[..., ::-1], np.asarray(expected.convert('RGB')))
    assert bool(used) == (mode == 'RGB')


def test_sixteen_bits_are_left_to_pillow():
    ok, content = cv2.imencode('.png', np.random.default_rng(0).integers(0, 65536, (9, 9, 3), 'u2'))
    expected = np.asarray(Image.open(io.BytesIO(content.tobytes())).convert('RGB'))
    assert ok and np.array_equal(decode_image(content.tobytes())[..., ::-1], expected)


def test_damaged_png_is_refused_though_it_is_whole():
    content = bytearray(encode(Image.fromarray(random_rgb(90, 80)), format='PNG'))
    content[len(content) // 2] ^= 255
    with pytest.raises(Exception, match='(?i)broken|crc|decod|truncated|stream'):
        decode_image(bytes(content))


# --------------------------------------------------------------------------------- weak geometry


def triangle_resize(img, size):
    """Antialiased bilinear resampling from its definition, in float64."""

    def matrix(inputs, outputs):
        scale = inputs / outputs
        support = max(scale, 1.0)
        centers = (np.arange(outputs) + 0.5) * scale
        distance = np.abs(np.arange(inputs) + 0.5 - centers[:, None]) / support
        weights = np.clip(1 - distance, 0, None)
        return weights / weights.sum(1, keepdims=True)

    width, height = size
    rows = np.einsum('ij,jkc->ikc', matrix(img.shape[0], height), img.astype(np.float64))
    return np.einsum('ij,kjc->kic', matrix(img.shape[1], width), rows)


@pytest.mark.parametrize('factor', [0.5, 0.7, 1.0, 1.3, 2.0])
def test_resize_is_antialiased_bilinear_and_nearest(factor):
    # odd sizes: no output pixel's centre falls between two inputs, where nearest is ambiguous
    results = sample(41, 61, gt_seg_map=random_rgb(41, 61, 1)[..., 0])
    results['seg_fields'] = ['gt_seg_map']
    img, labels = results['img'], results['gt_seg_map']
    out = RandomRelativeResize((factor, factor))(dict(results))
    width = int(61 * factor)
    height = int(41 * width / 61 + 0.5)
    assert out['img'].shape == (height, width, 3) and out['img_shape'] == (height, width)
    assert out['scale_factor'] == (width / 61, height / 41)
    difference = np.abs(out['img'] - triangle_resize(img, (width, height)))
    assert difference.max() <= 1.0  # Pillow rounds after each of its two passes
    rows = ((np.arange(height) + 0.5) * 41 / height).astype(int)
    columns = ((np.arange(width) + 0.5) * 61 / width).astype(int)
    assert np.array_equal(out['gt_seg_map'], labels[np.ix_(rows, columns)])


@pytest.mark.parametrize(('height', 'width'), [(7, 5), (5, 7), (7, 7)])
def test_long_side_is_a_uniform_integer_of_the_range(height, width):
    np.random.seed(0)
    resize = RandomRelativeResize((0.5, 2.0))
    shapes = [resize(sample(height, width))['img'].shape[:2] for _ in range(2400)]
    counts = np.bincount([max(shape) for shape in shapes], minlength=15)
    assert counts[:3].sum() == 0 and counts[15:].sum() == 0  # int(3.5) to 14
    assert np.abs(counts[3:15] - 200).max() < 5 * np.sqrt(200)
    for h, w in shapes:
        long_side = max(h, w)
        assert (h >= w) == (height >= width)
        assert min(h, w) == int(long_side * min(height, width) / 7 + 0.5)


def pillow_scale_crop(img, labels, crop, low=0.5, high=2.0):
    """Relative resize, padding and crop as plain Pillow code has them; the draws are NumPy's."""
    img, labels = Image.fromarray(img), Image.fromarray(labels)
    width, height = img.size
    long_side = np.random.randint(int(low * max(img.size)), int(high * max(img.size)) + 1)
    if width >= height:
        size = (long_side, int(height * long_side / width + 0.5))
    else:
        size = (int(width * long_side / height + 0.5), long_side)
    img = img.resize(size, Image.Resampling.BILINEAR)
    labels = labels.resize(size, Image.Resampling.NEAREST)
    border = (0, 0, max(crop[1] - size[0], 0), max(crop[0] - size[1], 0))
    img = ImageOps.expand(img, border, fill=0)
    labels = ImageOps.expand(labels, border, fill=255)
    y = np.random.randint(0, img.height - crop[0] + 1)
    x = np.random.randint(0, img.width - crop[1] + 1)
    box = (x, y, x + crop[1], y + crop[0])
    return np.asarray(img.crop(box)), np.asarray(labels.crop(box))


@pytest.mark.parametrize('shape', [(75, 101), (101, 75), (41, 41)])
@pytest.mark.parametrize('crop', [(63, 63), (48, 90), (300, 300)])
def test_scale_crop_equals_whole_resize_padding_and_crop(shape, crop):
    img, labels = random_rgb(*shape), random_rgb(*shape, seed=1)[..., 0]
    transform = RandomScaleCrop(crop)
    for seed in range(25):
        np.random.seed(seed)
        expected, expected_labels = pillow_scale_crop(img, labels, crop)
        np.random.seed(seed)
        results = transform(dict(img=img, labels=labels, seg_fields=['labels']))
        assert results['img'].shape == (*crop, 3) and results['img_shape'] == crop
        assert results['img'].flags.c_contiguous
        difference = np.abs(results['img'].astype(int) - expected)
        assert difference.max() <= 1 and difference.mean() < 0.4
        # where a centre falls between two pixels, Pillow's sums of floats choose either
        assert (results['labels'] != expected_labels).mean() < 0.03
        assert np.array_equal(results['labels'] == 255, expected_labels == 255) or 255 in labels


def test_scale_crop_draws_what_the_single_steps_draw():
    """The three transforms that it replaces, in the shipped order, from the same stream."""
    crop = (40, 40)
    steps = [
        TRANSFORMS.build(step)
        for step in (
            dict(type='RandomRelativeResize', ratio_range=(0.5, 2.0)),
            dict(type='PadAllMaps', size=crop[::-1], pad_val=dict(img=0, seg=255)),
            dict(type='RandomCrop', crop_size=crop),
        )
    ]
    for seed in range(20):
        whole = InitValidMap()(sample(37, 53))
        parts = dict(whole, seg_fields=['gt_valid_map'])
        np.random.seed(seed)
        for step in steps:
            parts = step(parts)
        np.random.seed(seed)
        whole = RandomScaleCrop(crop)(whole)
        assert np.abs(whole['img'].astype(int) - parts['img']).max() <= 1
        assert np.array_equal(whole['gt_valid_map'], parts['gt_valid_map'])
        assert whole['scale'] == parts['scale'] and whole['img_shape'] == parts['img_shape']


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear_plain'])
def test_scale_crop_with_other_interpolations(interpolation):
    img = random_rgb(61, 83)
    transform = RandomScaleCrop(30, ratio_range=(0.3, 1.5), interpolation=interpolation)
    for seed in range(20):
        np.random.seed(seed)
        results = transform(dict(img=img))
        np.random.seed(seed)
        np.random.randint(int(0.3 * 83), int(1.5 * 83) + 1)
        width, height = results['scale']
        top = np.random.randint(0, max(height - 30, 0) + 1)
        left = np.random.randint(0, max(width - 30, 0) + 1)
        if interpolation == 'bicubic':
            whole = Image.fromarray(img).resize((width, height), Image.Resampling.BICUBIC)
            whole = np.asarray(whole).astype(float)
        else:
            whole = torch.nn.functional.interpolate(
                torch.from_numpy(img).permute(2, 0, 1)[None].double(),
                size=(height, width),
                mode='bilinear',
                align_corners=False,
            )[0].permute(1, 2, 0)
            whole = whole.numpy()
        expected = whole[top : top + 30, left : left + 30]
        found = results['img'][: expected.shape[0], : expected.shape[1]]
        assert np.abs(found - expected).max() <= 1.01


def test_laws_of_the_factor():
    np.random.seed(0)

    def widths(count=1000, **kwargs):
        transform = RandomScaleCrop(8, **kwargs)
        return np.array([transform._draw_size(100, 60) for _ in range(count)])

    halves = widths(factor='halves')
    # half of the draws shrink; the 50 lengths below 100 are five times as likely as the 100 above
    assert abs((halves[:, 0] < 100).mean() - 0.5) < 0.08
    assert halves[:, 0].min() == 50 and 190 < halves[:, 0].max() < 200
    tenths = widths(factor='tenths', ratio_range=(0.5, 1.6))
    assert set(tenths[:, 0]) == set(range(50, 161, 10))
    assert {tuple(size) for size in tenths} == {(w, w * 6 // 10) for w in range(50, 161, 10)}
    base = widths(base=40)
    assert base[:, 0].min() == 20 and base[:, 0].max() == 80
    assert all(h == int(w * 0.6 + 0.5) for w, h in base)


def test_padding_on_both_sides_with_a_colour():
    transform = RandomScaleCrop(
        (9, 12), (1.0, 1.0), padding='centre', pad_val=dict(img=(104, 116, 124), seg=254)
    )
    img, labels = random_rgb(4, 7), np.zeros((4, 7), np.uint8)
    results = transform(dict(img=img, labels=labels, seg_fields=['labels']))
    assert np.array_equal(results['img'][2:6, 2:9], img)
    assert not results['labels'][2:6, 2:9].any() and (results['labels'] == 254).sum() == 108 - 28
    assert (results['img'][results['labels'] == 254] == (104, 116, 124)).all()


def test_labels_and_validity_follow_the_image_through_padding_crop_and_flip():
    np.random.seed(0)
    steps = [
        TRANSFORMS.build(step)
        for step in (
            dict(type='InitValidMap'),
            dict(type='PadAllMaps', size=(24, 24), pad_val=dict(img=0, seg=255)),
            dict(type='RandomCrop', crop_size=(24, 24)),
            dict(type='RandomFlip', prob=0.5),
        )
    ]
    flips = crops = 0
    for height, width in [(20, 30), (30, 20), (10, 11), (24, 24)] * 8:
        results = sample(height, width)
        results['gt_seg_map'] = results['img'][..., 0] % 200
        results['seg_fields'] = ['gt_seg_map']
        original = results['img']
        for step in steps:
            results = step(results)
        img, labels, valid = (results[k] for k in ('img', 'gt_seg_map', 'gt_valid_map'))
        assert img.shape == (24, 24, 3) and labels.shape == valid.shape == (24, 24)
        padded = (img == 0).all(-1)
        assert np.array_equal(valid, np.where(padded, 255, 0))
        assert np.array_equal(labels, np.where(padded, 255, img[..., 0] % 200))
        assert (~padded).sum() == min(height, 24) * min(width, 24)
        if results['flip']:
            flips += 1
            img, padded = img[:, ::-1], padded[:, ::-1]
        # padding lies on the right and at the bottom
        assert not padded[: min(height, 24), : min(width, 24)].any()
        crops += not np.array_equal(img[~padded], original[:24, :24].reshape(-1, 3))
    assert 4 < flips < 28 and crops > 8


@pytest.mark.parametrize(
    ('cls', 'kwargs', 'message'),
    [
        (RandomRelativeResize, dict(ratio_range=(2.0, 0.5)), r'ratio_range=\(2.0, 0.5\)'),
        (RandomRelativeResize, dict(ratio_range=(0, 1)), 'expected 0 < low'),
        (RandomScaleCrop, dict(crop_size=9, ratio_range=(2, 1)), r'ratio_range=\(2, 1\)'),
        (RandomScaleCrop, dict(crop_size=(9, 0)), r'crop_size=\(9, 0\), expected'),
        (RandomScaleCrop, dict(crop_size=9, factor='any'), "factor='any', expected one of"),
        (RandomScaleCrop, dict(crop_size=9, padding='left'), "padding='left'"),
        (RandomScaleCrop, dict(crop_size=9, interpolation='nearest'), "interpolation='nearest'"),
        (RandomScaleCrop, dict(crop_size=9, base=400, factor='halves'), 'base=400 with'),
        (MultiBranch, dict(branch_field=['weak'], strong=[]), r"pipelines for \['strong'\]"),
        (MultiBranch, dict(branch_field=['weak']), 'expected one or more'),
    ],
)
def test_settings_that_cannot_be_are_refused(cls, kwargs, message):
    with pytest.raises(SetupError, match=message):
        cls(**kwargs)


# ------------------------------------------------------------------------------ views and packing

VIEWS = ['labeled', 'weak', 'strong']


def two_views(*colour):
    pack = dict(type='PackSemiInputs')
    return MultiBranch(branch_field=VIEWS, weak=[pack], strong=[*colour, pack])


def luma(bgr):
    return bgr[..., ::-1].astype(np.float64) @ [0.299, 0.587, 0.114]


def test_views_share_geometry_and_differ_in_colour_alone():
    np.random.seed(0)
    results = InitValidMap()(sample(20, 30))
    results['gt_valid_map'][:, 25:] = 255
    out = two_views(dict(type='PILGrayscale', prob=1.0))(results)
    weak, strong = out['inputs']['weak'], out['inputs']['strong']
    assert weak.dtype == torch.uint8 and weak.shape == (3, 20, 30)
    assert np.array_equal(weak.numpy().transpose(1, 2, 0), results['img'])
    assert np.abs(strong.numpy() - luma(results['img'])).max() <= 1
    for view in ('weak', 'strong'):
        valid = out['data_samples'][view].valid_map.data
        assert valid.dtype == torch.bool and valid.shape == (1, 20, 30)
        assert valid[..., :25].all() and not valid[..., 25:].any()
    assert out['inputs']['labeled'] is None and out['data_samples']['labeled'] is None


def test_without_colour_the_views_are_equal():
    out = two_views(dict(type='PILColorJitter', prob=0.0), dict(type='PILGaussianBlur', prob=0.0))(
        InitValidMap()(sample())
    )
    assert torch.equal(out['inputs']['weak'], out['inputs']['strong'])


def test_branches_do_not_write_into_each_other():
    """Whatever a transform from elsewhere does to its array."""

    @TRANSFORMS.register_module(force=True)
    class _Blackens:
        def __call__(self, results):
            results['img'][:] = 0
            return results

    try:
        results = InitValidMap()(sample())
        pack = dict(type='PackSemiInputs')
        branch = MultiBranch(VIEWS, strong=[dict(type='_Blackens'), pack], weak=[pack])
        out = branch(results)
    finally:
        TRANSFORMS.module_dict.pop('_Blackens')
    assert not out['inputs']['strong'].any()
    assert np.array_equal(out['inputs']['weak'].permute(1, 2, 0), results['img'])


def test_labelled_sample_needs_no_valid_map():
    results = sample(gt_seg_map=np.zeros((20, 30), np.uint8))
    packed = PackSemiInputs()(results)
    assert 'valid_map' not in packed['data_samples']
    assert packed['data_samples'].gt_sem_seg.data.shape == (1, 20, 30)


def test_batch_lists_every_view_of_every_sample():
    labeled = MultiBranch(branch_field=VIEWS, labeled=[dict(type='PackSemiInputs')])
    batch = pseudo_collate([labeled(sample()), two_views()(sample()), two_views()(sample())])
    assert list(batch) == ['inputs', 'data_samples']
    for part in batch.values():
        assert list(part) == VIEWS
        assert [x is None for x in part['labeled']] == [False, True, True]
        assert [x is None for x in part['weak']] == [True, False, False]
        assert [x is None for x in part['strong']] == [True, False, False]
