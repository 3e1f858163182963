"""The generated scenes, their files, and the data set that reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmseg_semi.data.quickstart import QuickstartDataset
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import quickstart, quickstart_scenes
from mmseg_semi.preparing.quickstart import generate

ROOT = Path(__file__).parents[2]
SMALL = dict(num_labeled=8, num_unlabeled=6, num_val=4, size=(64, 80), progress=False)


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp('quickstart') / 'data'
    assert generate(root, seed=3, **SMALL)
    return root


@pytest.fixture(scope='module')
def full(tmp_path_factory):
    """The data of the demo, as it is by default."""
    root = tmp_path_factory.mktemp('quickstart') / 'data'
    generate(root, progress=False)
    return root


def names_in(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(small, tmp_path):
    generate(tmp_path / 'same', seed=3, **SMALL)
    assert contents(tmp_path / 'same') == contents(small)
    generate(tmp_path / 'other', seed=4, **SMALL)
    other = contents(tmp_path / 'other')
    assert other.keys() == contents(small).keys()
    for name, data in contents(small).items():
        if name.endswith('.png'):
            assert other[name] != data, name


def test_a_scene_does_not_depend_on_how_many_there_are(small, tmp_path):
    more = {**SMALL, 'num_labeled': 4, 'num_unlabeled': 14, 'num_val': 5}
    generate(tmp_path / 'more', seed=3, **more)
    here, there = contents(small), contents(tmp_path / 'more')
    shared = {name for name in here if name.startswith('images/')}
    assert len(shared) == 18 and all(here[name] == there[name] for name in shared)


def test_no_two_scenes_are_alike(full):
    images = [data for name, data in contents(full).items() if name.startswith('images/')]
    assert len(images) == len(set(images))


def test_files_are_what_the_lists_say(small):
    labeled, unlabeled = names_in(small / 'labeled.txt'), names_in(small / 'unlabeled.txt')
    assert (len(labeled), len(unlabeled)) == (8, 6)
    assert not set(labeled) & set(unlabeled)

    def stems(folder: str) -> set[str]:
        return {path.stem for path in (small / folder).iterdir()}

    assert stems('images/train') == {*labeled, *unlabeled}
    assert stems('labels/train') == set(labeled)  # no mask of an unlabelled image exists
    assert stems('images/val') == stems('labels/val') and len(stems('images/val')) == 4


def test_images_are_rgb_and_labels_are_class_indices(small):
    for path in small.glob('images/*/*.png'):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ('RGB', (80, 64))
    for path in small.glob('labels/*/*.png'):
        with Image.open(path) as label:
            assert (label.mode, label.size) == ('L', (80, 64))
            assert np.asarray(label).max() < len(QuickstartDataset.METAINFO['classes'])


@pytest.mark.parametrize('seed', range(5))
def test_every_class_is_among_the_labelled_scenes(seed, tmp_path):
    generate(tmp_path / 'data', seed, 8, 1, 1, (112, 112), progress=False)
    counts = np.zeros(6)
    for path in (tmp_path / 'data/labels/train').iterdir():
        counts += np.bincount(np.asarray(Image.open(path)).ravel(), minlength=6)
    # a required class covers 1 % of every fourth scene at least
    assert (counts >= 2 * 0.01 * 112 * 112).all()


def test_the_required_class_is_drawn():
    for index in quickstart_scenes.OPTIONAL:
        for seed in range(6):
            _, label = quickstart_scenes.draw_scene((7, seed), (64, 64), index)
            for wanted in (index, quickstart_scenes.SKY, quickstart_scenes.GROUND):
                assert (label == wanted).mean() >= quickstart_scenes.MIN_SHARE


def test_a_file_holds_the_scene_that_was_drawn(small):
    for split, code in (('train', 0), ('val', 1)):
        drawn = quickstart_scenes.draw_scene((3, code, 1), (64, 80), quickstart_scenes.OPTIONAL[1])
        for kind, expected in zip(('images', 'labels'), drawn, strict=True):
            with Image.open(small / kind / split / 'scene_00001.png') as file:
                assert (np.asarray(file) == expected).all()  # channels in order, nothing lost


def test_a_second_call_does_nothing(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob('*')}
    assert not generate(small, seed=3, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in small.rglob('*')} == before


@pytest.mark.parametrize(
    'damage',
    [
        lambda root: (root / 'images/train/scene_00009.png').unlink(),
        lambda root: (root / 'images/val/scene_00000.png').write_bytes(b'cut short'),
        lambda root: (root / 'labeled.txt').write_text('scene_00000\n'),
        lambda root: (root / 'labels/train/scene_00009.png').write_bytes(b'a mask'),
        lambda root: (root / quickstart.MANIFEST).write_text('{"version"'),
    ],
)
def test_damaged_data_is_drawn_anew(small, tmp_path, damage):
    root = tmp_path / 'data'
    generate(root, seed=3, **SMALL)
    damage(root)
    assert generate(root, seed=3, **SMALL)
    assert contents(root) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ['data']  # nothing is left beside it


def test_another_seed_or_version_replaces_the_data(small, tmp_path, monkeypatch):
    root = tmp_path / 'data'
    generate(root, seed=2, **SMALL)
    assert generate(root, seed=3, **SMALL)
    assert contents(root) == contents(small)
    monkeypatch.setattr(quickstart, 'VERSION', quickstart.VERSION + 1)
    assert generate(root, seed=3, **SMALL)
    assert json.loads((root / quickstart.MANIFEST).read_text())['version'] == quickstart.VERSION


def test_an_interrupted_drawing_leaves_the_folder_as_it_was(small, tmp_path, monkeypatch):
    root = tmp_path / 'data'
    generate(root, seed=3, **SMALL)

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, '_digest', lambda folder: '')  # looks damaged
    monkeypatch.setattr(quickstart, '_write_png', stop)
    with pytest.raises(KeyboardInterrupt):
        generate(root, seed=3, **SMALL)
    assert contents(root) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ['data']


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(SetupError, match='is no quickstart data'):
        generate(tmp_path, **SMALL)
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'
    with pytest.raises(SetupError, match='is no quickstart data'):
        generate(tmp_path / 'thesis.tex', **SMALL)


@pytest.mark.parametrize(
    'wrong', [dict(seed=-1), dict(num_val=0), dict(num_labeled=0), dict(size=(112, 32))]
)
def test_impossible_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(SetupError, match='expected seed >= 0'):
        generate(tmp_path / 'data', **{**SMALL, **wrong})
    assert not (tmp_path / 'data').exists()


def test_the_data_of_the_demo_is_small(full):
    files = contents(full)
    assert sum(len(data) for data in files.values()) <= 30 * 2**20
    assert len(names_in(full / 'unlabeled.txt')) >= 200
    assert 8 <= len(names_in(full / 'labeled.txt')) <= 16


def test_the_config_reads_it(full):
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/quickstart.py')
    labeled, unlabeled = (
        cfg.train_dataloader.dataset.labeled,
        cfg.train_dataloader.dataset.unlabeled,
    )
    for source in (labeled, unlabeled, cfg.val_dataloader.dataset):
        source.data_root = str(full)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    assert loader.dataset.source_sizes == [
        len(names_in(full / f'{kind}.txt')) for kind in ('labeled', 'unlabeled')
    ]
    batch = next(iter(loader))
    for kind, rows in (('labeled', range(4)), ('weak', range(4, 8)), ('strong', range(4, 8))):
        assert [i for i, image in enumerate(batch['inputs'][kind]) if image is not None] == [*rows]
        assert all(batch['inputs'][kind][i].shape == (3, 64, 64) for i in rows)
    for i in range(4, 8):
        assert 'gt_sem_seg' not in batch['data_samples']['weak'][i]

    val = Runner.build_dataloader(cfg.val_dataloader, seed=0)
    samples = next(iter(val))['data_samples']
    assert len(val.dataset) == 60 and samples[0].gt_sem_seg.data.shape == (1, 112, 112)
    assert val.dataset.metainfo['classes'] == quickstart_scenes.CLASSES
