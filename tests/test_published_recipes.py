"""The configs that carry published recipes, against the numbers of the released code."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from shipped import shipped

import mmseg_semi  # noqa: F401  (registers)
from mmseg_semi.methods.ddfp.hook import FlowEstimatorHook
from mmseg_semi.step.schedules import build_schedule

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
VOC = ('ddfp/voc_732.py', 'ddfp/reference/voc_732.py')
# iterations an epoch on 4 GPUs with 4 + 4 images each, from the released logs
EPOCHS = {'732': 615, '1464': 570, '92': 655}


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / name)


@pytest.mark.parametrize('name', VOC)
def test_ddfp_on_voc(name):
    cfg = load(name)
    unit = cfg.model.iters_per_epoch
    assert unit == 615 and cfg.train_cfg.max_iters == 80 * 615
    supervised, selftrain, ddfp = (
        [
            build_schedule(objective.get('weight', default))(i / unit)
            for i in (0, 614, 615, 1229, 1230, 49199)
        ]
        for objective, default in zip(cfg.model.objectives, (1.0, 1.0, 0.5), strict=True)
    )
    assert supervised == [1] * 6
    assert selftrain == [0, 0, 1, 1, 0.5, 0.5]
    assert ddfp == [0, 0, 0, 0, 0.5, 0.5]
    own = cfg.model.objectives[2]
    assert (own.eps, own.samples, own.noise, own.density_start) == (4.0, 20480, 0.05, 1)
    assert cfg.model.pseudo_label.threshold == 0.95 and cfg.model.mixing.prob == 0.5
    assert cfg.train_dataloader.sampler.source_ratio == [4, 4]
    assert tuple(cfg.crop_size) == (513, 513)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.001, 0.9, 1e-4)
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult == 10
    flow = cfg.default_hooks.flow
    assert (flow.lr, tuple(flow.betas), flow.clip, flow.epochs) == (1e-3, (0.5, 0.9), 50.0, 80)
    hook = FlowEstimatorHook(**{key: value for key, value in flow.items() if key != 'type'})
    hook.iters_per_epoch = unit
    for epoch in (0, 1, 40, 79):
        assert hook.lr(epoch * unit) == pytest.approx(1e-3 * 0.01 ** (epoch / 80))
    assert cfg.default_hooks.teacher.momentum == 0.001


def test_what_the_reference_changes():
    plain, reference = (load(name).model for name in VOC)
    assert plain.teacher.weights == 'ema'
    teacher = reference.teacher
    assert (teacher.weights, teacher['mode'], teacher.buffers) == ('shared', 'train', 'own')
    assert teacher.rows == plain.teacher.rows == 'labeled+weak'
    assert [o.get('divisor') for o in reference.objectives[1:]] == ['confident'] * 2
    assert reference.objectives[2].auxiliary_half and not plain.objectives[2].get('auxiliary_half')
    assert reference.student.backbone.stem_channels == 128


@pytest.mark.parametrize('count', EPOCHS)
def test_iterations_of_an_epoch(count):
    unlabelled = 10582 - int(count)
    assert math.ceil(unlabelled / 4) // 4 == EPOCHS[count]
    assert load(f'ddfp/voc_{count}.py').model.iters_per_epoch == EPOCHS[count]


def test_learning_rate_of_the_segmentor():
    """lr0 (1 - i / i_max)^0.9: 0.5359 lr0 at half time."""
    cfg = load('ddfp/voc_732.py')
    (schedule,) = cfg.param_scheduler
    assert schedule.pop('type') == 'PolyLR'
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.001)
    scheduler = PolyLR(optimizer, **schedule)
    total = cfg.train_cfg.max_iters
    optimizer.step()
    for iteration in range(total):
        if iteration in (0, total // 4, total // 2, total - 100):
            expected = 0.001 * (1 - iteration / total) ** 0.9
            # MMEngine ends at 0 one iteration earlier
            assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=0.01)
        if iteration == total // 2:
            assert optimizer.param_groups[0]['lr'] == pytest.approx(0.5359e-3, rel=1e-3)
        scheduler.step()


def test_ddfp_on_cityscapes():
    cfg = load('ddfp/cityscapes_372.py')
    assert tuple(cfg.crop_size) == (801, 801)
    assert cfg.train_dataloader.sampler.source_ratio == [2, 2]
    loss = cfg.model.student.decode_head.loss_decode
    assert (loss.type, loss.threshold, loss.min_kept) == ('OHEMCrossEntropyLoss', 0.7, 200_000)
    assert cfg.optim_wrapper.optimizer.lr == 0.005
    assert not (cfg.optim_wrapper.get('paramwise_cfg') or {}).get('custom_keys')
    unit = cfg.model.iters_per_epoch
    assert unit == math.ceil((2975 - 372) / 4) // 2
    assert cfg.train_cfg.max_iters == 240 * unit and cfg.default_hooks.flow.epochs == 240
    assert cfg.model.student.decode_head.num_classes == 19
    test_cfg = cfg.model.student.test_cfg
    assert test_cfg['mode'] == 'slide' and tuple(test_cfg.crop_size) == (801, 801)
    assert tuple(test_cfg.stride) == (534, 534)


# -- DGCL ----------------------------------------------------------------------------------------

DGCL = ('dgcl/voc_732.py', 'dgcl/reference/voc_732.py')


@pytest.mark.parametrize('name', DGCL)
def test_dgcl_on_voc(name):
    cfg = load(name)
    unit = cfg.model.iters_per_epoch
    assert unit == 615 and cfg.train_cfg.max_iters == 80 * 615
    _, selftrain, dgcl = cfg.model.objectives
    for objective, expected in ((selftrain, 0.5), (dgcl, 0.125)):
        weights = [build_schedule(objective.weight)(i / unit) for i in (0, 614, 615, 49199)]
        assert weights == [0, 0, expected, expected]
    found = [dgcl[key] for key in ('anchors', 'positives', 'bank_positives', 'negatives')]
    assert found == [200, 50, 50, 512]
    found = [dgcl[key] for key in ('max_density_queries', 'bank_size', 'rows_per_step')]
    assert found == [10_000, 10_000, 1000]
    assert dgcl.density_after == 1000 and dgcl.contrast.temperature == 0.5
    assert list(dgcl.excluded_classes) == [0]
    # 20 to 0 percent of the pixels without a pseudo-label, 80 to 10 without a class in the contrast
    drop, uncertain = build_schedule(cfg.model.pseudo_label.drop), build_schedule(dgcl.uncertain)
    for progress, first, second in ((0, 20, 80), (0.5, 10, 40), (0.875, 2.5, 10), (0.99, 0.2, 10)):
        # the reference moves once an epoch, one 79th of the way
        step = 1.02 / 79 if 'reference' in name else 1e-6
        assert drop(1 + 79 * progress) == pytest.approx(first, abs=20 * step)
        assert uncertain(1 + 79 * progress) == pytest.approx(second, abs=80 * step)


def test_what_the_reference_of_dgcl_changes():
    plain, reference = (load(name).model for name in DGCL)
    assert plain.objectives[2].gate == 'per_class' and reference.objectives[2].gate == 'all'
    assert reference.objectives[1].divisor == 'inverse'
    teacher = reference.teacher
    assert (teacher.weights, teacher['mode'], teacher.buffers) == ('ema', 'train', 'own')
    assert (teacher.start, teacher.copy_until) == (1, 2)
    # the strong view is the weak one: there is none of its own
    branches = load(DGCL[1]).train_dataloader.dataset.unlabeled.pipeline[-1]
    assert 'weak' in branches and 'strong' not in branches
    falling = build_schedule(reference.pseudo_label.drop)
    for epoch in (1, 2, 40, 79):
        for t in (epoch, epoch + 0.99):
            assert falling(t) == pytest.approx(20 * (1 - (epoch - 1) / 79))


def test_dgcl_on_cityscapes():
    cfg = load('dgcl/reference/cityscapes_372.py')
    unit = cfg.model.iters_per_epoch
    assert unit == math.ceil((2975 - 372) / 8) // 2 == 163 and cfg.train_cfg.max_iters == 200 * unit
    assert cfg.optim_wrapper.optimizer.lr == 0.01
    for source in ('labeled', 'unlabeled'):
        pipeline = cfg.train_dataloader.dataset[source].pipeline
        (crop,) = [step.crop_size for step in pipeline if step['type'] == 'RandomScaleCrop']
        assert tuple(crop) == (769, 769)
    dgcl = cfg.model.objectives[2]
    assert list(dgcl.excluded_classes) == []
    # labels alone for ten epochs
    assert (cfg.model.teacher.start, cfg.model.teacher.copy_until) == (10, 11)
    for objective, expected in ((cfg.model.objectives[1], 0.5), (dgcl, 0.0625)):
        weights = [build_schedule(objective.weight)(epoch) for epoch in (9.99, 10, 199)]
        assert weights == [0, expected, expected]
    drop, uncertain = build_schedule(cfg.model.pseudo_label.drop), build_schedule(dgcl.uncertain)
    for epoch in (10, 11, 105, 176, 177, 199):
        progress = (epoch - 10) / 190
        assert drop(epoch) == pytest.approx(20 * (1 - progress))
        assert uncertain(epoch) == pytest.approx(max(80 * (1 - progress), 10))
    auxiliary = cfg.model.student.auxiliary_head.loss_decode
    assert (auxiliary.type, auxiliary.loss_weight) == ('OHEMCrossEntropyLoss', 0.4)
    assert auxiliary.min_kept == cfg.model.student.decode_head.loss_decode.min_kept == 100_000
    assert tuple(cfg.model.student.decode_head.dilations) == (12, 24, 36)
    plain = load('dgcl/cityscapes_372.py').model
    assert (
        list(plain.objectives[2].excluded_classes) == []
        and plain.student.decode_head.num_classes == 19
    )


@pytest.mark.parametrize(
    ('name', 'dilations', 'crop', 'grid'),
    [
        ('voc_732', [2, 4, 8], 513, (129, 33)),
        ('cityscapes_372', [4, 8, 16], 769, (193, 97)),
    ],
)
def test_backbone_of_the_reference_of_dgcl(name, dilations, crop, grid):
    cfg = load(f'dgcl/reference/{name}.py').model.student.backbone
    # the same grid with fewer and narrower layers
    cfg.update(depth=50, base_channels=4, stem_channels=4, init_cfg=None, norm_cfg=dict(type='BN'))
    init_default_scope('mmseg')
    backbone = MODELS.build(cfg)
    backbone.eval()
    assert [block.conv2.dilation[0] for block in backbone.layer4] == dilations
    with torch.no_grad():
        sizes = [tuple(level.shape[2:]) for level in backbone(torch.zeros(1, 3, crop, crop))]
    assert sizes[0] == (grid[0],) * 2 and sizes[3] == (grid[1],) * 2


def configs_of(method: str) -> dict[str, Config]:
    return {path.stem: shipped(path) for path in sorted((CONFIGS / method).glob('*.py'))}


def test_dgcl_has_a_config_for_every_split_of_fixmatch():
    other = configs_of('fixmatch')
    for method in ('dgcl', 'dgcl/reference'):
        found = configs_of(method)
        for name, cfg in found.items():
            base = other[name]
            split = cfg.train_dataloader.dataset.split
            assert split == base.train_dataloader.dataset.split, (method, name)
            if 'cityscapes' not in name or method == 'dgcl':
                assert cfg.model.iters_per_epoch == base.model.iters_per_epoch
                assert cfg.train_cfg == base.train_cfg
        networks = ('segformer', 'dinov2', 'convnext')
        examples = {name for name in other if any(network in name for network in networks)}
        missing = other.keys() - found.keys() - examples
        assert not {
            name for name in missing if method == 'dgcl' or 'voc' in name and 'r50' not in name
        }


def test_the_control_of_dgcl_lacks_the_contrast_alone():
    whole, control = (
        load('dgcl/camvid_46_small.py'),
        load('dgcl/ablations/camvid_46_small_no_contrast.py'),
    )
    assert control.model.objectives == whole.model.objectives[:2]
    assert [o.type for o in control.model.objectives] == [
        'SupervisedObjective',
        'SelfTrainingObjective',
    ]
    assert build_schedule(control.model.objectives[1].weight)(8) == 0.5
    assert control.model.pseudo_label.type == 'EntropyPercentile'
    init_default_scope('mmseg')
    weights = []
    for cfg in (whole, control):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        weights.append(model.state_dict())
    # one seed, one student
    assert all(value.equal(weights[0][name]) for name, value in weights[1].items())
    rest = weights[0].keys() - weights[1].keys()
    assert all('projection' in name or '.bank.' in name for name in rest)
    for cfg in (whole, control):
        del cfg.model['objectives'], cfg.model['student']['decode_head']['projection']
    assert whole._cfg_dict == control._cfg_dict
