"""mmseg-semi predict: what it writes, for which models and inputs, and what it refuses."""

import csv
import json
import shutil
import sys

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from PIL import Image
from tiny_predictor import NAMES, checkpoint, tiny_run, write_photos

from mmseg_semi.cli import predict, publish
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.preparing.annotations import coco as coco_reader
from mmseg_semi.runtime.prediction import predictor
from mmseg_semi.runtime.prediction.tiles import tile_starts, tile_weights


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """A run whose test pipeline leaves images at their size."""
    return tiny_run(tmp_path_factory.mktemp('plain'))


@pytest.fixture(scope='module')
def resizing(tmp_path_factory):
    """A run whose test pipeline brings images to a long side of 33 pixels; its photographs have 48 x 36."""
    return tiny_run(tmp_path_factory.mktemp('resizing'), resize=33)


def call(*arguments) -> int:
    return predict.main([*map(str, arguments), '--device', 'cpu'])


def refused(capsys, *arguments) -> str:
    """The sentence that a wrong call ends with."""
    with pytest.raises(SystemExit) as end:
        call(*arguments)
    assert end.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith('error: ')
    return line


def read(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def reference(run):
    """The run's model by MMSegmentation's own functions."""
    return init_model(str(run / 'mine.py'), str(run / 'iter_2.pth'), device='cpu')


# -- equal to MMSegmentation -----------------------------------------------------------------------


@pytest.mark.parametrize('kind, batch', [('plain', 1), ('resizing', 1), ('resizing', 3)])
def test_an_image_is_predicted_as_inference_model_does(kind, batch, request, tmp_path, capsys):
    run = request.getfixturevalue(kind)
    paths = write_photos(tmp_path / 'in', [(36, 48), (36, 48), (40, 33), (36, 48)])
    out = tmp_path / 'out'
    what = 'masks,overlays,confidence,areas'
    assert call(run, tmp_path / 'in', '--out', out, '--what', what, '--batch', batch) == 0
    model, found = reference(run), set()
    rows = list(csv.DictReader((out / 'areas.csv').open()))
    for path in paths:
        result = inference_model(model, str(path))
        labels = result.pred_sem_seg.data[0].numpy()
        mask = read(out / 'masks' / path.name)
        assert mask.dtype == np.uint8
        if batch == 1:
            np.testing.assert_array_equal(mask, labels)
        else:  # sums within a batch have another order
            assert (mask != labels).mean() < 0.005
        highest = result.seg_logits.data.softmax(0).amax(0).numpy()
        np.testing.assert_allclose(read(out / 'confidence' / path.name), highest * 255, atol=0.51)
        pixels = [int(row['pixels']) for row in rows if row['image'] == path.name]
        assert pixels == np.bincount(mask.ravel(), minlength=3).tolist()
        assert [row['class'] for row in rows if row['image'] == path.name] == list(NAMES)
        assert read(out / 'overlays' / f'{path.stem}.jpg').shape == (*mask.shape, 3)
        found |= set(np.unique(mask))
    assert len(found) > 1  # else the comparison shows nothing
    said = capsys.readouterr().out
    assert '4 images, 0.0 million pixels' in said and 'teacher' in said
    assert ('a long side of 33 pixels' in said) == (kind == 'resizing')


def test_published_files_predict_the_same(resizing, tmp_path):
    (path,) = write_photos(tmp_path / 'in', [(50, 40)])
    publish.main(
        [str(resizing / 'mine.py'), str(resizing / 'iter_2.pth'), '--out', str(tmp_path / 'pub')]
    )
    (file,) = (tmp_path / 'pub').glob('*.pth')
    assert torch.load(file, weights_only=True)['meta']['image_size'] == (36, 48)
    for model, out in ((resizing, 'a'), (resizing / 'iter_2.pth', 'b'), (file, 'c')):
        assert call(model, path, '--out', tmp_path / out) == 0
    masks = [read(tmp_path / out / 'masks/p0.png') for out in 'abc']
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_the_network_can_be_chosen(plain, tmp_path, capsys):
    run = tmp_path / 'run'
    shutil.copytree(plain, run)
    other = torch.load(run / 'iter_2.pth', weights_only=True)
    weights = other['state_dict']
    for key in weights:
        if key.startswith('student.') and key.endswith('conv_seg.weight'):
            weights[key] = -weights[key]
    torch.save(other, run / 'iter_2.pth')
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    masks = []
    for name in ('teacher', 'student'):
        assert call(run, path, '--out', tmp_path / name, '--network', name) == 0
        assert f', {name}, 3 classes' in capsys.readouterr().out
        masks.append(read(tmp_path / name / 'masks/p0.png'))
    assert (masks[0] != masks[1]).mean() > 0.3
    assert "network 'peer'" in refused(
        capsys, run, path, '--out', tmp_path / 'p', '--network', 'peer'
    )


# -- tiles -----------------------------------------------------------------------------------------


def by_hand(model, image: np.ndarray, tile, overlap: float) -> np.ndarray:
    """Labels by whole maps: each tile predicted by ``inference_model``, all probabilities summed with their weights."""
    size = image.shape[:2]
    total = torch.zeros(3, *size)
    starts = [tile_starts(length, side, overlap) for length, side in zip(size, tile, strict=True)]
    weights = [tile_weights(n, side, s) for n, side, s in zip(size, tile, starts, strict=True)]
    for top, down in zip(starts[0], weights[0], strict=True):
        for left, across in zip(starts[1], weights[1], strict=True):
            part = image[top : top + tile[0], left : left + tile[1]]
            scores = inference_model(model, part.copy()).seg_logits.data.softmax(0)
            rows, columns = slice(top, top + len(down)), slice(left, left + len(across))
            total[:, rows, columns] += scores * torch.from_numpy(down[:, None] * across)
    return total.argmax(0).numpy()


@pytest.mark.parametrize('kind, options, tile, overlap', [
    ('plain', ['--tile', '40', '--overlap', '0.5'], (40, 40), 0.5),
    ('resizing', ['--tile', '64', '--batch', '4'], (64, 64), 0.25),
    # three times as large as the photographs of the training: tiles of their size
    ('resizing', [], (36, 48), 0.25),
])  # fmt: skip
def test_tiles_are_images_of_their_own(kind, options, tile, overlap, request, tmp_path, capsys):
    run = request.getfixturevalue(kind)
    (path,) = write_photos(tmp_path / 'in', [(110, 150)])
    assert call(run, path, '--out', tmp_path / 'out', *options) == 0
    assert f'tiles of {tile[1]} x {tile[0]} pixels' in capsys.readouterr().out
    image = cv2.imread(str(path))
    expected = by_hand(reference(run), image, tile, overlap)
    mask = read(tmp_path / 'out/masks/p0.png')
    # sums in another order
    assert mask.shape == (110, 150) and (mask != expected).mean() < 0.002
    assert len(np.unique(mask)) > 1


def test_a_large_image_is_taken_whole_row_by_row(resizing, tmp_path, monkeypatch):
    (path,) = write_photos(tmp_path / 'in', [(70, 90)])
    assert call(resizing, path, '--out', tmp_path / 'a', '--tile', '0') == 0
    monkeypatch.setattr(predictor, 'SCORES', 0)
    assert call(resizing, path, '--out', tmp_path / 'b', '--tile', '0') == 0
    one, other = (read(tmp_path / out / 'masks/p0.png') for out in 'ab')
    assert (one != other).mean() < 0.002


def test_large_images_are_cut_by_themselves(plain, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(predictor, 'WHOLE_PIXELS', 2000)
    monkeypatch.setattr(predictor, 'TILE', 48)
    write_photos(tmp_path / 'in', [(36, 48), (60, 70)])
    assert call(plain, tmp_path / 'in', '--out', tmp_path / 'out') == 0
    said = capsys.readouterr().out
    assert 'predicted whole: 1 images' in said and 'in tiles of 48 x 48 pixels: 1 images' in said
    assert read(tmp_path / 'out/masks/p1.png').shape == (60, 70)


# -- masks that come back --------------------------------------------------------------------------


def test_masks_in_the_users_own_values_are_read_as_labels(plain, tmp_path):
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    for kind in ('index', 'palette', 'own'):
        assert call(plain, path, '--out', tmp_path / kind, '--masks', kind) == 0
    index = read(tmp_path / 'index/masks/p0.png')
    own = OwnData(plain.parent / 'own/data.yaml')
    written = tmp_path / 'own/masks/p0.png'
    assert set(np.unique(read(written))) <= {7, 100, 3}
    np.testing.assert_array_equal(own.mask_map.read(str(written)), index)
    palette = Image.open(tmp_path / 'palette/masks/p0.png')
    np.testing.assert_array_equal(np.asarray(palette), index)
    colours = np.array([[10 * i, 200, 255 - i] for i in range(3)], np.uint8)
    np.testing.assert_array_equal(np.asarray(palette.convert('RGB')), colours[index])


def test_masks_in_the_users_own_colours(plain, tmp_path):
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    data = tmp_path / 'colours.yaml'
    data.write_text(
        'labeled: {images: a, masks: b}\n'
        'classes: {soil: "#102030", crop: ["#00ff00", "#00aa00"], weed: [[255, 0, 1]]}\n'
    )
    options = ('--masks', 'own', '--data', data)
    assert call(plain, path, '--out', tmp_path / 'out', *options) == 0
    assert call(plain, path, '--out', tmp_path / 'index') == 0
    found = OwnData(data).mask_map.read(str(tmp_path / 'out/masks/p0.png'))
    np.testing.assert_array_equal(found, read(tmp_path / 'index/masks/p0.png'))


@pytest.mark.parametrize('kind', ['polygons', 'rle'])
def test_coco_json_is_read_by_init(plain, tmp_path, kind):
    pytest.importorskip('pycocotools')
    write_photos(tmp_path / 'in/sub', [(36, 48), (30, 20)])
    assert call(plain, tmp_path / 'in', '--out', tmp_path / 'out', '--coco', kind) == 0
    export = coco_reader.read(tmp_path / 'out/coco.json', tmp_path / 'in')
    assert export.classes == list(NAMES)
    assert [image.path for image in export.images] == sorted((tmp_path / 'in/sub').iterdir())
    assert all(image.regions for image in export.images)
    content = json.loads((tmp_path / 'out/coco.json').read_text())
    areas = sum(entry['area'] for entry in content['annotations'] if entry['image_id'] == 1)
    assert areas >= 0.9 * 36 * 48


# -- files -----------------------------------------------------------------------------------------


def test_a_folder_with_all_kinds_of_files(plain, tmp_path, capsys):
    folder, out = tmp_path / 'in', tmp_path / 'in/predictions'
    write_photos(folder / 'a/b', [(36, 48)])
    write_photos(folder, [(36, 48)], seed=1, suffix='.jpg')
    write_photos(folder, [(36, 48)], seed=2, suffix='.png')
    (folder / 'broken.jpg').write_bytes(b'nothing')
    whole = (folder / 'p0.jpg').read_bytes()
    (folder / 'short.jpg').write_bytes(whole[: len(whole) // 2])
    (folder / 'notes.txt').write_text('x')
    (folder / 'film.mp4').write_text('x')
    write_photos(folder / '.hidden', [(36, 48)])
    assert call(plain, folder, '--out', out) == 1
    said = capsys.readouterr().out
    assert '2 files could not be read:' in said and 'broken.jpg: ' in said and 'short.jpg: ' in said
    assert '1 names belong to several files' in said and 'p0' in said
    assert '1 videos were left out' in said and '1 x .txt' in said
    written = sorted(p.relative_to(out / 'masks').as_posix() for p in (out / 'masks').rglob('*.*'))
    assert written == ['a/b/p0.png', 'p0.jpg.png', 'p0.png.png']
    images = {row['image'] for row in csv.DictReader((out / 'areas.csv').open())}
    assert images == {'a/b/p0.png', 'p0.jpg', 'p0.png'}
    # its own results are no images of the folder
    assert call(plain, folder, '--out', out, '--overwrite') == 1
    assert '3 images' in capsys.readouterr().out


def test_turned_photographs_have_masks_of_the_upright_picture(plain, tmp_path, capsys):
    (path,) = write_photos(tmp_path / 'plain', [(36, 48)])
    upright = Image.open(path)
    (tmp_path / 'in').mkdir()
    tag = Image.Exif()
    tag[0x0112] = 6
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / 'in/p0.png', exif=tag)
    assert stored.size == (36, 48)
    assert call(plain, tmp_path / 'in', '--out', tmp_path / 'out') == 0
    assert '1 photographs are turned by their orientation tag' in capsys.readouterr().out
    assert call(plain, path, '--out', tmp_path / 'expected') == 0
    mask = read(tmp_path / 'out/masks/p0.png')
    assert mask.shape == (36, 48)
    np.testing.assert_array_equal(mask, read(tmp_path / 'expected/masks/p0.png'))


def test_overlays_of_very_large_images_are_reduced(plain, tmp_path, monkeypatch):
    from mmseg_semi.runtime.prediction import outputs

    monkeypatch.setattr(outputs, 'OVERLAY_SIDE', 20)
    (path,) = write_photos(tmp_path / 'in', [(50, 70)])
    assert call(plain, path, '--out', tmp_path / 'out', '--tile', '32') == 0
    assert read(tmp_path / 'out/overlays/p0.jpg').shape == (13, 18, 3)


# -- what is refused -------------------------------------------------------------------------------


def test_a_model_that_is_none(plain, tmp_path, capsys):
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    out = ('--out', tmp_path / 'out')
    assert "'gone.pth' does not exist" in refused(capsys, 'gone.pth', path, *out)
    assert 'is a folder without a complete checkpoint' in refused(
        capsys, tmp_path / 'in', path, *out
    )
    assert 'is a config' in refused(capsys, plain / 'mine.py', path, *out)
    (tmp_path / 'cut.pth').write_bytes((plain / 'iter_2.pth').read_bytes()[:5000])
    assert 'is cut short' in refused(capsys, tmp_path / 'cut.pth', path, *out)
    shutil.copy(plain / 'iter_2.pth', tmp_path / 'alone.pth')
    assert 'no config stands beside' in refused(capsys, tmp_path / 'alone.pth', path, *out)
    config = ('--config', plain / 'mine.py')
    assert call(tmp_path / 'alone.pth', path, *out, *config) == 0
    (tmp_path / 'one.py').write_text('a = 1')
    assert "has no key 'model'" in refused(
        capsys, tmp_path / 'alone.pth', path, *out, '--overwrite'
    )
    (tmp_path / 'two.py').write_text('a = 1')
    assert '2 configs stand beside' in refused(
        capsys, tmp_path / 'alone.pth', path, *out, '--overwrite'
    )
    assert 'gone.py' in refused(capsys, plain, path, '--out', tmp_path / 'o', '--config', 'gone.py')


def test_a_checkpoint_of_another_class_count(plain, tmp_path, capsys):
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    torch.save(checkpoint(5, ('a', 'b', 'c', 'd', 'e')), tmp_path / 'five.pth')
    shutil.copy(plain / 'mine.py', tmp_path)
    said = refused(capsys, tmp_path / 'five.pth', path, '--out', tmp_path / 'out')
    assert 'has 5 classes, but the config' in said and 'has 3' in said
    assert not (tmp_path / 'out').exists()


def test_a_project_without_a_checkpoint_and_with_one(plain, tmp_path, capsys):
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    project = tmp_path / 'project'
    project.mkdir()
    shutil.copy(plain / 'mine.py', project / 'config.py')
    assert 'train it first' in refused(capsys, project, path, '--out', tmp_path / 'out')
    (project / 'work_dirs/config').mkdir(parents=True)
    shutil.copy(plain / 'iter_2.pth', project / 'work_dirs/config')
    assert call(project, path, '--out', tmp_path / 'out') == 0


@pytest.mark.parametrize('options, sentence', [
    (['--tile', '5'], '--tile is 5, expected 0 or at least 32 pixels'),
    (['--tile', '-1'], '--tile is -1, expected'),
    (['--overlap', '0.7'], '--overlap is 0.7, expected a share of 0 to 0.5'),
    (['--batch', '0'], '--batch is 0'),
    (['--what', 'mask'], "--what is 'mask', expected some of masks, overlays"),
    (['--masks', 'own', '--data', 'gone.yaml'], 'gone.yaml does not exist'),
    (['--device', 'cuda:9'], "--device 'cuda:9' cannot be used"),
])  # fmt: skip
def test_options_that_cannot_work(options, sentence, plain, tmp_path, capsys):
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    with pytest.raises(SystemExit) as end:
        predict.main([str(plain), str(path), '--out', str(tmp_path / 'out'), *options])
    assert end.value.code == 2 and sentence in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_inputs_that_cannot_work(plain, tmp_path, capsys):
    out = ('--out', tmp_path / 'out')
    assert "'gone' does not exist" in refused(capsys, plain, 'gone', *out)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty/a.txt').write_text('x')
    assert 'holds no image (found: 1 x .txt)' in refused(capsys, plain, tmp_path / 'empty', *out)
    paths = write_photos(tmp_path / 'in', [(36, 48)])
    assert 'holds files' in refused(capsys, plain, paths[0], '--out', tmp_path / 'empty')
    assert 'is a file' in refused(capsys, plain, paths[0], '--out', paths[0])
    said = refused(capsys, plain, tmp_path / 'in', '--out', tmp_path / 'in', '--overwrite')
    assert 'is the folder of the images' in said


def test_own_values_need_a_data_file_of_these_classes(tmp_path, capsys):
    run = tiny_run(tmp_path / 'model', own=False)
    (path,) = write_photos(tmp_path / 'in', [(36, 48)])
    options = (path, '--out', tmp_path / 'out', '--masks', 'own')
    assert 'no data file says' in refused(capsys, run, *options)
    (tmp_path / 'two.yaml').write_text('labeled: {images: a, masks: b}\nclasses: [x, y]\n')
    said = refused(capsys, run, *options, '--data', tmp_path / 'two.yaml')
    assert 'two.yaml has 2 classes, but the model has 3' in said
    # the model itself predicts
    assert call(run, path, '--out', tmp_path / 'out') == 0


# -- videos ----------------------------------------------------------------------------------------


def write_video(path, frames: int, code: str = 'MJPG') -> list[np.ndarray]:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (64, 48))
    assert writer.isOpened()
    rng, pictures = np.random.default_rng(0), []
    for _ in range(frames):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        pictures.append(cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC))
        writer.write(pictures[-1])
    writer.release()
    return pictures


def test_a_video(plain, tmp_path, capsys):
    write_video(tmp_path / 'film.avi', 6)
    options = ('--what', 'masks,overlays,areas')
    assert call(plain, tmp_path / 'film.avi', '--out', tmp_path / 'out', *options) == 0
    assert '6 frames, ' in capsys.readouterr().out
    masks = sorted((tmp_path / 'out/masks/film').iterdir())
    assert [path.name for path in masks] == [f'{index:06d}.png' for index in range(6)]
    capture = cv2.VideoCapture(str(tmp_path / 'film.avi'))
    model = reference(plain)
    for path in masks:
        expected = inference_model(model, capture.read()[1]).pred_sem_seg.data[0].numpy()
        np.testing.assert_array_equal(read(path), expected)
    painted = cv2.VideoCapture(str(tmp_path / 'out/overlays/film.mp4'))
    assert painted.get(cv2.CAP_PROP_FRAME_COUNT) == 6 and painted.read()[1].shape == (48, 64, 3)
    assert [p.name for p in (tmp_path / 'out/overlays').iterdir()] == ['film.mp4']
    rows = list(csv.DictReader((tmp_path / 'out/areas.csv').open()))
    assert len(rows) == 18 and rows[-1]['image'] == 'film/000005'


def test_a_video_that_ends_early(plain, tmp_path, capsys):
    write_video(tmp_path / 'film.avi', 30)
    content = (tmp_path / 'film.avi').read_bytes()
    (tmp_path / 'film.avi').write_bytes(content[: int(0.6 * len(content))])
    assert call(plain, tmp_path / 'film.avi', '--out', tmp_path / 'out') == 1
    said = capsys.readouterr().out
    assert 'of the 30 frames that its header announces; what was read is written' in said
    painted = cv2.VideoCapture(str(tmp_path / 'out/overlays/film.mp4'))
    assert 10 <= painted.get(cv2.CAP_PROP_FRAME_COUNT) < 25


def test_a_video_that_cannot_be_opened(plain, tmp_path, capsys):
    (tmp_path / 'film.mp4').write_bytes(b'nothing')
    out = ('--out', tmp_path / 'out')
    assert 'cannot be opened by OpenCV' in refused(capsys, plain, tmp_path / 'film.mp4', *out)
    write_video(tmp_path / 'film.avi', 2)
    assert 'a video has no image files' in refused(
        capsys, plain, tmp_path / 'film.avi', *out, '--coco'
    )


# -- GeoTIFFs --------------------------------------------------------------------------------------


def write_geo(path, image: np.ndarray, nodata=None, crs='EPSG:32633', **options):
    rasterio = pytest.importorskip('rasterio')
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        height=image.shape[0],
        width=image.shape[1],
        count=image.shape[2],
        dtype=image.dtype,
        crs=crs,
        transform=rasterio.transform.from_origin(500000, 5e6, 0.5, 0.25),
        nodata=nodata,
        **options,
    ) as target:
        target.write(image.transpose(2, 0, 1))
    return rasterio


def test_a_geotiff_keeps_its_georeference(plain, tmp_path, capsys):
    (path,) = write_photos(tmp_path / 'photo', [(90, 120)])
    image = read(path).copy()
    image[image.max(2) == 0] = 1
    Image.fromarray(image).save(path)
    (tmp_path / 'in').mkdir()
    hole = image.copy()
    hole[20:50, 30:60] = 0
    photometric = dict(photometric='RGB')
    rasterio = write_geo(tmp_path / 'in/whole.tif', image, **photometric)
    write_geo(tmp_path / 'in/hole.tif', hole, nodata=0, **photometric)
    out = tmp_path / 'out'
    what = ('--what', 'masks,overlays,confidence,areas', '--tile', '48')
    assert call(plain, tmp_path / 'in', '--out', out, *what, '--masks', 'palette') == 0
    assert call(plain, path, '--out', tmp_path / 'plain', *what) == 0
    with (
        rasterio.open(out / 'masks/whole.tif') as mask,
        rasterio.open(tmp_path / 'in/whole.tif') as source,
    ):
        assert mask.crs == source.crs and mask.transform == source.transform
        assert mask.nodata == 255 and mask.dtypes == ('uint8',)
        assert mask.colormap(1)[2][:3] == (20, 200, 253)
        expected = read(tmp_path / 'plain/masks/p0.png')
        np.testing.assert_array_equal(mask.read(1), expected)
    with rasterio.open(out / 'masks/hole.tif') as mask:
        labels = mask.read(1)
        inside = np.zeros_like(labels, bool)
        inside[20:50, 30:60] = True
        np.testing.assert_array_equal(labels == 255, inside)
    with rasterio.open(out / 'confidence/hole.tif') as confidence:
        values = confidence.read(1)
        assert (
            confidence.crs == mask.crs and not values[inside].any() and values[~inside].min() > 80
        )
    rows = list(csv.DictReader((out / 'areas.csv').open()))
    rows = {
        name: [row for row in rows if row['image'] == name] for name in ('hole.tif', 'whole.tif')
    }
    assert sum(int(row['pixels']) for row in rows['hole.tif']) == 90 * 120 - 900
    assert sum(float(row['share']) for row in rows['hole.tif']) == pytest.approx(1, abs=1e-5)
    for row in rows['whole.tif']:
        assert float(row['square_metres']) == pytest.approx(int(row['pixels']) * 0.125)
    assert '(no data)' in capsys.readouterr().out


def test_degrees_have_no_square_metres(plain, tmp_path):
    image = np.zeros((36, 48, 3), np.uint8)
    write_geo(tmp_path / 'a.tif', image, crs='EPSG:4326', photometric='RGB')
    assert call(plain, tmp_path / 'a.tif', '--out', tmp_path / 'out') == 0
    rows = csv.DictReader((tmp_path / 'out/areas.csv').open())
    assert {row['square_metres'] for row in rows} == {''}


@pytest.mark.parametrize('compress', ['lzw', 'deflate'])
def test_windows_have_the_pixels_of_the_loader(plain, tmp_path, compress):
    """16 bits with a range: what the loader makes of the whole file."""
    from mmseg_semi.data.transforms.loading import LoadAnyImage
    from mmseg_semi.runtime.prediction.geo import GeoImage

    rng = np.random.default_rng(0)
    image = rng.integers(0, 4096, (40, 50, 3)).astype(np.uint16)
    path = tmp_path / 'deep.tif'
    write_geo(
        path, image, photometric='RGB', compress=compress, tiled=True, blockxsize=16, blockysize=16
    )
    loader = LoadAnyImage(value_range=(0, 4095))
    expected = loader(dict(img_path=str(path)))['img']
    source = GeoImage(path, loader)
    np.testing.assert_array_equal(source.read(5, 7, 30, 50), expected[5:30, 7:50])
    assert source.missing(5, 7, 30, 50) is None
    source.close()


def test_without_rasterio_a_georeference_is_not_dropped_silently(
    plain, tmp_path, capsys, monkeypatch
):
    image = read(write_photos(tmp_path / 'photo', [(36, 48)])[0])
    write_geo(tmp_path / 'a.tif', image, photometric='RGB')
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    said = refused(capsys, plain, tmp_path / 'a.tif', '--out', tmp_path / 'out')
    assert "pip install 'mmseg_semi[geo]'" in said and '--drop-georeference' in said
    assert not (tmp_path / 'out').exists()
    assert call(plain, tmp_path / 'a.tif', '--out', tmp_path / 'out', '--drop-georeference') == 0
    assert call(plain, tmp_path / 'photo', '--out', tmp_path / 'expected') == 0
    np.testing.assert_array_equal(
        read(tmp_path / 'out/masks/a.png'), read(tmp_path / 'expected/masks/p0.png')
    )
