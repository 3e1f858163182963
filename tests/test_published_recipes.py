"""The configs that carry published recipes, against the numbers of the released code."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR

import mmseg_semi  # noqa: F401  (registers)
from mmseg_semi.hooks import FlowEstimatorHook
from mmseg_semi.schedules import build_schedule

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
