"""tools/browse_dataset.py and tools/check_dataset.py, from their command lines."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import camvid, cityscapes, load_tool, voc
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from tiny_semi import CROP, tiny_data

from mmseg_semi.data.splits import split_folder
from mmseg_semi.preparing.quickstart import generate
from mmseg_semi.runtime.pictures import (
    legend,
    lines_of_text,
    mark_padding,
    outline,
    overlay_labels,
)
from mmseg_semi.step import mixing

ROOT = Path(__file__).resolve().parents[2]

browse, check = load_tool('browse_dataset'), load_tool('check_dataset')


@pytest.fixture
def call(monkeypatch, capsys):
    """Call a tool's main; returns its status and its output."""

    def run(tool, *args):
        monkeypatch.setattr(sys, 'argv', [tool.__file__, *map(str, args)])
        try:
            status = tool.main()
        except SystemExit as error:
            status = error.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def batch_of(cfg: Config, iteration: int, seed: int = 0):
    """What browse_dataset shows of one batch, and its preprocessor."""
    loader, preprocessor = browse.build_loader(cfg, seed), browse.build_preprocessor(cfg)
    batches = iter(loader)
    for _ in range(iteration):
        next(batches)
    data = preprocessor(next(batches), training=True)
    return browse.batch_of(data, preprocessor, seed, iteration), data, preprocessor


@pytest.mark.parametrize('iteration', range(4))
def test_the_views_are_those_of_training(tmp_path, iteration):
    """Image for image what a step of a run with that seed sees, mixing included."""
    cfg = tiny_data(tmp_path, 'fixmatch')
    init_default_scope('mmseg')
    batch, data, _ = batch_of(cfg, iteration)
    model = MODELS.build(cfg.model).train()
    model.start_step(100 + iteration)  # past the warm-up, in which nothing is mixed
    # the same draws, at a time when there is self-training
    model._started = 100 + iteration, batch.generator.clone_state()
    model.loss(data['inputs'], data['data_samples'])
    trained = model.last_views
    view, owners, words = browse.mix(MODELS.build(cfg.model.mixing), batch)
    assert torch.equal(trained.batch.unlabeled.img_u_w, batch.unlabeled.img_u_w)
    assert torch.equal(trained.batch.label_l, batch.label_l)
    assert torch.equal(trained.batch.unlabeled.valid_u, batch.unlabeled.valid_u)
    if 'leaves this batch unmixed' in words:
        assert torch.equal(trained.teacher.mixed.img_u_m, trained.batch.unlabeled.img_u_s)
    else:
        assert torch.equal(trained.teacher.mixed.img_u_m, view.img_u_m)
        assert torch.equal(trained.teacher.mixed.valid_m, view.valid_m)
    # shown in any case: each image holds pixels of its neighbour, where `owners` says so
    for i, owner in enumerate(owners):
        other = (i + 1) % len(owners)
        assert set(owner.unique().tolist()) == {i, other}
        expected = torch.where(
            owner == i, batch.unlabeled.img_u_s[i], batch.unlabeled.img_u_s[other]
        )
        assert torch.equal(view.img_u_m[i], expected)


def test_both_strong_views_are_those_of_training(tmp_path):
    cfg = tiny_data(tmp_path, 'unimatch')
    init_default_scope('mmseg')
    batch, data, preprocessor = batch_of(cfg, 0)
    model = MODELS.build(cfg.model).train()
    model.start_step(100)
    model._started = 100, batch.generator.clone_state()
    model.loss(data['inputs'], data['data_samples'])
    trained = model.last_views.teacher
    mixings = browse.build_mixings(cfg)
    assert [*mixings] == ['strong', 'strong_2']
    for view, own in mixings.items():
        shown, _, _ = browse.mix(own, batch, view)
        assert torch.equal(trained.labels_of(view).img_u_m, shown.img_u_m)
    samples = data['data_samples']['weak']
    page, words = browse.unlabeled_part(batch, samples, preprocessor, mixings)
    assert page.shape[1] > 7 * CROP * (browse.SIDE // CROP)  # seven views side by side
    assert 'strong: Mixed by CutMix' in words and 'strong_2: Mixed by CutMix' in words


def test_the_generator_is_that_of_the_step(tmp_path):
    cfg = tiny_data(tmp_path, 'fixmatch')
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    for seed, iteration in ((0, 0), (3, 5)):
        batch, *_ = batch_of(cfg, 0, seed)
        data = dict(inputs=dict(labeled=batch.img_l), data_samples=dict(labeled=batch.samples_l))
        batch = browse.batch_of(data, model.data_preprocessor, seed, iteration)
        model.start_step(iteration, seed)
        assert torch.equal(model._started[1].get_state(), batch.generator.get_state())


@pytest.mark.parametrize(
    ('kind', 'erased', 'words'),
    [
        (lambda: mixing.CutMix(prob=1.0), False, 'pseudo-labels move'),
        (lambda: mixing.CutOut(prob=1.0), True, 'pseudo-labels move'),
        (lambda: mixing.ClassMix(11), False, 'squares'),
        (lambda: mixing.CutMix(prob=0.0), False, 'leaves this batch unmixed'),
    ],
)
def test_every_mixing_is_shown(tmp_path, kind, erased, words):
    cfg = tiny_data(tmp_path, 'fixmatch')
    init_default_scope('mmseg')
    batch, *_ = batch_of(cfg, 1)
    view, owners, text = browse.mix(kind(), batch)
    assert words in text
    for i, owner in enumerate(owners):
        assert set(owner.unique().tolist()) == {i, -1 if erased else (i + 1) % len(owners)}
        assert (view.img_u_m[i][:, owner == -1] == 0).all()


def test_pixels_of_labelled_images_are_shown_as_such(tmp_path, monkeypatch, call):
    cfg = tiny_data(
        tmp_path, 'fixmatch', model=dict(mixing=dict(type='ClassMix', source='labeled'))
    )
    init_default_scope('mmseg')
    batch, *_ = batch_of(cfg, 1)
    view, owners, text = browse.mix(mixing.ClassMix(11, source='labeled'), batch)
    assert 'labelled images along their labels' in text
    for i, owner in enumerate(owners):
        pasted = owner == len(owners)
        assert set(owner[~pasted].unique().tolist()) <= {i} and pasted.any()
        expected = torch.where(pasted, batch.img_l[i], batch.unlabeled.img_u_s[i])
        assert torch.equal(view.img_u_m[i], expected)
    monkeypatch.chdir(tmp_path)
    assert not call(browse, cfg.filename, '--count', '1', '--out', 'sheets')[0]


def test_sheets(tmp_path, monkeypatch, call):
    cfg = tiny_data(tmp_path, 'fixmatch')
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / 'data/labels/train').glob('*.png'):
        if int(path.stem[-2:]) >= 4:  # unlabelled
            path.write_bytes(b'not to be opened')
    status, printed = call(browse, cfg.filename, '--count', '2', '--out', 'sheets')
    assert not status and '2 sheets of 11 classes' in printed
    files = sorted(Path('sheets').iterdir())
    assert [path.name for path in files] == ['batch_000.png', 'batch_001.png']
    page = np.asarray(Image.open(files[0]))
    assert page.shape[1] > 4 * CROP * (browse.SIDE // CROP)  # four views side by side
    again = call(browse, cfg.filename, '--count', '1', '--out', 'again', '--seed', '0')
    assert not again[0]
    assert np.array_equal(np.asarray(Image.open('again/batch_000.png')), page)
    call(browse, cfg.filename, '--count', '1', '--out', 'other', '--seed', '1')
    assert not np.array_equal(np.asarray(Image.open('other/batch_000.png')), page)
    assert call(browse, cfg.filename, '--count', '0')[0] == 2


def test_without_a_strong_view_one_view_is_shown(tmp_path):
    """As CCT's pipelines make them."""
    init_default_scope('mmseg')
    cfg = tiny_data(tmp_path, 'cct')
    pipelines = [cfg.train_dataloader.dataset[own].pipeline for own in ('labeled', 'unlabeled')]
    widths = []
    for sentence in ('No mixing: the student learns from', 'There is one view'):
        batch, data, preprocessor = batch_of(cfg, 0)
        samples = data['data_samples']['weak']
        page, words = browse.unlabeled_part(batch, samples, preprocessor, {})
        assert words.startswith(sentence)
        widths.append(page.shape[1])
        pipelines[1][-1].pop('strong', None)
        for pipeline in pipelines:
            pipeline[-1].branch_field = ['labeled', 'weak']
    assert widths[1] < 0.6 * widths[0]


def test_sheets_of_labelled_images_alone_and_without_mixing(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'sup').mkdir()
    cfg = tiny_data(tmp_path / 'sup', 'supervised')
    assert not call(browse, cfg.filename, '--count', '1', '--out', 'sup/sheets')[0]
    assert Path('sup/sheets/batch_000.png').is_file()
    (tmp_path / 'plain').mkdir()
    cfg = tiny_data(tmp_path / 'plain', 'fixmatch', model=dict(mixing=None))
    assert not call(browse, cfg.filename, '--count', '1', '--out', 'plain/sheets')[0]
    two, three = (Image.open(f'{name}/sheets/batch_000.png').width for name in ('plain', 'sup'))
    assert two == three  # labelled crop, overlay and mask are wider than weak and strong


@pytest.mark.parametrize('config', sorted((ROOT / 'configs/quickstart').glob('*.py')))
def test_the_demos_configs(tmp_path, monkeypatch, call, config):
    monkeypatch.chdir(tmp_path)
    generate('data/quickstart', num_labeled=4, num_unlabeled=6, num_val=2, progress=False)
    status, _ = call(browse, config, '--count', '1')
    assert not status
    assert Path(f'work_dirs/quickstart/{config.stem}/browse/batch_000.png').is_file()
    status, printed = call(check, config, '--jobs', '1')
    assert status == 0, printed
    assert Path(f'work_dirs/quickstart/{config.stem}/check/index.html').is_file()


def test_check_dataset_ends_with_1_on_errors_alone(tmp_path, monkeypatch, call):
    cfg = tiny_data(tmp_path, 'fixmatch')
    monkeypatch.chdir(tmp_path)
    status, printed = call(check, cfg.filename, '--out', 'report', '--jobs', '2')
    assert status == 0 and 'errors: 0, warnings: 0' in printed, printed
    report = json.loads(Path('report/report.json').read_text())
    assert report['errors'] == 0
    assert report['sources'][0]['protocol'] == 'none is named'
    assert [s['images'] for s in report['sources']] == [4, 6, 2]

    Path('data/images/train/train00.png').write_bytes(b'')
    Path('data/images/train/train07.png').unlink()
    status, printed = call(check, cfg.filename, '--out', 'report')
    assert status == 1
    report = json.loads(Path('report/report.json').read_text())
    assert report['errors'] == 2
    wanted = {'train00.png': 'labeled', 'train07.png': 'unlabeled'}
    for finding in report['findings'][:2]:
        assert finding['kind'] == 'unreadable'
        assert wanted.pop(Path(finding['cases'][0]['files'][0]).name) == finding['source']
    assert 'reading images' in printed

    Path('data/images/train/train[b]1.png').write_bytes(b'')
    with Path('data/unlabeled.txt').open('a') as file:
        file.write('train[b]1\n')
    Path('data/images/train/train07.png').write_bytes(
        Path('data/images/train/train06.png').read_bytes()
    )
    status, printed = call(check, cfg.filename, '--out', 'report')
    assert status == 1 and 'train[b]1.png' in printed  # brackets are no markup

    Path('data/labeled.txt').unlink()
    status, printed = call(check, cfg.filename, '--out', 'report')
    assert status == 2 and 'error: ' in printed and 'labeled.txt' in printed
    assert 'Traceback' not in printed


def test_check_dataset_takes_folders(tmp_path, monkeypatch, call):
    cfg = tiny_data(tmp_path, 'fixmatch')
    monkeypatch.chdir(tmp_path)
    train, val = (('data/images/' + s, 'data/labels/' + s) for s in ('train', 'val'))
    folders = ('--labeled', *train, '--val', *val, '--out', 'report')
    assert call(check, *folders, '--num-classes', '11')[0] == 0
    assert call(check, *folders, '--num-classes', '10')[0] == 1
    # beside a config: all its training images are in that folder too
    status, printed = call(check, cfg.filename, '--val', *train, '--out', 'report')
    assert status == 1
    leak, *_ = json.loads(Path('report/report.json').read_text())['findings']
    assert (leak['kind'], leak['count']) == ('leak', 10)
    assert call(check, '--out', 'report')[0] == 2
    assert call(check, cfg.filename, '--jobs', '0')[0] == 2


@pytest.mark.parametrize(
    ('config', 'make'),
    [
        ('fixmatch/camvid_46', camvid),
        ('ddfp/camvid_46_small', camvid),
        ('supervised/voc_732', voc),
        ('fixmatch/voc_732_dinov2_s', voc),  # mmpretrain is not needed to look
        ('mean_teacher/cityscapes_372', cityscapes),
    ],
)
def test_shipped_configs(tmp_path, monkeypatch, call, config, make):
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = ROOT / f'configs/{config}.py'
    # the miniatures' lists are not the published ones
    lists = split_folder(Config.fromfile(path).train_dataloader.dataset.split)
    options = ('--cfg-options', f'train_dataloader.dataset.split={lists.as_posix()}')
    status, printed = call(browse, path, '--count', '1', *options)
    assert not status, printed
    assert Path(f'work_dirs/{config}/browse/batch_000.png').is_file()
    status, printed = call(check, path, '--jobs', '1', *options)
    report = json.loads(Path(f'work_dirs/{config}/check/report.json').read_text())
    assert [s['role'] for s in report['sources']][::2] in (['labeled', 'val'], ['labeled'])
    # the last training image of the VOC miniature is its validation image
    assert status == 0 or {f['kind'] for f in report['findings']} == {'leak'}, printed


def test_drawing():
    picture = np.full((20, 30, 3), 100, np.uint8)
    labels = np.zeros((20, 30), int)
    labels[:, 15:] = 1
    laid = overlay_labels(picture, labels, [(200, 0, 0), (0, 50, 0)], opacity=0.25)
    assert laid[0, 0].tolist() == [125, 75, 75] and laid[0, 29].tolist() == [75, 88, 75]
    valid = labels == 0
    marked = mark_padding(picture, valid)
    assert np.array_equal(marked[:, :15], picture[:, :15])
    assert (marked[:, 15:, 1:] == 0).all() and set(np.unique(marked[:, 15:, 0])) == {80, 150}
    assert (picture == 100).all()
    lined = (outline(picture, valid, (1, 2, 3)) == (1, 2, 3)).all(axis=2)
    assert lined[:, 13:15].all() and lined.sum() == 40  # the border of the picture is none
    swatch = np.zeros((12, 18, 3), np.uint8)
    one_line = legend([('a', swatch)] * 3, 400)
    assert one_line.shape[1] == 400 and (one_line == 0).all(axis=2).sum() >= 3 * 12 * 18
    assert legend([('a', swatch)] * 3, 60).shape[0] > one_line.shape[0]
    assert lines_of_text(['word ' * 30], 200).shape[0] > lines_of_text(['word'], 200).shape[0]
