"""CCT's configs against the numbers of the released code (github.com/yassouali/CCT)."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import PolyLR, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from tiny_semi import tiny_data, tiny_model

from mmseg_semi.data.samplers import MultiSourceSampler
from mmseg_semi.data.splits import published_protocols
from mmseg_semi.methods.cct.objective import PUBLISHED
from mmseg_semi.step.schedules import build_schedule

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / 'configs' / 'cct'
LISTS = ROOT / 'data' / 'splits' / 'cct' / 'voc'
COUNTS = (60, 100, 200, 300, 500, 800, 1000)
SMALL = 'camvid_46_small'


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def test_the_published_recipe():
    cfg = load('voc_1464_r50')
    assert cfg.train_dataloader.sampler.source_ratio == [10, 10]
    assert tuple(cfg.crop_size) == (320, 320)
    assert cfg.model.forward == 'stream' and 'teacher' not in cfg.model
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 1e-4)
    backbone = cfg.model.student.backbone
    assert backbone.depth == 50 and backbone.contract_dilation
    assert tuple(backbone.strides) == (1, 2, 1, 1) and tuple(backbone.dilations) == (1, 1, 2, 4)
    head = cfg.model.student.decode_head
    assert (head.type, head.channels, head.upscale, head.num_classes) == ('CCTHead', 512, 8, 21)
    own = cfg.model.objectives[1]
    assert own.type == 'CCTObjective' and 'perturbations' not in own
    # there is no strong view
    for source in ('labeled', 'unlabeled'):
        branches = cfg.train_dataloader.dataset[source].pipeline[-1]
        assert branches.type == 'MultiBranch' and 'strong' not in branches
    geometry = cfg.train_dataloader.dataset.unlabeled.pipeline[2]
    assert (geometry.base, tuple(geometry.ratio_range)) == (400, (0.5, 2.0))
    assert geometry.interpolation == 'bicubic'


def test_iterations():
    """An epoch is one pass over the unlabelled list."""
    for name, count in [('voc_1464', 1464), *((f'voc_cct_{n}', n) for n in COUNTS)]:
        for suffix in ('', '_r50'):
            cfg = load(name + suffix)
            unit = cfg.model.iters_per_epoch
            assert unit == math.ceil((10582 - count) / 10)
            assert cfg.train_cfg.max_iters == 50 * unit == cfg.param_scheduler[0].end
            depth = cfg.model.student.backbone.depth
            assert depth == (50 if suffix else 101)
    # batches of the released loaders, and the size of the last one
    for labelled, batches, tails in ((1464, (912, 147), (8, 4)), (1000, (959, 100), (2, 0))):
        lists = 10582 - labelled, labelled
        assert tuple(math.ceil(n / 10) for n in lists) == batches
        assert tuple(n % 10 for n in lists) == tails
        assert (
            load('voc_1464' if labelled == 1464 else 'voc_cct_1000').model.iters_per_epoch
            == (batches[0])
        )


def test_weight_of_the_released_configuration():
    cfg = load('reference/voc_1464_r50')
    weight = build_schedule(cfg.model.objectives[1].weight)
    values = [weight(i / 912) for i in (0, 4 * 912, 8 * 912, 8 * 912 + 1, 80 * 912)]
    assert values == pytest.approx([0.202138, 8.595144, 30, 30, 30], abs=1e-6)
    assert cfg.train_cfg.max_iters == 80 * 912 and cfg.train_cfg.val_interval == 5 * 912
    weight = build_schedule(load('voc_1464').model.objectives[1].weight)
    assert weight(2.5) == pytest.approx(8.595144, abs=1e-6) and weight(5) == weight(49) == 30


def test_what_the_reference_changes():
    cfg = load('reference/voc_1464_r50')
    own = cfg.model.objectives[1]
    assert [dict(type=k.type, count=k['count']) for k in own.perturbations] == list(PUBLISHED)
    adversarial = own.perturbations[0]
    assert (adversarial.xi, adversarial.eps, adversarial.guard) == (1e-6, 2.0, 1e-8)
    assert own.compare_padding and own.bias_init == cfg.model.student.decode_head.bias_init
    assert own.bias_init == 'uniform' and cfg.model.student.backbone.stem_channels == 128


def test_learning_rates():
    """Poly with power 0.9 from base to 0; the backbone always has a tenth."""
    cfg = load('voc_1464')
    model = tiny_model('cct')
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    (schedule,) = cfg.param_scheduler
    assert schedule.pop('type') == 'PolyLR'
    total = cfg.train_cfg.max_iters
    assert schedule['end'] == total and schedule['power'] == 0.9 and schedule['eta_min'] == 0
    rates = {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            rates[names.pop(id(parameter))] = group
    assert not names  # the auxiliary decoders are trained, too
    for name, group in rates.items():
        assert group['lr'] == pytest.approx(0.001 if 'backbone' in name else 0.01)
        assert group['weight_decay'] == 1e-4
    wrapper.optimizer.step()
    short = PolyLR(wrapper.optimizer, **schedule | dict(end=20))
    for _ in range(19):
        short.step()
    assert all(group['lr'] == pytest.approx(0, abs=1e-12) for group in rates.values())
    for group in rates.values():
        group['lr'] = group['initial_lr']
    scheduler = PolyLR(wrapper.optimizer, **schedule)
    for iteration in range(200):
        fraction = (1 - iteration / (total - 1)) ** 0.9
        for name, group in list(rates.items())[::40]:
            base = 0.001 if 'backbone' in name else 0.01
            assert group['lr'] == pytest.approx(base * fraction, rel=1e-6)
        scheduler.step()


def test_the_baseline_differs_by_the_objective_alone():
    for name in ('voc_1464_r50', 'camvid_46', SMALL):
        cct, supervised = load(name), load(f'supervised/{name}')
        assert supervised.model.student == cct.model.student
        assert supervised.train_cfg == cct.train_cfg
        assert supervised.optim_wrapper == cct.optim_wrapper
        assert supervised.param_scheduler == cct.param_scheduler
        labelled = cct.train_dataloader.sampler.source_ratio[0]
        assert supervised.train_dataloader.sampler.source_ratio == [1]
        assert supervised.train_dataloader.batch_size == labelled
        assert [o.type for o in supervised.model.objectives] == ['SupervisedObjective']
        sources = [cfg.train_dataloader.dataset.labeled for cfg in (cct, supervised)]
        assert sources[0] == sources[1]


def test_the_ablation_has_every_type_alone():
    cct = load(SMALL).model.objectives[1]
    found = []
    for path in sorted((CONFIGS / 'ablations').glob('camvid*.py')):
        own = Config.fromfile(path).model.objectives[1]
        ((kind),) = own.perturbations
        found.append(kind.type)
        assert own.weight == cct.weight
        assert own.background_classes == cct.background_classes
    assert sorted(found) == sorted(kind['type'] for kind in PUBLISHED)


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.rglob('camvid*.py')) + sorted(CONFIGS.rglob('cityscapes_372.py'))
)
def test_objects_are_what_stands_on_the_ground(path):
    cfg = Config.fromfile(path)
    own = cfg.model.objectives[-1]
    if own.type != 'CCTObjective' or 'reference' in path.parts:
        return
    from mmseg.datasets import CityscapesDataset

    from mmseg_semi.data.camvid import CamVidDataset

    dataset = CityscapesDataset if 'cityscapes' in path.name else CamVidDataset
    names = [name.lower() for name in dataset.METAINFO['classes']]
    background = {names[index] for index in own.background_classes}
    assert {'sky', 'road', 'building'} <= background
    assert not background & {'car', 'person', 'pedestrian', 'bicycle', 'bicyclist', 'pole', 'fence'}


def test_published_lists():
    """Lists are disjoint and hold the 10,582 images together; hashes pin their contents."""
    protocols = published_protocols()
    for count in (*COUNTS, 1464):
        pair = protocols[f'voc cct {count}']
        assert pair['labeled']['count'] == count
        assert pair['unlabeled']['count'] == 10582 - count


@pytest.mark.skipif(not LISTS.is_dir(), reason='data/splits/cct is absent (tools/splits.py import)')
def test_imported_lists_are_nested():
    def read(path: Path) -> set[str]:
        return set(path.read_text().split())

    everything, inner = None, set()
    for count in COUNTS:
        labelled = read(LISTS / str(count) / 'labeled.txt')
        unlabelled = read(LISTS / str(count) / 'unlabeled.txt')
        assert not labelled & unlabelled and len(labelled) == count
        everything = everything or labelled | unlabelled
        assert labelled | unlabelled == everything and len(everything) == 10582
        assert inner < labelled
        inner = labelled
    assert len(inner & read(LISTS / '1464' / 'labeled.txt')) == 432
    assert not everything & read(LISTS / 'val.txt')


def test_labelled_images_come_back_with_another_crop(tmp_path):
    """This holds within an epoch of the unlabelled list; the released loader repeats the first crops."""
    cfg = tiny_data(tmp_path, 'cct')
    init_default_scope('mmseg')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    arguments = {k: v for k, v in cfg.train_dataloader.sampler.items() if k != 'type'}
    keys = itertools.islice(MultiSourceSampler(dataset, **arguments, seed=0), 24)
    seen = {}
    for key in keys:
        batch = pseudo_collate([dataset[key]])
        if batch['inputs']['labeled'][0] is not None:
            seen.setdefault(key.index, []).append(batch['inputs']['labeled'][0])
    assert len(seen) == 4 and min(map(len, seen.values())) >= 2
    for crops in seen.values():
        for one, other in itertools.combinations(crops, 2):
            assert not torch.equal(one, other)
