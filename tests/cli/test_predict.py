"""mmseg-semi predict and rank, on a run of seconds: what is written, against MMSegmentation's own inference and by hand."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import torch
from mmseg.apis import inference_model, init_model
from PIL import Image
from rasterio.transform import from_origin
from tiny_semi import tiny_data
from whole_runs import train

from mmseg_semi.cli import init, predict, publish, rank
from mmseg_semi.data.own_data import OwnData

COLOURS = [
    [int(v) for v in colour] for colour in np.random.default_rng(1).integers(0, 255, (11, 3))
]


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    """The folder of a finished run of a few steps."""
    cfg = tiny_data(tmp_path_factory.mktemp('run'), 'fixmatch', iterations=2)
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.dump(cfg.filename)
    train(cfg, Path(cfg.work_dir))
    return Path(cfg.work_dir)


@pytest.fixture(scope='module')
def published(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('published')
    publish.main(
        [str(config_of(run)), str(run / 'iter_2.pth'), '--network', 'student', '--out', str(out)]
    )
    return next(out.glob('*.pth'))


def config_of(run: Path) -> Path:
    return next(run.glob('*.py'))


@pytest.fixture
def photos(tmp_path) -> Path:
    """Images of two sizes, one in a subfolder."""
    folder = tmp_path / 'photos'
    for index, name in enumerate(('a.png', 'b.jpg', 'sub/c.png')):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(
            0, 255, (40 + 8 * (index == 2), 56, 3), np.uint8
        )
        Image.fromarray(pixels).save(path)
    return folder


def call(command, *arguments) -> int:
    return command.main([*map(str, arguments)]) or 0


def refusal(capsys, command, *arguments) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ending:
        call(command, *arguments)
    assert ending.value.code == 2
    return capsys.readouterr().err


def labels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_masks_are_those_of_mmsegmentation(published, photos, tmp_path):
    out = tmp_path / 'out'
    assert (
        call(
            predict,
            published,
            photos,
            '--out',
            out,
            '--device',
            'cpu',
            '--what',
            'masks,areas,confidence',
        )
        == 0
    )
    model = init_model(str(published.with_suffix('.py')), str(published), device='cpu')
    rows = list(csv.DictReader((out / 'areas.csv').open()))
    for name in ('a.png', 'b.jpg', 'sub/c.png'):
        result = inference_model(model, str(photos / name))
        expected = result.pred_sem_seg.data[0].numpy()
        mask = (out / 'masks' / name).with_suffix('.png')
        assert np.array_equal(labels(mask), expected)
        share = result.seg_logits.data.softmax(0).amax(0).numpy()
        grey = labels((out / 'confidence' / name).with_suffix('.png'))
        assert np.abs(grey / 255 - share).max() < 0.003
        own = {row['class']: int(row['pixels']) for row in rows if row['image'] == name}
        assert list(own.values()) == np.bincount(expected.ravel(), minlength=11).tolist()
        assert sum(float(row['share']) for row in rows if row['image'] == name) == pytest.approx(
            1, abs=1e-4
        )
    assert not (out / 'overlays').exists()


def test_the_folder_of_a_run_predicts_what_its_validation_prefers(run, photos, tmp_path, capsys):
    checkpoint = torch.load(run / 'iter_2.pth', weights_only=True)
    entry = checkpoint['message_hub']['runtime_info']['results'][-1]
    other = tmp_path / 'run'
    shutil.copytree(run, other)
    for better, worse in (('student', 'teacher'), ('teacher', 'student')):
        entry.update({f'{better}/mIoU': 50.0, f'{worse}/mIoU': 40.0})
        torch.save(checkpoint, other / 'iter_2.pth')
        capsys.readouterr()
        call(predict, other, photos / 'a.png', '--out', tmp_path / better, '--what', 'masks')
        assert f'iter_2.pth, {better}, 11 classes' in capsys.readouterr().out
    call(predict, other, photos / 'a.png', '--out', tmp_path / 'asked', '--network', 'student')
    assert 'iter_2.pth, student, 11 classes' in capsys.readouterr().out


def test_a_project_folder_is_its_run(run, photos, tmp_path):
    project = tmp_path / 'project'
    shutil.copytree(run, project / 'work_dirs/config')
    shutil.copyfile(config_of(run), project / 'config.py')
    assert call(predict, project, photos / 'a.png', '--out', tmp_path / 'out') == 0
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'masks',
        'overlays',
        'areas.csv',
    }


def test_own_values_come_back_as_labels(published, photos, tmp_path):
    names = json.loads(json.dumps([f'c{i}' for i in range(11)]))
    data = dict(
        labeled=dict(images='photos', masks='masks'),
        classes={name: 10 * index + 3 for index, name in enumerate(names)},
        ignore=200,
    )
    (tmp_path / 'data.json').write_text(json.dumps(data))
    for kind, out in (('index', 'plain'), ('own', 'own'), ('palette', 'palette')):
        extra = ['--data', tmp_path / 'data.json'] if kind == 'own' else []
        call(
            predict,
            published,
            photos / 'a.png',
            '--out',
            tmp_path / out,
            '--masks',
            kind,
            '--what',
            'masks',
            *extra,
        )
    index = labels(tmp_path / 'plain/masks/a.png')
    assert np.array_equal(labels(tmp_path / 'own/masks/a.png'), 10 * index + 3)
    read = OwnData(tmp_path / 'data.json').mask_map.read(str(tmp_path / 'own/masks/a.png'))
    assert np.array_equal(read, index)
    assert Image.open(tmp_path / 'palette/masks/a.png').mode == 'P'
    assert np.array_equal(labels(tmp_path / 'palette/masks/a.png'), index)


@pytest.mark.parametrize('kind', ['polygons', 'rle'])
def test_coco_annotations_come_back_as_labels(published, photos, tmp_path, kind):
    out = tmp_path / 'out'
    call(predict, published, photos, '--out', out, '--what', 'masks', '--coco', kind)
    (tmp_path / 'pool').mkdir()
    Image.new('RGB', (56, 40)).save(tmp_path / 'pool/other.png')
    arguments = [
        out / 'coco.json',
        '--images',
        photos,
        '--unlabeled',
        tmp_path / 'pool',
        '--out',
        tmp_path / 'project',
    ]
    call(init, *arguments, '--unlabelled-pixels', 'ignore', '--val', '0.34')
    own = OwnData(tmp_path / 'project/data.yaml')
    written = json.loads((out / 'coco.json').read_text())
    names = [category['name'] for category in written['categories']]
    pairs = [pair for part in ('labeled', 'val') for pair in own.files(part)]
    assert len(pairs) == 3
    for pair in pairs:
        mask = own.mask_map.read(pair['seg_map_path'])
        stem = Path(pair['img_path']).stem
        truth = labels(next((out / 'masks').rglob(f'{stem.rpartition("_")[2]}.png')))
        lut = np.array([*map(names.index, own.mask_map.names), *[255] * 255])
        found = lut[np.minimum(mask, 255)]
        if kind == 'rle':
            assert np.array_equal(np.where(mask == 255, 255, found), truth)
        else:  # corners within half a pixel
            assert (found != truth).mean() < 0.15


def test_unreadable_files_are_listed_and_the_rest_is_done(published, photos, tmp_path, capsys):
    (photos / 'broken.png').write_bytes((photos / 'a.png').read_bytes()[:300])
    (photos / 'notes.txt').write_text('x')
    assert call(predict, published, photos, '--out', tmp_path / 'out') == 1
    said = capsys.readouterr().out
    assert '1 files could not be read' in said and 'broken.png' in said and '1 x .txt' in said
    assert {path.stem for path in (tmp_path / 'out/masks').rglob('*.png')} == {'a', 'b', 'c'}


def test_names_that_differ_in_their_suffix_keep_it(published, photos, tmp_path):
    shutil.copyfile(photos / 'b.jpg', photos / 'a.jpg')
    call(predict, published, photos, '--out', tmp_path / 'out', '--what', 'masks')
    assert {path.name for path in (tmp_path / 'out/masks').iterdir()} == {
        'a.jpg.png',
        'a.png.png',
        'b.png',
        'sub',
    }


def test_a_turned_photograph_has_a_turned_mask(published, photos, tmp_path, capsys):
    image = Image.open(photos / 'b.jpg')
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(photos / 'turned.jpg', exif=exif)
    call(predict, published, photos / 'turned.jpg', '--out', tmp_path / 'out', '--what', 'masks')
    assert labels(tmp_path / 'out/masks/turned.png').shape == (
        56,
        40,
    )  # 40 rows of 56 columns lie on their side
    assert '1 photographs are turned by their orientation tag' in capsys.readouterr().out


def test_tiles_cover_a_large_image(published, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (150, 230, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'large.png')
    call(predict, published, tmp_path / 'large.png', '--out', tmp_path / 'out', '--tile', 64)
    assert labels(tmp_path / 'out/masks/large.png').shape == (150, 230)
    assert Image.open(tmp_path / 'out/overlays/large.jpg').size == (230, 150)


def test_a_geotiff_keeps_its_georeference(published, tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (3, 96, 128), np.uint8)
    pixels[:, :10, :20] = 0
    profile = dict(
        driver='GTiff', width=128, height=96, count=3, dtype='uint8', crs='EPSG:32633', nodata=0
    )
    with rasterio.open(
        tmp_path / 'field.tif', 'w', transform=from_origin(500000, 5300000, 0.5, 0.5), **profile
    ) as file:
        file.write(pixels)
    out = tmp_path / 'out'
    call(predict, published, tmp_path / 'field.tif', '--out', out, '--tile', 48)
    with rasterio.open(out / 'masks/field.tif') as mask:
        assert mask.crs.to_epsg() == 32633 and mask.transform == from_origin(
            500000, 5300000, 0.5, 0.5
        )
        found = mask.read(1)
        assert mask.nodata == 255
    assert (found[:10, :20] == 255).all() and (found[10:] < 11).all()
    rows = list(csv.DictReader((out / 'areas.csv').open()))
    assert sum(int(row['pixels']) for row in rows) == 96 * 128 - 200
    for row in rows:
        assert float(row['square_metres']) == pytest.approx(int(row['pixels']) * 0.25)


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, (56, 40))
    for index in range(frames):
        writer.write(np.full((40, 56, 3), 20 * index, np.uint8))
    writer.release()


def test_a_video(published, tmp_path, capsys):
    write_video(tmp_path / 'drive.avi', 6)
    out = tmp_path / 'out'
    assert (
        call(
            predict,
            published,
            tmp_path / 'drive.avi',
            '--out',
            out,
            '--what',
            'masks,overlays,areas',
        )
        == 0
    )
    assert len(list((out / 'masks').rglob('*.png'))) == 6
    (film,) = [path for path in out.rglob('*') if path.suffix in ('.mp4', '.avi')]
    reader = cv2.VideoCapture(str(film))
    count = 0
    while reader.read()[0]:
        count += 1
    assert count == 6 and '6 frames' in capsys.readouterr().out


def test_a_video_that_ends_early_keeps_what_was_read(published, tmp_path, capsys):
    path = tmp_path / 'drive.avi'
    write_video(path, 5)
    content = bytearray(path.read_bytes())
    # the header announces 30 frames: in its main part, and in that of the stream
    for mark, offset in ((b'avih', 24), (b'strh', 40)):
        place = content.index(mark) + offset
        assert int.from_bytes(content[place : place + 4], 'little') == 5
        content[place : place + 4] = (30).to_bytes(4, 'little')
    path.write_bytes(content)
    status = call(predict, published, path, '--out', tmp_path / 'out', '--what', 'masks')
    said = capsys.readouterr().out
    assert status == 1 and 'it ends after 5 of the 30 frames that its header announces' in said
    assert len(list((tmp_path / 'out/masks').rglob('*.png'))) == 5


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['gone.pth', 'photos'], "model 'gone.pth' does not exist; give a published .pth file"),
        (['MODEL', 'gone'], "'gone' does not exist; give an image, a video or a folder"),
        (['MODEL', 'empty'], "'empty' holds no image (found: nothing)"),
        (['MODEL', 'photos', '--tile', '5'], '--tile is 5, expected 0 or at least 32 pixels'),
        (
            ['MODEL', 'photos', '--what', 'mask'],
            "--what is 'mask', expected some of masks, overlays",
        ),
        (['MODEL', 'photos', '--network', 'teacher'], 'is one plain network; leave the option out'),
        (['MODEL', 'photos', '--device', 'cuda:7'], "--device 'cuda:7' cannot be used"),
        (['empty', 'photos'], "model 'empty' is a folder without a complete checkpoint"),
    ],
)
def test_mistakes(published, photos, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    arguments = [published if argument == 'MODEL' else argument for argument in arguments]
    assert sentence in refusal(capsys, predict, *arguments, '--out', 'out')
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_holds_files_is_kept(published, photos, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/mine.txt').write_text('x')
    assert 'holds files; give a new folder' in refusal(
        capsys, predict, published, photos, '--out', tmp_path / 'out'
    )
    call(predict, published, photos, '--out', tmp_path / 'out', '--overwrite')
    assert (tmp_path / 'out/mine.txt').read_text() == 'x'


def test_a_checkpoint_of_another_class_count(published, photos, tmp_path, capsys):
    text = published.with_suffix('.py').read_text()
    (tmp_path / 'm.py').write_text(text.replace('num_classes=11', 'num_classes=4'))
    shutil.copyfile(published, tmp_path / 'm.pth')
    sentence = refusal(capsys, predict, tmp_path / 'm.pth', photos, '--out', tmp_path / 'out')
    assert 'has 11 classes' in sentence and 'has 4' in sentence


def test_rank_lists_what_to_annotate_next(run, photos, tmp_path, capsys):
    cfg_images = sorted((run.parent / 'data/images/train').iterdir())
    labeled = run.parent / 'data' / 'labeled.txt'
    shutil.copyfile(photos / 'a.png', photos / 'twin.png')
    names = {path.name for path in cfg_images}
    if labeled.is_file():
        first = labeled.read_text().split()[0]
        source = next(path for path in cfg_images if path.stem == Path(first).stem)
        shutil.copyfile(source, photos / 'labelled_already.png')
    out = tmp_path / 'rank'
    assert call(rank, run, photos, '--n', 3, '--out', out, '--copy', tmp_path / 'next') == 0
    rows = list(csv.DictReader((out / 'rank.csv').open()))
    assert [int(row['rank']) for row in rows] == [1, 2, 3] and names
    assert 'labelled_already.png' not in {row['image'] for row in rows}
    # one of two equal images is chosen before the other two are used up
    assert not {'a.png', 'twin.png'} <= {row['image'] for row in rows}
    assert all(0 <= float(row['uncertainty']) <= 1 for row in rows)
    assert {
        p.relative_to(tmp_path / 'next').as_posix()
        for p in (tmp_path / 'next').rglob('*')
        if p.is_file()
    } == {row['image'] for row in rows}
    assert Image.open(out / 'rank.jpg').size[0] > 0
    assert 'ranked beside' in capsys.readouterr().out


def test_rank_refuses_what_cannot_be_ranked(run, photos, tmp_path, capsys):
    assert '--n is 0, expected at least 1' in refusal(
        capsys, rank, run, photos, '--n', 0, '--out', tmp_path / 'x'
    )
