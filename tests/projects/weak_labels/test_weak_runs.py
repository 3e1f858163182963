"""Whole runs: the classifier, three kinds of images at once, exact resume, two ranks, masks that are never opened."""

import itertools
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from test_distributed import STEPS, WORLD, assert_close, observed_rank, one_process
from tiny_domains import joined_run, single
from tiny_semi import CROP, tiny_backbone, tiny_data
from whole_runs import (
    ROOT,
    Stop,
    Stopped,
    assert_same,
    assert_same_checkpoint,
    logged,
    on_ranks,
    train,
    whole_and_in_parts,
)

from mmseg_semi.data.samplers import MultiSourceSampler, SampleKey
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs, devices
from projects.weak_labels.classifier import MultiLabelMetric, average_precision
from projects.weak_labels.image_labels import ImageLabelDataset, write_table
from projects.weak_labels.weak_masks import save_mask

_runs = itertools.count()

IMPORTS = dict(imports=['mmseg_semi', 'projects.weak_labels'], allow_failed_imports=False)
CONFIGS = ROOT / 'projects' / 'weak_labels' / 'configs'


def call_project_tool(name: str, *arguments) -> None:
    """A tool of the project in this process."""
    script = str(ROOT / 'projects' / 'weak_labels' / 'tools' / f'{name}.py')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [script, *map(str, arguments)])
        runpy.run_path(script, run_name='__main__')


# -- the classifier --------------------------------------------------------------------------------


def test_loss_is_the_multi_label_soft_margin():
    """-mean over classes and images of y log s(x) + (1 - y) log(1 - s(x)); frozen stages learn nothing."""
    init_default_scope('mmseg')
    backbone = {**tiny_backbone(), 'frozen_stages': 2, 'norm_eval': True}
    model = MODELS.build(
        dict(type='MultiLabelClassifier', backbone=backbone, in_channels=64, num_classes=3)
    ).train()
    images = torch.randn(2, 3, 32, 32)
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1]])

    class Sample:
        def __init__(self, labels):
            self.labels = labels

    loss = model(images, [Sample(row) for row in labels], mode='loss')['loss']
    logits = (
        model.backbone(images)[-1].mean((2, 3)) @ model.classifier.weight[:, :, 0, 0].T
    ).double()
    s = 1 / (1 + torch.exp(-logits))
    expected = -(labels * s.log() + (1 - labels) * (1 - s).log()).mean()
    torch.testing.assert_close(loss.double(), expected, atol=1e-6, rtol=1e-5)
    loss.backward()
    moved = {
        name.split('.')[0] for name, p in model.backbone.named_parameters() if p.grad is not None
    }
    assert moved == {'layer3', 'layer4'} and model.classifier.weight.grad.any()
    assert model.classifier.bias is None
    with pytest.raises(SetupError, match='model.num_classes=3, but the images have labels of 2'):
        model(images, [Sample(row[:2]) for row in labels], mode='loss')
    wrong = dict(type='MultiLabelClassifier', backbone=backbone, in_channels=32, num_classes=3)
    with pytest.raises(SetupError, match='model.in_channels=32'):
        MODELS.build(wrong)(images)


def test_average_precision_equals_a_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.permutation(9).astype(float)
        labels = rng.random(9) < 0.4
        labels[0] = True
        ranks = [1 + sum(scores > scores[i]) for i in range(9)]
        expected = np.mean(
            [
                sum(labels[j] and ranks[j] <= ranks[i] for j in range(9)) / ranks[i]
                for i in range(9)
                if labels[i]
            ]
        )
        assert average_precision(scores, labels) == pytest.approx(expected)
    assert average_precision(np.zeros(4), np.array([True, False, False, False])) == 0.25


def test_metric():
    metric = MultiLabelMetric()
    metric.results = [
        (np.array([0.9, 0.2, 0.1]), np.array([True, False, False])),
        (np.array([0.4, 0.7, 0.2]), np.array([True, True, False])),
    ]
    found = metric.compute_metrics(metric.results)
    assert found == dict(mAP=100.0, F1=pytest.approx(100 * 2 * 2 / (2 + 3)))


@pytest.fixture
def classifier_config(tmp_path) -> Config:
    """Twelve small pictures, their labels, and a run of six iterations."""
    images = tmp_path / 'images'
    images.mkdir()
    names = [f'p{i:02d}' for i in range(12)]
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 44, 3), np.uint8)
        Image.fromarray(pixels).save(images / f'{name}.png')
    (tmp_path / 'list.txt').write_text('\n'.join(names) + '\n')
    shown = [{'water'}, {'tree', 'vehicle'}, {'building', 'sky'}]
    write_table(tmp_path / 'labels.csv', {name: shown[i % 3] for i, name in enumerate(names)})
    cfg = Config.fromfile(CONFIGS / 'weak_classifier' / 'quickstart.py')
    source = dict(
        images=str(images),
        lists=str(tmp_path / 'list.txt'),
        labels=dict(kind='csv', path=str(tmp_path / 'labels.csv')),
    )
    for part in (cfg.train_dataloader.dataset, cfg.val_dataloader.dataset, cfg.mask_dataset):
        part.update(source)
    cfg.model.backbone = tiny_backbone()
    cfg.model.in_channels = 64
    cfg.train_dataloader.batch_size = cfg.train_dataloader.sampler.batch_size = 3
    cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = 6, 6
    cfg.default_hooks.checkpoint.interval = 3
    cfg.log_level = 'ERROR'
    cfg.dump(tmp_path / 'classifier.py')
    return Config.fromfile(tmp_path / 'classifier.py')


def run_classifier(cfg: Config, work_dir: Path, stop: int | None = None) -> None:
    cfg = cfg.copy()
    # MMEngine keeps the values of two runs of one name and second in one place
    cfg.experiment_name = f'classifier_{next(_runs)}'
    configs.set_work_dir(cfg, str(work_dir), cfg.filename)
    configs.set_resume(cfg, 'auto')
    runner = configs.build_runner(cfg)
    if stop is not None:
        runner.register_hook(Stop(stop))
        with pytest.raises(Stopped):
            runner.train()
    else:
        runner.train()


def test_a_classifier_that_was_stopped_goes_on_exactly(tmp_path, classifier_config):
    run_classifier(classifier_config, tmp_path / 'whole')
    run_classifier(classifier_config, tmp_path / 'parts', stop=3)
    run_classifier(classifier_config, tmp_path / 'parts')
    state = assert_same_checkpoint(tmp_path / 'whole/iter_6.pth', tmp_path / 'parts/iter_6.pth')
    early = torch.load(tmp_path / 'parts/iter_3.pth', weights_only=True)
    weight = 'classifier.weight'
    assert not torch.equal(state['state_dict'][weight], early['state_dict'][weight])
    # its masks by the documented command
    call_project_tool(
        'make_masks',
        classifier_config.filename,
        tmp_path / 'whole/iter_6.pth',
        '--out',
        tmp_path / 'masks',
    )
    mask = np.array(Image.open(tmp_path / 'masks' / 'p01.png'))
    assert mask.shape == (40, 44) and set(np.unique(mask)) <= {4, 5, 255}


def classifier_rank(rank: int, path: str, folder: Path) -> None:
    cfg = Config.fromfile(path)
    devices.init_distributed(cfg, 'pytorch')
    configs.set_work_dir(cfg, str(folder / 'ranks'), cfg.filename)
    read, load = [], ImageLabelDataset.__getitem__

    def note(self, key):
        if isinstance(key, SampleKey):  # validation asks for plain numbers
            read.append(tuple(key))
        return load(self, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageLabelDataset, '__getitem__', note)
        runner = configs.build_runner(cfg)
        runner.train()
    torch.save((runner.model.module.state_dict(), read), folder / f'rank{rank}.pth')


def test_two_ranks_share_one_stream_and_end_alike(tmp_path, classifier_config):
    """Even where each rank has a seed of its own."""
    classifier_config.randomness.diff_rank_seed = True
    classifier_config.dump(classifier_config.filename)
    on_ranks(classifier_rank, WORLD, classifier_config.filename, tmp_path)
    notes = [torch.load(tmp_path / f'rank{rank}.pth') for rank in range(WORLD)]
    saved = torch.load(tmp_path / 'ranks/iter_6.pth', weights_only=True)['state_dict']
    for state, _ in notes:
        assert_same(state, saved)
    assert saved['backbone.layer4.0.bn1.running_mean'].any()
    assert saved['backbone.layer4.0.bn1.num_batches_tracked'] == 6
    init_default_scope('mmseg')
    dataset = DATASETS.build(classifier_config.train_dataloader.dataset)
    stream = iter(MultiSourceSampler(dataset, WORLD * 3, [1], seed=0))
    for step in range(6):
        larger = [tuple(next(stream)) for _ in range(WORLD * 3)]
        assert larger == [key for _, read in notes for key in read[3 * step : 3 * step + 3]]
    assert [len(read) for _, read in notes] == [18] * WORLD


def test_a_classifier_of_other_classes_is_refused(tmp_path, classifier_config):
    classifier_config.model.num_classes = 20
    with pytest.raises(SetupError, match=r'model.num_classes=20, .*has 4 classes \(water'):
        run_classifier(classifier_config, tmp_path / 'run')


# -- training with weak masks ----------------------------------------------------------------------


def weak_config(
    folder: Path, method: str = 'cct', ratio=(2, 1, 1), changes=None, **kwargs
) -> Config:
    """A tiny run whose first three unlabelled images have weak masks, a source of their own."""
    cfg = tiny_data(folder, method, **kwargs)
    cfg.custom_imports = IMPORTS
    objectives = cfg.model.objectives
    if method == 'cct':
        objectives[1]['type'] = 'WeakCCTObjective'
    else:
        objectives.append(dict(type='WeakSelfTrainingObjective', weight=0.4))
    data, rng = folder / 'data', np.random.default_rng(0)
    names = (data / 'unlabeled.txt').read_text().split()
    for name in names[:3]:
        size = Image.open(data / 'images/train' / f'{name}.png').size
        blocks = rng.choice([0, 4, 7, 255], (3, 4)).astype(np.uint8)
        mask = np.array(Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST))
        save_mask(folder / 'masks' / f'{name}.png', mask)
    (data / 'weak.txt').write_text('\n'.join(names[:3]) + '\n')
    (data / 'plain.txt').write_text('\n'.join(names[3:]) + '\n')
    train_set = cfg.train_dataloader.dataset
    plain = {**train_set.unlabeled, 'ann_file': str(data / 'plain.txt')}
    load = dict(type='LoadWeakMask', masks=str(folder / 'masks'), num_classes=11)
    weak = {**plain, 'ann_file': str(data / 'weak.txt')}
    weak['pipeline'] = [plain['pipeline'][0], load, *plain['pipeline'][1:]]
    train_set.unlabeled = [weak, plain]
    train_set.separate = True
    total = sum(ratio)
    cfg.train_dataloader.batch_size = cfg.train_dataloader.sampler.batch_size = total
    cfg.train_dataloader.sampler.source_ratio = list(ratio)
    for key, value in (changes or {}).items():
        cfg.merge_from_dict({key: value})
    cfg.dump(cfg.filename)
    return Config.fromfile(cfg.filename)


@pytest.mark.parametrize(
    ('ratio', 'counts'), [((1, 1, 1), [1, 1, 1]), ((2, 3, 1), [2, 3, 1]), ((4, 1, 3), [4, 1, 3])]
)
def test_three_streams_at_any_ratio(tmp_path, ratio, counts):
    cfg = weak_config(tmp_path, ratio=ratio)
    init_default_scope('mmseg')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert dataset.source_sizes == [4, 3, 3]
    sampler = MultiSourceSampler(dataset, sum(ratio), list(ratio), seed=0)
    stream = iter(sampler)
    seen = [set(), set(), set()]
    for _ in range(6):
        keys = [next(stream) for _ in range(sum(ratio))]
        sources = [0 if key.index < 4 else 1 if key.index < 7 else 2 for key in keys]
        assert sources == [s for s, count in enumerate(counts) for _ in range(count)]
        for source, key in zip(sources, keys, strict=True):
            seen[source].add(key.index)
    assert [len(found) for found in seen] == [4, 3, 3]
    for key in (next(stream) for _ in range(sum(ratio))):
        sample = dataset[key]['data_samples']['weak']
        assert (sample is None) == (key.index < 4)
        if sample is not None:
            assert ('given_map' in sample) == (4 <= key.index < 7)
    with pytest.raises(SetupError, match='2 entries.*3 source'):
        MultiSourceSampler(dataset, 4, [1, 1], seed=0)


def test_a_weak_mask_moves_with_its_image(tmp_path):
    """The mask is the image's red channel: after geometry it still is."""
    cfg = weak_config(tmp_path)
    init_default_scope('mmseg')
    names = (tmp_path / 'data/weak.txt').read_text().split()
    rng = np.random.default_rng(0)
    for name in names:
        code = rng.integers(0, 11, (6, 8)).astype(np.uint8).repeat(6, 0).repeat(6, 1)
        Image.fromarray(np.stack([code * 20] * 3, -1)).save(
            tmp_path / f'data/images/train/{name}.png'
        )
        save_mask(tmp_path / 'masks' / f'{name}.png', code)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    keys = iter(MultiSourceSampler(dataset, 4, [2, 1, 1], seed=0))
    checked = 0
    for key in (next(keys) for _ in range(80)):
        if not 4 <= key.index < 7:
            continue
        sample = dataset[key]
        given = sample['data_samples']['weak'].given_map.data[0].long()
        valid = sample['data_samples']['weak'].valid_map.data[0]
        red = sample['inputs']['weak'][2].long()
        assert given.shape == (CROP, CROP) and (given[~valid] == 255).all()
        assert (given[valid] < 11).all()
        # inside a block, away from where two of them are interpolated
        area = torch.stack([red, -red]).float()
        highest, lowest = torch.nn.functional.max_pool2d(area, 5, 1, 2)
        exact = valid & (highest == -lowest)
        assert torch.equal(red[exact] // 20, given[exact])
        checked += int(exact.sum())
    assert checked > 500


@pytest.mark.usefixtures('shallow')
@pytest.mark.parametrize(
    ('method', 'workers', 'ranks'), [('cct', 0, 1), ('ddfp', 2, 1), ('ddfp', 0, 2)]
)
def test_stopped_and_continued(tmp_path, method, workers, ranks):
    cfg = weak_config(tmp_path, method, iterations=6, checkpoint_interval=3, num_workers=workers)
    if ranks == 1:
        train(cfg, tmp_path / 'whole')
        train(cfg, tmp_path / 'parts', stop=3)
        train(cfg, tmp_path / 'parts', resume=True)
    else:
        on_ranks(whole_and_in_parts, ranks, cfg.filename, tmp_path, 3)
    state = assert_same_checkpoint(tmp_path / 'whole/iter_6.pth', tmp_path / 'parts/iter_6.pth')
    name = 'train/cct.loss_weak' if method == 'cct' else 'train/weak.loss'
    values = state['message_hub']['log_scalars'][name]['__history__']['values']['__ndarray__']
    assert values[-1] > 0


def test_true_masks_are_never_opened(tmp_path):
    cfg = weak_config(tmp_path, iterations=4)
    for pool in (
        cfg.train_dataloader.dataset.unlabeled
    ):  # as a config that was copied from a labelled source
        pool.data_prefix.seg_map_path = 'labels/train'
    train(cfg, tmp_path / 'with')
    for name in (tmp_path / 'data/unlabeled.txt').read_text().split():
        (tmp_path / 'data/labels/train' / f'{name}.png').unlink()
    train(cfg, tmp_path / 'without')
    assert_same_checkpoint(tmp_path / 'with/iter_4.pth', tmp_path / 'without/iter_4.pth')


@pytest.mark.parametrize('method', ['cct', 'fixmatch'])
def test_two_processes_equal_one(tmp_path, method):
    cfg = weak_config(
        tmp_path,
        method,
        iterations=STEPS,
        checkpoint_interval=STEPS,
        model=dict(norm='GN', dropout=0.0),
        changes=dict(param_scheduler=None),
    )
    on_ranks(observed_rank, WORLD, cfg.filename, tmp_path)
    notes = [torch.load(tmp_path / f'rank{rank}.pth') for rank in range(WORLD)]
    losses, final = one_process(cfg, notes[0]['initial'])
    weak = 'cct.loss_weak' if method == 'cct' else 'weak.loss'
    for rank in range(WORLD):
        for step in range(STEPS):
            mine, theirs = losses[rank][step], notes[rank]['losses'][step]
            assert mine.keys() == theirs.keys()
            for name in mine:
                values = (torch.tensor(float(log[name])) for log in (mine, theirs))
                assert_close(*values, f'rank {rank}, step {step}: {name}')
        assert notes[rank]['losses'][-1][weak] > 0
        assert notes[rank]['without_gradient'] == [[]] * STEPS
    for name, tensor in final.items():
        for rank in range(WORLD):
            assert_close(tensor.double(), notes[rank]['final'][name].double(), name)


def test_one_of_two_domains_has_weak_masks(tmp_path):
    """On ranks of their own, where nothing but the joined config imports this project."""
    run = dict(iterations=3, checkpoint_interval=3, model=dict(norm='GN', dropout=0.0))
    weak = weak_config(tmp_path / 'road', **run)
    cfg = joined_run(tmp_path, dict(road=weak, scenes=single(tmp_path, 'scenes', 'cct', **run)))
    on_ranks(observed_rank, WORLD, cfg.filename, tmp_path)
    for rank in range(WORLD):
        note = torch.load(tmp_path / f'rank{rank}.pth')
        last = note['losses'][-1]
        assert last['road.cct.loss_weak'] > 0 and last['scenes.cct.loss'] > 0
        assert 'scenes.cct.loss_weak' not in last
        assert note['without_gradient'] == [[]] * 3


def test_mistakes_are_told_before_training(tmp_path):
    cfg = weak_config(tmp_path)
    (name, *_) = (tmp_path / 'data/weak.txt').read_text().split()
    mask = tmp_path / 'masks' / f'{name}.png'
    kept = mask.read_bytes()
    mask.unlink()
    with pytest.raises(SetupError, match=rf'unlabeled\[0\]: image .*{name}.png has no weak mask'):
        train(cfg, tmp_path / 'run')
    save_mask(mask, np.zeros((5, 5), np.uint8))
    with pytest.raises(SetupError, match='weak mask .* is 5 x 5 pixels, but its image'):
        train(cfg, tmp_path / 'run', stop=0)
    mask.write_bytes(kept[:60])
    with pytest.raises(SetupError, match='cannot be decoded'):
        train(cfg, tmp_path / 'run')
    shutil.rmtree(tmp_path / 'masks')
    with pytest.raises(SetupError, match='folder .*masks of LoadWeakMask does not exist'):
        train(cfg, tmp_path / 'run')


@pytest.mark.parametrize('method', ['cct', 'fixmatch'])
def test_no_weak_mask_at_all_is_told_before_training(tmp_path, method):
    cfg = weak_config(tmp_path, method)
    cfg.train_dataloader.dataset.unlabeled = cfg.train_dataloader.dataset.unlabeled[1]
    cfg.train_dataloader.sampler.source_ratio = [2, 2]
    sentence = 'needs weak masks, but no pipeline of train_dataloader.dataset.unlabeled loads them'
    with pytest.raises(SetupError, match=sentence):
        train(cfg, tmp_path / 'run', stop=0)


@pytest.mark.parametrize('method', ['cct', 'fixmatch'])
def test_a_batch_may_happen_to_hold_no_weak_mask(tmp_path, method):
    """One pool of three images with masks and three without, one of them a step."""
    cfg = weak_config(tmp_path, method, iterations=6, model=dict(norm='GN'))
    cfg.train_dataloader.dataset.separate = False
    cfg.train_dataloader.batch_size = cfg.train_dataloader.sampler.batch_size = 2
    cfg.train_dataloader.sampler.source_ratio = [1, 1]
    cfg.model.objectives[-1].weight = 1.0
    runner = train(cfg, tmp_path / 'run')
    state = torch.load(tmp_path / 'run/iter_6.pth', weights_only=True)
    values = logged(state, 'cct.loss_weak' if method == 'cct' else 'weak.loss')
    assert runner.iter == 6 and len(values) == 6
    assert sorted(value > 0 for value in values) == [False] * 3 + [True] * 3


# -- configs and labels ----------------------------------------------------------------------------


def test_configs_are_read_and_registered():
    init_default_scope('mmseg')
    paths = sorted(path for path in CONFIGS.glob('weak_*/*.py'))
    assert len(paths) >= 9
    for path in paths:
        cfg = configs.load_config(path)
        for kind in configs.config_types(cfg.model):
            if kind[0].isupper() and kind not in ('Ramp', 'Steps', 'Line', 'Pretrained'):
                found = MODELS.get(kind)
                assert found is not None, kind


def test_the_published_classifier_and_run():
    cfg = Config.fromfile(CONFIGS / 'weak_classifier' / 'voc_r50.py')
    assert cfg.train_cfg.max_iters == 3305 == cfg.param_scheduler[0].end
    assert cfg.param_scheduler[0].power == 0.9
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.1, 0.0, 1e-4)
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.classifier.lr_mult == 10
    backbone = cfg.model.backbone
    assert (backbone.depth, tuple(backbone.strides), backbone.frozen_stages) == (
        50,
        (1, 2, 2, 1),
        2,
    )
    assert tuple(backbone.dilations) == (1, 1, 1, 1) and backbone.norm_eval
    assert cfg.model.num_classes == 20 and cfg.train_dataloader.batch_size == 16
    settings = cfg.mask_settings
    assert (settings.foreground, settings.background) == (0.30, 0.05)
    assert tuple(settings.scales) == (1.0, 0.5, 1.5, 2.0)
    crf = settings.crf
    assert (crf.gt_prob, tuple(crf.spatial), tuple(crf.bilateral)) == (0.7, (3, 3), (50, 5, 10))
    assert crf.iterations == 10
    train_cfg = Config.fromfile(CONFIGS / 'weak_cct' / 'voc_1464_r50.py')
    plain = Config.fromfile(ROOT / 'configs/cct/voc_1464_r50.py')
    assert train_cfg.train_cfg == plain.train_cfg and train_cfg.optim_wrapper == plain.optim_wrapper
    steps = [step['type'] for step in train_cfg.train_dataloader.dataset.unlabeled.pipeline]
    assert steps[:3] == ['LoadImage', 'LoadWeakMask', 'InitValidMap']


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (CONFIGS / 'weak_cct/quickstart.py', ROOT / 'configs/quickstart/cct.py'),
        (CONFIGS / 'weak_cct/camvid_46_small.py', ROOT / 'configs/cct/camvid_46_small.py'),
        (CONFIGS / 'weak_fixmatch/quickstart.py', ROOT / 'configs/quickstart/fixmatch.py'),
        (CONFIGS / 'weak_ddfp/quickstart.py', ROOT / 'configs/quickstart/ddfp.py'),
    ],
)
def test_with_and_without_differ_by_the_masks_alone(one, other):
    one, other = Config.fromfile(one), Config.fromfile(other)
    for key in ('train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'randomness'):
        assert one[key] == other[key], key
    assert one.model.student == other.model.student
    mine, theirs = (cfg.train_dataloader.dataset for cfg in (one, other))
    assert mine.labeled == theirs.labeled
    assert [
        s for s in mine.unlabeled.pipeline if s['type'] != 'LoadWeakMask'
    ] == theirs.unlabeled.pipeline


def test_labels_of_masks_by_the_command(tmp_path, capsys):
    for i, values in enumerate(([0, 3], [3, 255])):
        save_mask(tmp_path / 'masks' / f'a{i}.png', np.array([values] * 4, np.uint8))
    (tmp_path / 'list.txt').write_text('a0\na1\n')
    arguments = ('masks', '--data', 'QuickstartDataset', '--masks', tmp_path / 'masks', '--lists')
    call_project_tool(
        'image_labels', *arguments, tmp_path / 'list.txt', '--out', tmp_path / 'x.csv'
    )
    assert (tmp_path / 'x.csv').read_text() == 'image,classes\na0,building;sky\na1,building\n'
    with pytest.raises(SystemExit):
        call_project_tool('image_labels', *arguments, 'no.txt', '--out', tmp_path / 'x.csv')
    assert '--lists no.txt does not exist' in capsys.readouterr().err
