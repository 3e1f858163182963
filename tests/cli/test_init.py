"""``mmseg-semi init`` as a user types it, and the commands that follow in its folder."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.config import Config
from PIL import Image

from mmseg_semi import cli
from mmseg_semi.runtime import configs, devices

SHORT = [
    '--cfg-options',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_cfg.val_interval=8',
    'default_hooks.checkpoint.interval=8',
]
DATA = Path(__file__).resolve().parents[1] / 'preparing/annotations/exports'


def run(*arguments: object) -> int | str | None:
    """Exit status of a command."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code
    finally:
        devices.end_workers()


def said(capsys) -> tuple[str, str]:
    """Output, with the lines of tables joined, and errors."""
    captured = capsys.readouterr()
    return ' '.join(captured.out.replace('│', ' ').split()), captured.err


def scene(path: Path, seed: int) -> list[float]:
    """Write an image with a bright box; the box as a COCO polygon."""
    rng = np.random.default_rng(seed)
    left, top = rng.integers(4, 20, 2).tolist()
    pixels = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
    pixels[top : top + 20, left : left + 30] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return [left, top, left + 30, top, left + 30, top + 20, left, top + 20]


def write_coco(root: Path, annotated: int = 6, others: int = 3) -> Path:
    images, annotations = [], []
    for i in range(annotated + others):
        ring = scene(root / f'photos/i{i}.png', i)
        images.append(dict(id=i, file_name=f'photos/i{i}.png', width=64, height=48))
        if i < annotated:
            entry = dict(id=i, image_id=i, category_id=1, segmentation=[ring], iscrowd=0)
            annotations.append(entry)
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='box')])
    (root / 'export.json').write_text(json.dumps(content))
    for i in range(2):
        scene(root / f'more/m{i}.png', 100 + i)
    shutil.copy(root / 'photos/i0.png', root / 'more/same.png')
    return root / 'export.json'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmseg-semi'])
    return tmp_path


def test_from_an_export_to_a_tested_model(here, capsys, monkeypatch):
    write_coco(here)
    short = ('--iterations', 8, '--frame-size', 65)
    assert run('init', 'export.json', '--unlabeled', 'more', '--out', 'boxes', *short) == 0
    out, _ = said(capsys)
    for text in (
        'export COCO: export.json',
        'annotated images 6: 5 train, 1 validate',
        'unlabelled images 5',
        'annotated ones or copies of them, left out: 1',
        "unmarked pixels are the class 'background', for COCO data sets mark objects",
        'the later annotation is on top',
        'network EfficientNet-Lite0, FixMatch: there is no GPU',
        'box #800000 19.53% (5) 19.53% (1)',
        'next: cd boxes; mmseg-semi check; mmseg-semi train',
    ):
        assert text in out, text
    assert (here / 'boxes/images/train').is_dir() and not list(here.glob('.boxes*'))

    monkeypatch.chdir(here / 'boxes')
    assert run('check') == 0
    out, _ = said(capsys)
    assert 'box 19.53 % (5)' in out and 'errors: 0' in out

    assert not run('train', *SHORT)
    results = json.loads(Path('work_dirs/config/results.json').read_text())
    assert results['summary']['student/mIoU']['last_iter'] == 8
    assert not run('test', *SHORT[:5])
    assert run('publish') in (0, None)
    assert list(Path('work_dirs/config').glob('*.pth'))


def test_the_configs_hold_what_was_chosen(here):
    write_coco(here)
    assert run('init', 'export.json', '--frame-size', 385, '--iterations', 400) == 0
    for name in ('config', 'supervised'):
        cfg = configs.load_config(here / f'project/{name}.py')
        assert cfg.model.student.decode_head.num_classes == 2
        sources = cfg.train_dataloader.dataset
        assert sources.labeled.data_file == cfg.val_dataloader.dataset.data_file
        assert Path(sources.labeled.data_file) == here / 'project/data.yaml'
        assert sources.labeled.pipeline[2].crop_size == (241, 241)
        assert cfg.val_dataloader.dataset.pipeline[1].scale == (385, 385)
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == 400
        assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 50
        assert cfg.model.iters_per_epoch == 50
        assert (sources.unlabeled is None) == (name == 'supervised')
        kinds = [objective.type for objective in cfg.model.objectives]
        assert ('SelfTrainingObjective' in kinds) == (name == 'config')


@pytest.mark.parametrize('supervised', [False, True])
def test_the_configs_for_a_gpu(here, monkeypatch, supervised):
    from mmseg_semi.cli import init
    from mmseg_semi.preparing.projects import Machine

    monkeypatch.setattr(init, 'this_machine', lambda: Machine('a GPU', 9 * 2**30, 8))
    write_coco(here)
    assert run('init', 'export.json') == 0
    cfg = configs.load_config(here / f'project/{"supervised" if supervised else "config"}.py')
    assert cfg.model.student.backbone.depth == 50 and cfg.train_cfg.max_iters == 10000
    assert cfg.model.iters_per_epoch == 250 and cfg.train_cfg.val_interval == 500
    assert cfg.train_dataloader.batch_size == (2 if supervised else 4)
    assert (cfg.model.objectives[-1].type == 'DDFPObjective') != supervised
    assert ('flow' in cfg.default_hooks) != supervised


@pytest.mark.parametrize('folder', ['datumaro_coco', 'datumaro_voc_whole'])
def test_exports_of_datumaro_give_the_same_project(here, folder):
    assert run('init', DATA / folder) == 0
    content = yaml.safe_load(Path('project/data.yaml').read_text())
    assert content['classes'] == ['background', 'leaf', 'stone']
    masks = {path.stem: np.array(Image.open(path)) for path in Path('project/masks').rglob('*.png')}
    overlap, painted = np.zeros((2, 12, 16), np.uint8)
    overlap[2:8, 2:10], overlap[4:10, 6:12], painted[1:5, 3:9] = 1, 2, 2
    assert np.array_equal(masks['overlap'], overlap) and np.array_equal(masks['painted'], painted)
    assert [path.stem for path in Path('project/unlabeled').iterdir()] == ['nothing']


def test_labelme(here, capsys):
    assert run('init', DATA / 'labelme', '--unlabelled-pixels', 'ignore', '--line-width', 2) == 0
    content = yaml.safe_load(Path('project/data.yaml').read_text())
    assert content['classes'] == ['leaf', 'moss', 'stone']
    masks = {path.stem: np.array(Image.open(path)) for path in Path('project/masks').rglob('*.png')}
    assert set(np.unique(masks['all'])) == {0, 1, 2, 255}
    assert masks['turned'].shape == (20, 12) and (masks['turned'] == 1).sum() == 40
    assert masks['inside'].shape == (6, 8)
    out, _ = said(capsys)
    assert 'are ignored in training and evaluation, as --unlabelled-pixels says' in out
    assert 'export labelme, 6.3.1: ' in out and 'annotated as they are shown: 1' in out


def test_folders_of_masks_with_names_for_their_values(here, capsys):
    for i in range(4):
        scene(here / f'photos/{i}.png', i)
        if i < 3:
            (here / 'drawn').mkdir(exist_ok=True)
            values = np.repeat(np.uint8([0, 1, 2, 7]), 16)[None].repeat(48, 0)
            Image.fromarray(values).save(here / f'drawn/{i}.png')
    classes = ('--classes', 'ground=0', 'plant=1,2', 'ignore=7')
    assert run('init', '--images', 'photos', '--masks', 'drawn', *classes) == 0
    mask = np.array(Image.open(next((here / 'project/masks/train').iterdir())))
    assert mask[0].tolist() == [0] * 16 + [1] * 32 + [255] * 16
    assert run('init', 'project/data.yaml', '--out', 'again') == 0
    assert yaml.safe_load(Path('again/data.yaml').read_text())['classes'] == ['ground', 'plant']


def test_a_class_in_no_training_mask_is_a_warning(here, capsys):
    write_coco(here)
    content = json.loads((here / 'export.json').read_text())
    content['categories'].append(dict(id=2, name='rare'))
    (here / 'export.json').write_text(json.dumps(content))
    assert run('init', 'export.json') == 0
    assert "the class 'rare' is in no training mask: it cannot be learned" in said(capsys)[0]


def test_missing_images_are_listed_and_counted(here, capsys):
    write_coco(here)
    for name in ('i1', 'i3', 'i8'):
        (here / f'photos/{name}.png').unlink()
    assert run('init', 'export.json') == 0
    out, _ = said(capsys)
    assert 'annotated images 4: 3 train, 1 validate' in out
    assert 'missing files 2 annotated images: photos/i1.png, photos/i3.png; --images' in out
    assert 'missing files 1 other images: photos/i8.png' in out


MISTAKES = [
    (['init'], 'there is no EXPORT; give the file or folder that the annotation tool wrote'),
    (['init', 'gone.json'], 'the export gone.json does not exist'),
    (['init', 'photos'], 'photos is no export that is known, looked for were: COCO'),
    (
        ['init', 'export.json', '--out', 'photos'],
        'the project folder photos exists and is not empty',
    ),
    (['init', 'export.json', '--unlabeled', 'empty'], '--unlabeled empty holds no image'),
    (
        ['init', 'export.json', '--images', 'more'],
        'none of the 6 annotated images of export.json is',
    ),
    (['init', 'export.json', '--val', '2'], '--val 2: expected a share between 0 and 1'),
    (['init', 'export.json', '--classes', 'bax'], "did you mean 'box'?"),
    (['init', 'export.json', '--unlabelled-pixels', 'ignore'], 'gives the one class box'),
    (['init', '--masks', 'photos'], '--masks stands in place of EXPORT and needs --images'),
    (['init', 'export.json', '--frame-size', '8'], '--frame-size 8: expected at least 33'),
    (
        ['init', 'photos', '--format', 'voc'],
        'photos has no mask, looked for was photos/Segmentation',
    ),
    (['init', 'photos', '--format', 'labelme'], 'photos holds no file of labelme'),
    (
        ['init', 'photos', '--format', 'coco'],
        'photos holds no COCO file, looked for were photos/ann',
    ),
]


@pytest.mark.parametrize(('arguments', 'sentence'), MISTAKES)
def test_mistakes_are_one_sentence_and_leave_no_folder(here, capsys, arguments, sentence):
    write_coco(here)
    (here / 'empty').mkdir()
    before = sorted(here.iterdir())
    assert run(*arguments) == 2
    out, err = said(capsys)
    assert err.startswith('error: ') and sentence in err and err.count('\n') == 1
    assert sorted(here.iterdir()) == before


def test_commands_outside_of_a_project_ask_for_a_config(here, capsys):
    for command in ('train', 'test', 'publish', 'browse-dataset'):
        assert run(command) == 2
        assert 'the following arguments are required: config' in said(capsys)[1]
    Path('config.py').write_text('model = None\n')
    assert run('test') == 2
    assert (
        'work_dirs/config has no complete checkpoint of config.py; train first' in said(capsys)[1]
    )
    assert Config.fromfile('config.py').model is None
