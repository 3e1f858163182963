"""Class maps, the rule of two thresholds, files of masks, and the command that writes them."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image, ImageFile
from tiny_semi import tiny_backbone
from whole_runs import ROOT

from mmseg_semi.data.transforms import LoadImage
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from projects.weak_labels.cams import multi_scale_cams
from projects.weak_labels.crf import NoRefinement
from projects.weak_labels.image_labels import write_table
from projects.weak_labels.masks import MaskSettings, label_map, make_mask, two_threshold_mask
from projects.weak_labels.weak_masks import LoadWeakMask, save_mask, score_masks

MODEL = dict(
    type='MultiLabelClassifier',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=tiny_backbone(),
    in_channels=64,
    num_classes=4,
)


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(MODEL).eval()
    model.classifier.weight.data.abs_().mul_(100)  # so that every map has a maximum
    return model


def picture(height: int = 40, width: int = 52, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# -- maps ------------------------------------------------------------------------------------------


def test_maps_of_one_scale_are_features_times_weights(model):
    """The sum over the image's and the mirrored image's maps, enlarged, cut and divided by its maximum."""
    image, present = picture(), [2, 0]
    with torch.no_grad():
        total = 0
        for mirrored in (False, True):
            pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
            mean = torch.tensor([103.53, 116.28, 123.675]).view(1, 3, 1, 1)
            deviation = torch.tensor([57.375, 57.12, 58.395]).view(1, 3, 1, 1)
            pixels = ((pixels - mean) / deviation).flip(1)
            features = model.backbone(pixels.flip(-1) if mirrored else pixels)[-1]
            weight = model.classifier.weight[:, :, 0, 0]
            maps = torch.einsum('cd,ndhw->nchw', weight, features).clamp(min=0)
            total = total + (maps.flip(-1) if mirrored else maps)
        total = F.interpolate(total, (48, 64), mode='bilinear')[0, present, :40, :52]
        expected = total / (total.amax(dim=(1, 2), keepdim=True) + 1e-5)
    found = multi_scale_cams(model, image, present, (1.0,))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert found.shape == (2, 40, 52) and found.min() >= 0 and 0.99 < found.max() < 1


def test_maps_of_several_scales_add(model):
    image, present, scales = picture(48, 64), [1, 3], (1.0, 0.5, 1.5)
    # sides are multiples of 16, so nothing is cut, and a map is known from its multiple
    each = [multi_scale_cams(model, image, present, (s,)) for s in scales]
    found = multi_scale_cams(model, image, present, scales)
    columns = torch.stack([m.flatten(1) for m in each], dim=-1).double()
    for c in range(2):
        factors = torch.linalg.lstsq(columns[c], found[c].flatten()[:, None].double()).solution
        assert (factors > 0).all()
        torch.testing.assert_close(
            (columns[c] @ factors)[:, 0].float(), found[c].flatten(), atol=1e-4, rtol=0
        )


def test_a_mirrored_image_has_mirrored_maps(model):
    image = picture(48, 64)
    one = multi_scale_cams(model, image, [0, 1], (1.0,))
    other = multi_scale_cams(model, np.ascontiguousarray(image[:, ::-1]), [0, 1], (1.0,))
    torch.testing.assert_close(one, other.flip(-1), atol=1e-4, rtol=0)


def test_no_class_no_map(model):
    assert multi_scale_cams(model, picture(), []).shape == (0, 40, 52)
    with pytest.raises(SetupError, match='scales'):
        multi_scale_cams(model, picture(), [0], (0.0,))


# -- the rule --------------------------------------------------------------------------------------


def test_truth_table_of_the_two_maps():
    """(class, anything) -> class; (background, background) -> background; (background, class) -> 255."""
    labels = (-1, 3, 7)
    for high, low in itertools.product(labels, labels):
        for background in (0, None):
            found = two_threshold_mask(np.array([[high]]), np.array([[low]]), background)
            nothing = IGNORE if background is None else background
            expected = high if high >= 0 else (nothing if low < 0 else IGNORE)
            assert found.dtype == np.uint8 and found.item() == expected, (high, low)


def test_thresholds_without_refinement():
    maps = np.array([[[0.9, 0.2, 0.04, 0.31]], [[0.5, 0.1, 0.01, 0.4]]], np.float32)
    image = np.zeros((1, 4, 3), np.uint8)
    high, low = (label_map(maps, t, [5, 9], image, NoRefinement()) for t in (0.30, 0.05))
    assert high.tolist() == [[5, -1, -1, 9]] and low.tolist() == [[5, 5, -1, 9]]
    assert two_threshold_mask(high, low).tolist() == [[5, 255, 0, 9]]


def test_an_image_without_classes_is_background(model):
    meta = dict(classes=('a', 'b', 'c', 'd'), indices=(1, 2, 3, 4))
    settings = MaskSettings(crf='none', scales=(1.0,))
    mask = make_mask(model, picture(), np.zeros(4), meta, settings, NoRefinement())
    assert mask.shape == (40, 52) and not mask.any()
    # only classes that the image shows, and that are asked for
    mask = make_mask(model, picture(), np.array([0, 1, 1, 0]), meta, settings, NoRefinement())
    assert set(np.unique(mask)) <= {0, 2, 3, 255} and set(np.unique(mask)) & {2, 3}
    # every pixel is above 0.30 of this map's maximum, some are above 0.90
    settings = MaskSettings(0.9, crf='none', scales=(1.0,), classes=('c',), background_class=None)
    mask = make_mask(model, picture(), np.array([0, 1, 1, 0]), meta, settings, NoRefinement())
    (scores,) = multi_scale_cams(model, picture(), [2], (1.0,)).numpy()
    assert np.array_equal(mask, np.where(scores > 0.9, 3, 255))
    assert set(np.unique(mask)) == {3, 255}


def test_wrong_settings():
    for wrong in (dict(foreground=0.05, background=0.3), dict(background=0.0), dict(scales=())):
        with pytest.raises(SetupError, match='foreground|scales'):
            MaskSettings.of(wrong)
    with pytest.raises(SetupError, match='mask_settings.*treshold'):
        MaskSettings.of(dict(treshold=0.3))


# -- scores ----------------------------------------------------------------------------------------


def test_scores_equal_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    pairs = [
        (
            rng.choice([0, 1, 2, 255], (6, 7)).astype(np.uint8),
            rng.choice([0, 1, 3, 255], (6, 7)).astype(np.uint8),
        )
        for _ in range(3)
    ]
    found = score_masks(pairs, 5)
    pixels = [
        (w, t)
        for weak, true in pairs
        for w, t in zip(weak.ravel().tolist(), true.ravel().tolist(), strict=True)
        if t != 255
    ]
    labelled = [(w, t) for w, t in pixels if w != 255]
    assert found['covered'] == pytest.approx(100 * len(labelled) / len(pixels))
    right = sum(w == t for w, t in labelled)
    assert found['accuracy'] == pytest.approx(100 * right / len(labelled))
    for key, some in (('IoU', pixels), ('IoU_labeled', labelled)):
        for c in range(5):
            union = sum(w == c or t == c for w, t in some)
            if not union:
                assert np.isnan(found[key][c])
                continue
            both = sum(w == t == c for w, t in some)
            assert found[key][c] == pytest.approx(100 * both / union)
    assert found['mIoU'] == pytest.approx(np.nanmean(found['IoU']))
    assert found['masks'] == 3


# -- files -----------------------------------------------------------------------------------------


def test_loading_beside_an_image(tmp_path):
    labels = np.array([[0, 1], [255, 2]], np.uint8)
    save_mask(tmp_path / 'x' / 'a.png', labels)
    assert [path.name for path in (tmp_path / 'x').iterdir()] == ['a.png']  # no draft is left
    load = LoadWeakMask(str(tmp_path), 3, images='/data/images')
    assert load.mask_path('/data/images/x/a.jpg') == str(tmp_path / 'x' / 'a.png')
    results = load(dict(img_path='/data/images/x/a.jpg', img=np.zeros((2, 2, 3)), seg_fields=[]))
    assert results['gt_given_map'].tolist() == labels.tolist()
    assert results['seg_fields'] == ['gt_given_map']
    with pytest.raises(
        SetupError, match='weak mask .*a.png is 2 x 2 pixels, but its image .* is 3 x 2'
    ):
        load(dict(img_path='/data/images/x/a.jpg', img=np.zeros((2, 3, 3))))
    with pytest.raises(SetupError, match='holds the label 2'):
        LoadWeakMask(str(tmp_path / 'x'), 2)(dict(img_path='a.jpg', img=np.zeros((2, 2, 3))))
    load.check_paths(['/data/images/x/a.jpg'], 'unlabeled')
    with pytest.raises(SetupError, match=r'b.jpg has no weak mask .*b.png \(1 of 2 are missing\)'):
        load.check_paths(['/data/images/x/a.jpg', '/data/images/x/b.jpg'], 'unlabeled')
    with pytest.raises(SetupError, match='folder nowhere of LoadWeakMask does not exist'):
        LoadWeakMask('nowhere', 3).check_paths(['a.jpg'], 'unlabeled')


def test_sizes_are_compared_before_training_by_headers_alone(tmp_path, monkeypatch):
    """Orientation tags are obeyed, as LoadImage does; what no header tells is left to the reading."""
    images, masks = tmp_path / 'images', tmp_path / 'masks'
    images.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    load = LoadWeakMask(str(masks), 3, images=str(images))

    def check(name: str, found: tuple, exif: Image.Exif | None = None) -> None:
        Image.fromarray(picture()).save(images / name, exif=exif or Image.Exif())
        save_mask(masks / f'{name[:-4]}.png', np.zeros(found, np.uint8))
        with monkeypatch.context() as patch:
            patch.setattr(ImageFile.ImageFile, 'load', None)  # pixels
            load.check_paths([str(images / name)], 'unlabeled')
        loaded = LoadImage()(dict(img_path=str(images / name)))
        assert load(loaded)['gt_given_map'].shape == found

    for name in ('a.png', 'a.jpg', 'a.tif'):
        check(name, (40, 52))
        check(name, (52, 40), turned)
        sentence = rf'weak mask .*a.png is 40 x 40 pixels, but its image .*{name} is 40 x 52; make'
        with pytest.raises(SetupError, match=sentence):
            check(name, (40, 40), turned)
    for name in ('a.jpg', 'a.tif'):  # made without a look at the tag
        with pytest.raises(SetupError, match='is 52 x 40 pixels, but its image .* is 40 x 52'):
            check(name, (40, 52), turned)
    # a PNG whose tag stands behind its pixels
    check('b.png', (52, 40), turned)
    content = (images / 'b.png').read_bytes()
    start = content.index(b'eXIf') - 4
    stop = start + 12 + int.from_bytes(content[start : start + 4])
    end = content.index(b'IEND') - 4
    moved = content[:start] + content[stop:end] + content[start:stop] + content[end:]
    (images / 'b.png').write_bytes(moved)
    load.check_paths([str(images / 'b.png')], 'unlabeled')
    load(LoadImage()(dict(img_path=str(images / 'b.png'))))
    # files that are no images are told by their reader
    (images / 'a.jpg').write_text('no image')
    load.check_paths([str(images / 'a.jpg')], 'unlabeled')


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, model):
    """Images, labels, a classifier's checkpoint, and a function that calls the command."""
    from test_weak_runs import call_project_tool

    for i in range(3):
        Image.fromarray(picture(seed=i)[..., ::-1].copy()).save(tmp_path / f'i{i}.png')
    (tmp_path / 'list.txt').write_text('i0\ni1\ni2\n')
    shown = [{'water'}, {'tree', 'vehicle'}, set()]
    write_table(tmp_path / 'labels.csv', {f'i{i}': row for i, row in enumerate(shown)})
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    cfg = Config(
        dict(
            default_scope='mmseg',
            custom_imports=dict(imports=['mmseg_semi', 'projects.weak_labels']),
            model=MODEL,
            mask_dataset=dict(
                type='ImageLabelDataset',
                kind='QuickstartDataset',
                images=str(tmp_path),
                img_suffix='.png',
                lists=str(tmp_path / 'list.txt'),
                labels=dict(kind='csv', path=str(tmp_path / 'labels.csv')),
                leave_out=('sky', 'ground'),
                pipeline=[dict(type='LoadImage'), dict(type='PackImageLabels')],
            ),
            mask_settings=dict(foreground=0.9, scales=(1.0,), crf='none', background_class=None),
        )
    )
    cfg.dump(tmp_path / 'classifier.py')

    def call(*arguments):
        call_project_tool(
            'make_masks', tmp_path / 'classifier.py', tmp_path / 'model.pth', *arguments
        )

    return call


def test_masks_are_written_once_and_continued(run, tmp_path, capsys):
    out, truth = tmp_path / 'masks', tmp_path / 'truth'
    for i in range(3):
        save_mask(truth / f'i{i}.png', np.full((40, 52), 4, np.uint8))
    run('--out', out, '--truth', truth)
    names = ['i0.png', 'i1.png', 'i2.png']
    first = {name: (out / name).read_bytes() for name in names}
    assert set(np.unique(np.array(Image.open(out / 'i0.png')))) == {2, 255}
    assert set(np.unique(np.array(Image.open(out / 'i2.png')))) == {255}
    scores = json.loads((out / 'scores.json').read_text())
    assert scores['masks'] == 3 and 0 < scores['covered'] < 100
    assert '3 weak masks against true ones' in capsys.readouterr().out
    # stopped: one is missing, another must not be made again
    (out / 'i1.png').unlink()
    (out / 'i0.png').write_bytes(b'kept')
    run('--out', out)
    assert (out / 'i0.png').read_bytes() == b'kept'
    assert (out / 'i1.png').read_bytes() == first['i1.png']
    run('--out', out, '--overwrite')
    assert {name: (out / name).read_bytes() for name in names} == first
    # other settings do not go on in the same folder
    with pytest.raises(SystemExit):
        run('--out', out, '--crf', 'mean_field')
    assert 'not known to be made with the same crf' in capsys.readouterr().err
    for arguments in ([], ['--overwrite']):
        with pytest.raises(SystemExit):
            run('--out', truth, *arguments)
        assert 'has no settings.json' in capsys.readouterr().err


def test_masks_follow_the_labels_of_their_images(run, tmp_path, capsys):
    """Corrected labels make a mask anew, other images on the list go on; classes and images of a folder are one."""
    out, table = tmp_path / 'masks', tmp_path / 'labels.csv'

    def keep() -> None:
        for path in out.glob('*.png'):
            path.write_bytes(b'kept')

    def kept() -> list[str]:
        return sorted(path.stem for path in out.glob('*.png') if path.read_bytes() == b'kept')

    (tmp_path / 'list.txt').write_text('i0\ni1\n')
    run('--out', out)
    keep()
    (tmp_path / 'list.txt').write_text('i1\ni2\n')
    run('--out', out)
    assert kept() == ['i0', 'i1'] and (out / 'i2.png').is_file()
    keep()
    (tmp_path / 'list.txt').write_text('i0\ni1\ni2\n')
    # what the classifier has no output for decides nothing
    write_table(table, {'i0': {'tree'}, 'i1': {'vehicle', 'tree', 'sky'}, 'i2': set()})
    run('--out', out)
    assert kept() == ['i1', 'i2']
    assert 'image labels have changed: 1 masks' in capsys.readouterr().out
    found = np.array(Image.open(out / 'i0.png'))
    run('--out', tmp_path / 'fresh')
    assert np.array_equal(found, np.array(Image.open(tmp_path / 'fresh' / 'i0.png')))
    assert set(np.unique(found)) == {4, 255}
    # stopped while masks are made anew: none of the old ones is left for the next start
    image = tmp_path / 'i1.png'
    content = image.read_bytes()
    image.write_bytes(content[:100])
    with pytest.raises(SystemExit):
        run('--out', out, '--overwrite')
    assert sorted(path.name for path in out.glob('*.png')) == ['i0.png']
    image.write_bytes(content)
    keep()
    run('--out', out)
    assert kept() == ['i0']
    shutil.copytree(tmp_path, tmp_path / 'more', ignore=shutil.ignore_patterns('more'))
    for option, key in (
        ('mask_dataset.leave_out=(sky,water)', 'label_classes'),
        (f'mask_dataset.images={tmp_path / "more"}', 'images'),
    ):
        with pytest.raises(SystemExit):
            run('--out', out, '--cfg-options', option)
        assert f'not known to be made with the same {key} (' in capsys.readouterr().err


def test_a_refinement_s_settings_are_the_same_the_next_time(run, tmp_path, capsys):
    """As published they are tuples, of which JSON makes lists."""
    cfg = Config.fromfile(tmp_path / 'classifier.py')
    cfg.mask_settings.crf = dict(type='mean_field', bilateral=(20, 8, 10), iterations=1)
    cfg.dump(tmp_path / 'classifier.py')
    run('--out', tmp_path / 'masks')
    (tmp_path / 'masks' / 'i1.png').unlink()
    run('--out', tmp_path / 'masks')
    assert (tmp_path / 'masks' / 'i1.png').is_file()
    cfg.mask_settings.crf.bilateral = (20, 8, 11)
    cfg.dump(tmp_path / 'classifier.py')
    with pytest.raises(SystemExit):
        run('--out', tmp_path / 'masks')
    assert 'made with the same crf (' in capsys.readouterr().err


def test_several_processes_write_the_same(run, tmp_path, monkeypatch):
    run('--out', tmp_path / 'one')
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    monkeypatch.setenv('PYTHONPATH', path)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    run('--out', tmp_path / 'two', '--jobs', 2)
    for i in range(3):
        one, two = (tmp_path / name / f'i{i}.png' for name in ('one', 'two'))
        assert one.read_bytes() == two.read_bytes()


def test_mistakes_of_the_command(run, tmp_path, capsys):
    for arguments, sentence in (
        (['--out', tmp_path / 'x', '--crf', 'dense'], "crf='dense': expected one of"),
        (['--out', tmp_path / 'x', '--jobs', '0'], '--jobs 0'),
        (['--out', tmp_path / 'x', '--only-score', '--truth', 'nowhere'], 'nowhere is no folder'),
    ):
        with pytest.raises(SystemExit):
            run(*arguments)
        assert sentence in capsys.readouterr().err
    (tmp_path / 'labels.csv').unlink()
    with pytest.raises(SystemExit):
        run('--out', tmp_path / 'x')
    assert 'labels.csv does not exist' in capsys.readouterr().err
