import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from miniatures import write_image
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_semi.data import checks, splits
from mmseg_semi.data.mask_map import MaskMap, UnmappedValues
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.transforms import LoadAnyImage
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import inspection

RNG = np.random.default_rng(0)


def save(path: Path, array: np.ndarray, **options) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return str(path)


# ------------------------------------------------------------------------------------ values of masks


def test_indices_are_the_default(tmp_path):
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    found = MaskMap(['a', 'b', 'c']).read(save(tmp_path / 'm.png', labels))
    assert found.dtype == np.uint8 and np.array_equal(found, labels)


def test_values_and_ranges_against_a_loop(tmp_path):
    classes = dict(a=0, b=['1-20', 25], c=[21, '100-65000'], d='22-24')
    ignore = ['26-99', 65535]
    values = RNG.choice([*range(101), 30000, 65000, 65535], (40, 50)).astype(np.uint16)

    def meant(value: int) -> int:
        if value == 0:
            return 0
        if 1 <= value <= 20 or value == 25:
            return 1
        if value == 21 or 100 <= value <= 65000:
            return 2
        return 3 if 22 <= value <= 24 else 255

    expected = np.vectorize(meant)(values)
    for name in ('m.png', 'm.tif'):
        found = MaskMap(classes, ignore).read(save(tmp_path / name, values))
        assert np.array_equal(found, expected)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P'])
def test_colours_in_any_mode(tmp_path, mode):
    classes = dict(sky='#0000ff', tree=['#00FF00', [1, 2, 3]], road=[[9, 9, 9]])
    colors = np.array([[0, 0, 255], [0, 255, 0], [1, 2, 3], [9, 9, 9], [255, 255, 255]], np.uint8)
    which = RNG.integers(0, 5, (30, 20))
    img = Image.fromarray(colors[which])
    if mode == 'P':
        img = img.convert('P', palette=Image.Palette.ADAPTIVE, colors=5)
    img.convert(mode).save(tmp_path / 'm.png')
    found = MaskMap(classes, '#ffffff').read(str(tmp_path / 'm.png'))
    assert np.array_equal(found, np.array([0, 1, 1, 2, 255])[which])


def test_a_palette_is_read_by_index_where_values_are_mapped(tmp_path):
    img = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert('P')
    img.putpalette([9, 9, 9, 200, 0, 0])
    img.save(tmp_path / 'm.png')
    found = MaskMap(dict(a=1, b=0)).read(str(tmp_path / 'm.png'))
    assert found.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize('form', ['rgb', 'la', 'bool', 'float', 'int32', 'opencv'])
def test_grey_levels_in_any_form(tmp_path, form):
    values = np.array([[0, 1], [1, 0]], np.uint8)
    path = tmp_path / 'm.tif'
    if form == 'opencv':  # a float format that Pillow does not know
        path = tmp_path / 'm.hdr'
        cv2.imwrite(str(path), np.repeat(values[..., None], 3, 2).astype(np.float32))
    else:
        img = dict(
            rgb=np.repeat(values[..., None], 3, 2),
            la=np.stack([values, 77 + values], 2),
            bool=values.astype(bool),
            float=values.astype(np.float32),
            int32=values.astype(np.int32),
        )[form]
        save(path, img)
    assert MaskMap(['a', 'b']).read(str(path)).tolist() == values.tolist()


def test_values_that_nothing_maps_are_listed_with_their_number(tmp_path):
    values = np.zeros((10, 20), np.uint8)
    values[0], values[1, :3], values[2] = 7, 9, 255
    path = save(tmp_path / 'm.png', values)
    with pytest.raises(UnmappedValues) as caught:
        MaskMap(dict(a=0), source='data.yaml').read(path)
    assert str(caught.value) == (
        f'mask {path} holds values that data.yaml does not map: 7 (20 pixels), 9 (3 pixels); add '
        'them to a class or to ignore'
    )
    with pytest.raises(UnmappedValues, match=r'-3 \(1 pixels\)|70000 \(1 pixels\)'):
        MaskMap(['a']).read(save(tmp_path / 'm.tif', np.array([[-3, 70000]], np.int32)))
    with pytest.raises(UnmappedValues, match=r'and 12 more; '):
        MaskMap(['a']).read(save(tmp_path / 'n.png', np.arange(21, dtype=np.uint8)[None]))
    rgb = np.full((4, 4, 3), 8, np.uint8)
    with pytest.raises(UnmappedValues, match=r'#080808 \(16 pixels\).* \(JPEG changes values'):
        MaskMap(dict(a='#000000')).read(save(tmp_path / 'm.jpg', rgb, quality=100))


def test_what_is_ignored_unless_said():
    def table(classes, ignore=None):
        return MaskMap(classes, ignore)._table

    assert table(['a'])[255] == 255 and table(['a'])[254] == -1
    assert table(['a'], 9)[255] == -1  # as said, and nothing else
    assert table(dict(a=0, b='250-300'))[255] == 1


@pytest.mark.parametrize(
    ('classes', 'ignore', 'message'),
    [
        (
            dict(a=0, b=None),
            None,
            "classes.b is empty; a colour stands in quotes .'#00ff00'., because",
        ),
        (dict(a=0, b=70000), None, 'classes.b has the entry 70000, expected a value of 0 to 65535'),
        (dict(a=0, b='20-3'), None, "classes.b has the entry '20-3'"),
        (dict(a=0, b='green'), None, "classes.b has the entry 'green', expected a value"),
        (dict(a=0, b=True), None, 'classes.b has the entry True'),
        (dict(a=0, b=[]), None, 'classes.b is an empty list'),
        (dict(a='0-9', b=[12, '5-7']), None, '5-7 stands in classes.a and in classes.b'),
        (
            dict(a=[0, 255, 0], b=[255, 0, 0]),
            None,
            r'0 stands in classes.a and in classes.a.*\[\[r, g, b',
        ),
        (dict(a='#010203', b=[[1, 2, 3]]), None, '#010203 stands in classes.a and in classes.b'),
        (
            dict(a='#010203', b=4),
            None,
            'classes.b has 4, but the classes before it are colours and not',
        ),
        (dict(a=3), '#ffffff', 'ignore has #ffffff, but the classes before it are values and not'),
        (dict(a=3), 3, '3 stands in classes.a and in ignore'),
        (['a', 'b', 'a'], None, "'classes' has 3 names, 2 of them different"),
        ('abc', None, "'classes' is 'abc', expected a list of names"),
        ([], None, 'expected a list of names'),
    ],
)
def test_maps_that_cannot_be(classes, ignore, message):
    with pytest.raises(SetupError, match=message) as caught:
        MaskMap(classes, ignore, 'data.yaml')
    assert str(caught.value).startswith('data.yaml: ') and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (
            np.array([[[1, 2, 3], [0, 255, 0]]], np.uint8),
            "m.tif is in colour, but data.yaml maps values; .* '#010203' .1 pixels.",
        ),
        (np.array([[0.0, 1.5]], np.float32), r'm.tif holds fractions \(such as 1.5\)'),
    ],
)
def test_masks_of_another_kind(tmp_path, array, message):
    with pytest.raises(SetupError, match=message):
        MaskMap(['a', 'b'], source='data.yaml').read(save(tmp_path / 'm.tif', array))


def test_damaged_masks(tmp_path):
    path = Path(save(tmp_path / 'm.png', RNG.integers(0, 3, (30, 30), dtype=np.uint8)))
    path.write_bytes(path.read_bytes()[:-40])
    for classes in (['a', 'b', 'c'], dict(a='#000000')):
        with pytest.raises(SetupError, match='mask .*m.png .* cannot be decoded'):
            MaskMap(classes).read(str(path))
    path.write_bytes(b'no image')
    with pytest.raises(SetupError, match='mask .*m.png .* cannot be decoded'):
        MaskMap(['a']).read(str(path))


# --------------------------------------------------------------------------------------- any image


def load(path, **settings) -> np.ndarray:
    info = {key: settings.pop(key) for key in ('range_of_data',) if key in settings}
    results = dict(img_path=str(path), value_range=info.get('range_of_data'))
    results = LoadAnyImage(**settings).transform(results)
    assert results['img'].dtype == np.uint8 and results['img'].shape[2] == 3
    assert results['img_shape'] == results['ori_shape'] == results['img'].shape[:2]
    assert 'img_bytes' not in results and 'value_range' not in results
    return results['img']


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif', '.ppm', '.tga', '.webp', '.pcx'])
@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_8_bits_stay_as_they_are(tmp_path, suffix, mode):
    img = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / f'i{suffix}'
    img.save(path, **(dict(lossless=True) if suffix == '.webp' else {}))
    expected = np.asarray(img.convert('RGB'))[..., ::-1]
    assert np.array_equal(load(path), expected)
    assert np.array_equal(load(path, range_of_data=(0, 4095)), expected)


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P', '1', 'CMYK'])
def test_other_modes_become_three_channels(tmp_path, mode):
    path = tmp_path / 'i.tif'
    source = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    source.convert(mode).save(path)
    img = load(path)
    if mode in ('RGBA', 'P', '1', 'CMYK'):
        assert np.array_equal(img, np.asarray(Image.open(path).convert('RGB'))[..., ::-1])


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.pgm'])
def test_16_bits_are_scaled_from_their_whole_range(tmp_path, suffix):
    values = RNG.integers(0, 65536, (9, 7), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f'i{suffix}'), values)
    expected = np.rint(values.astype(np.float64) / 257)
    img = load(tmp_path / f'i{suffix}')
    for channel in range(3):
        assert np.array_equal(img[..., channel], expected)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.ppm'])
@pytest.mark.parametrize('channels', [3, 4])
def test_16_bits_in_colour_keep_their_depth(tmp_path, suffix, channels):
    if suffix == '.ppm' and channels == 4:
        pytest.skip('PPM has no alpha')
    values = RNG.integers(0, 4096, (9, 7, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f'i{suffix}'), values)
    expected = np.rint(values[..., :3].astype(np.float64) * 255 / 4095)
    for given in (dict(value_range=(0, 4095)), dict(range_of_data=(0.0, 4095.0))):
        assert np.abs(load(tmp_path / f'i{suffix}', **given) - expected).max() == 0


def test_what_lies_outside_the_range_is_cut_off(tmp_path):
    save(tmp_path / 'i.png', np.array([[0, 100, 150, 200, 65535]], np.uint16))
    assert load(tmp_path / 'i.png', value_range=(100, 200))[0, :, 0].tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]


def test_fractions_need_a_range(tmp_path):
    values = np.array([[0.0, 0.5, 1.0, np.nan]], np.float32)
    path = save(tmp_path / 'i.tif', values)
    assert load(path, value_range=(0, 1))[0, :, 2].tolist() == [0, 128, 255, 124]  # no number: ImageNet's mean red
    with pytest.raises(
        SetupError, match=r'holds float32 values .* value_range: \[LOW, HIGH\] in the'
    ):
        load(path)


def test_formats_of_opencv_alone(tmp_path):
    path = tmp_path / 'i.hdr'
    cv2.imwrite(str(path), np.full((4, 6, 3), (0.0, 0.5, 1.0), np.float32))
    assert np.abs(load(path, value_range=(0, 1))[0, 0] - np.array([0, 127.5, 255])).max() <= 1


def test_an_image_that_lies_on_its_side_is_turned_as_by_LoadImage(tmp_path):
    img = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    img.save(tmp_path / 'i.jpg', exif=exif)
    assert load(tmp_path / 'i.jpg').shape == (7, 9, 3)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_damaged_images_are_named(tmp_path, suffix):
    path = tmp_path / f'i{suffix}'
    cv2.imwrite(str(path), RNG.integers(0, 65536, (30, 30, 3), dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(SetupError, match=rf'image .*i{suffix} \(900 bytes\) cannot be decoded'):
        load(path)
    path.write_text('no image')
    with pytest.raises(SetupError, match='cannot be decoded .no image format that Pillow knows'):
        load(path)


# ---------------------------------------------------------------------------------- folders and file

CLASSES = dict(ground='#000000', plant='#00ff00')


class Own:
    """Folders ``photos``, ``annotations`` and ``more``, and ``data.yaml`` over them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for i in range(8):
            write_image(root / f'photos/day{i % 2}/p{i}.jpg', i)
            mask = np.zeros((30, 40, 3), np.uint8)
            mask[: i + 1, :, 1] = 255
            save(root / f'annotations/day{i % 2}/p{i}.png', mask)
        for i in range(5):
            write_image(root / f'more/u{i}.png', 20 + i)
        self.content = dict(
            labeled=dict(images='photos', masks='annotations'), unlabeled='more', classes=CLASSES
        )

    def write(self, **changes) -> Path:
        content = {**self.content, **changes}
        content = {key: value for key, value in content.items() if value is not None}
        (self.root / 'data.yaml').write_text(yaml.safe_dump(content, sort_keys=False))
        return self.root / 'data.yaml'

    def names(self, part: str, **changes) -> list[str]:
        files = OwnData(self.write(**changes)).files(part)
        return [Path(entry['img_path']).name for entry in files]

    def dataset(self, **changes):
        file = str(self.write(**changes))
        views = ['labeled', 'weak', 'strong']
        pack = [dict(type='PackSemiInputs')]
        crop = dict(type='RandomScaleCrop', crop_size=(32, 32))
        source = dict(type='FolderDataset', data_file=file, serialize_data=False)
        labeled = [dict(type='LoadAnyImage'), dict(type='LoadAnyLabels'), crop]
        unlabeled = [dict(type='LoadAnyImage'), dict(type='InitValidMap'), crop]
        labeled.append(dict(type='MultiBranch', branch_field=views, labeled=pack))
        unlabeled.append(dict(type='MultiBranch', branch_field=views, weak=pack, strong=pack))
        return DATASETS.build(
            dict(
                type='SemiDataset',
                labeled=dict(source, part='labeled', pipeline=labeled),
                unlabeled=dict(source, part='unlabeled', pipeline=unlabeled),
            )
        )


@pytest.fixture
def own(tmp_path) -> Own:
    return Own(tmp_path / 'own')


def test_folders_make_a_data_set(own):
    dataset = own.dataset()
    assert dataset.source_sizes == [8, 5]
    assert dataset.metainfo['classes'] == ('ground', 'plant')
    assert dataset.metainfo['palette'] == [[0, 0, 0], [0, 255, 0]]
    labels = dataset[3]['data_samples']['labeled'].gt_sem_seg.data
    assert set(labels.unique().tolist()) <= {0, 1, 255}
    assert dataset[8]['inputs']['weak'].shape == (3, 32, 32)
    # names count from the file, wherever that is
    expected = splits.hash_names([f'photos/day{i % 2}/p{i}' for i in range(8)])
    assert dataset.protocol['labeled'] == dict(count=8, sha256=expected)


def test_yaml_json_and_config_say_the_same(own, monkeypatch):
    file = own.write(val=0.25, ignore='#ffffff', value_range=[0, 4095])
    content = yaml.safe_load(file.read_text())
    (own.root / 'data.json').write_text(json.dumps(content))
    monkeypatch.chdir(own.root)
    for other in (own.root / 'data.json', content):
        for part in ('labeled', 'unlabeled', 'val'):
            one, two = OwnData(file).files(part), OwnData(other).files(part)
            assert [Path(e['img_path']).resolve() for e in one] == [
                Path(e['img_path']).resolve() for e in two
            ]
        assert OwnData(other).value_range == (0.0, 4095.0)
        assert OwnData(other).palette == OwnData(file).palette


def test_a_share_validates_and_is_always_the_same(own):
    val, rest = own.names('val', val=0.25), own.names('labeled', val=0.25)
    assert len(val) == 2 and sorted(val + rest) == [f'p{i}.jpg' for i in range(8)]
    assert own.names('val', val=0.25) == val
    assert own.names('val', val=dict(images='photos', masks='annotations')) == own.names('labeled')


def test_masks_beside_their_images(own):
    for i in range(3):
        write_image(own.root / f'flat/x{i}.png', i)
        save(own.root / f'flat/x{i}_mask.png', np.zeros((30, 40, 3), np.uint8))
    flat = dict(images='flat', masks='flat', mask_suffix='_mask')
    files = OwnData(own.write(labeled=flat)).files('labeled')
    assert [Path(e['seg_map_path']).name for e in files] == [f'x{i}_mask.png' for i in range(3)]
    assert own.names('labeled', labeled=flat) == [f'x{i}.png' for i in range(3)]
    with pytest.raises(SetupError, match='are one folder; separate them by mask_suffix'):
        own.names('labeled', labeled=dict(flat, mask_suffix=''))


def test_images_without_a_mask_in_the_labelled_folder(own):
    write_image(own.root / 'photos/extra.JPG', 50)
    (own.root / 'photos/.hidden.jpg').write_text('')
    (own.root / 'photos/Thumbs.db').write_text('')
    with pytest.raises(
        SetupError, match=r'1 of 9 images in .*photos have no mask, .* is extra.JPG'
    ):
        own.names('labeled')
    both = ['more', 'photos']
    assert 'extra.JPG' not in own.names('labeled', unlabeled=both)
    assert own.names('unlabeled', unlabeled=both) == [f'u{i}.png' for i in range(5)] + ['extra.JPG']


def test_masks_of_unlabelled_images_are_never_opened(own, monkeypatch):
    write_image(own.root / 'photos/extra.png', 50)
    dataset = own.dataset(unlabeled=['more', 'photos'])
    for path in (own.root / 'annotations').rglob('*.png'):
        path.unlink()
    for index in range(8, 14):
        info = dataset.get_data_info(index)
        assert 'seg_map_path' not in info
        assert 'gt_sem_seg' not in dataset[index]['data_samples']['weak']


def test_values_that_nothing_maps_are_added_up_over_all_masks(own, tmp_path):
    for i, count in ((2, 5), (3, 7)):
        path = own.root / f'annotations/day{i % 2}/p{i}.png'
        mask = np.array(Image.open(path))
        mask[-1, :count] = 9
        save(path, mask)
    message = (
        r'^2 of 8 masks, the first is .*p2.png, hold values that .*data.yaml does not map: #090909 '
        r'\(12 pixels\); add them to a class or to ignore$'
    )
    with pytest.raises(SetupError, match=message):
        own.dataset()
    source = DATASETS.build(dict(type='FolderDataset', data_file=str(own.root / 'data.yaml')))
    assert checks.load_class_indices(source, 0).shape == (30, 40)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_values_that_the_check_has_not_seen_stop_training(own, num_workers):
    dataset = own.dataset()
    for path in (own.root / 'annotations').rglob('*.png'):
        save(path, np.full((30, 40, 3), 9, np.uint8))
    loader = DataLoader(dataset, num_workers=num_workers, collate_fn=list)
    with pytest.raises(
        UnmappedValues, match=r'mask .*p\d.png holds values .* #090909 \(1,200 pixels'
    ):
        next(iter(loader))


def test_a_mask_of_another_size_stops_training(own):
    dataset = own.dataset()
    save(own.root / 'annotations/day0/p0.png', np.zeros((30, 41, 3), np.uint8))
    with pytest.raises(
        SetupError, match=r'p0.png is 41 x 30 pixels, but its image .* is 40 x 30; both'
    ):
        dataset[0]


def test_the_scan_of_a_data_set_knows_these_masks(own):
    own.write()
    cfg = dict(type='FolderDataset', data_file=str(own.root / 'data.yaml'))
    steps = [dict(type='LoadAnyImage'), dict(type='LoadAnyLabels')]
    dataset = DATASETS.build(dict(cfg, pipeline=steps))
    sources = [inspection.dataset_source(dataset, 'labeled', 'labeled', 'key')]
    assert not inspection._look(sources, (0, 0), dataset.get_data_info(0)).trouble
    save(own.root / 'annotations/day0/p0.png', np.full((30, 40, 3), 9, np.uint8))
    (kind, case), *_ = inspection._look(sources, (0, 0), dataset.get_data_info(0)).trouble
    assert kind == 'labels' and '#090909 (1,200 pixels)' in case.text


def test_palettes(own):
    assert OwnData(own.write(classes=['a', 'b', 'c'])).palette == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
    ]
    own_colors = dict(plant='#010203')
    assert OwnData(own.write(palette=own_colors)).palette == [[0, 0, 0], [1, 2, 3]]
    assert OwnData(own.write(palette=[[1, 1, 1], '#020202'])).palette == [[1, 1, 1], [2, 2, 2]]


def damage(own: Own, name: str) -> None:
    path = own.root / 'annotations/day0/p0.png'
    if name == 'size':
        save(path, np.zeros((30, 41, 3), np.uint8))
    elif name == 'mask':
        path.unlink()
    elif name == 'twice':
        write_image(own.root / 'photos/day0/p0.png', 1)
    elif name == 'empty':
        (own.root / 'none').mkdir()
        (own.root / 'none/notes.txt').touch()
    elif name == 'copy':
        os.symlink(own.root / 'photos/day0/p0.jpg', own.root / 'more/day.jpg')


@pytest.mark.parametrize(
    ('changes', 'damaged', 'message'),
    [
        (dict(labels=1), None, "has the key 'labels'; did you mean 'labeled'"),
        (dict(nonsense=1), None, "has the key 'nonsense'; its keys are labeled, unlabeled"),
        (dict(labeled=None), None, "has no 'labeled'; add labeled: {images"),
        (dict(classes=None), None, "has no 'classes'; add classes"),
        (dict(labeled='photos'), None, "'labeled' is 'photos', expected {images: FOLDER, masks"),
        (dict(labeled=dict(images='photos')), None, r"'labeled' is {'images': 'photos'}, expected"),
        (
            dict(labeled=dict(images='fotos', masks='annotations')),
            None,
            r"labeled.images is 'fotos', but the folder .*own/fotos does not exist; .* relative to .*own\)",
        ),
        (dict(unlabeled=['more', 'mor']), None, r"unlabeled\[1\] is 'mor', but the folder"),
        (dict(unlabeled=3), None, "'unlabeled' is 3, expected a folder or a list"),
        (
            dict(unlabeled=None),
            None,
            "has no 'unlabeled'; add the folders .* or set train_dataloader",
        ),
        (dict(unlabeled='photos'), None, "every image in 'unlabeled' has a mask"),
        (dict(unlabeled='none'), 'empty', r'none, holds no image \(found: 1 x .txt\)'),
        (dict(val=1.5), None, "'val' is 1.5, a share of 8 labelled images"),
        (dict(val=0.01), None, "'val' is 0.01, a share of 8 .* at least one image on either side"),
        (
            dict(palette=dict(rock='#000000')),
            None,
            "'palette' is .*, expected colours by class name",
        ),
        (dict(palette=dict(plant=3)), None, 'palette.plant is 3, expected a colour'),
        (dict(value_range=[5, 5]), None, r"'value_range' is \[5, 5\], expected \[low, high\]"),
        (
            {},
            'mask',
            r'1 of 8 images in .* have no mask, the first is p0.jpg, expected day0/p0 with any',
        ),
        ({}, 'twice', 'labeled.images holds p0.jpg and p0.png; keep one'),
        ({}, 'size', r'p0.png is 41 x 30 pixels, but its image .*p0.jpg is 40 x 30'),
        (
            dict(classes=['a', 'b']),
            None,
            r"p0.png is in colour, but .*yaml maps values; .*'#000000'",
        ),
    ],
)
def test_mistakes_are_one_sentence(own, changes, damaged, message):
    damage(own, damaged)
    with pytest.raises(SetupError, match=message) as caught:
        own.dataset(**changes)
    assert '\n' not in str(caught.value)


def test_files_that_cannot_be_read(own):
    file = own.write()
    file.write_text('labeled: {images: photos\n')
    with pytest.raises(SetupError, match=r'data.yaml cannot be read \(.*line 2.*\); fix that line'):
        OwnData(file)
    file.write_text('- a\n- b\n')
    with pytest.raises(SetupError, match='holds no keys and values'):
        OwnData(file)
    with pytest.raises(
        SetupError, match='nowhere.yaml does not exist; write it as docs/custom_data.md'
    ):
        OwnData(own.root / 'nowhere.yaml')
    file.write_text('labeled: {images: photos, masks: annotations}\nclasses:\n  a: #00ff00\n')
    with pytest.raises(SetupError, match='classes.a is empty; a colour stands in quotes'):
        OwnData(file)


def test_arguments_that_make_no_sense(own):
    file = str(own.write())
    with pytest.raises(
        SetupError, match="part='train', expected one of labeled, unlabeled, val, test"
    ):
        DATASETS.build(dict(type='FolderDataset', data_file=file, part='train'))
    with pytest.raises(SetupError, match="ann_file='list.txt', but its images are all those of"):
        DATASETS.build(dict(type='FolderDataset', data_file=file, ann_file='list.txt'))
