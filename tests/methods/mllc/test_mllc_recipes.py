"""MLLC's configs against the numbers of the authors' released ones, and against each other."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS
from tiny_semi import tiny_model, tiny_recipe

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = sorted((ROOT / 'configs/mllc').rglob('*.py'))
CROPS = {'cityscapes': (256, 512), 'voc': (321, 321)}


def load(name: str) -> Config:
    return Config.fromfile(ROOT / f'configs/mllc/{name}.py')


def without_weights(node):
    """Read no file, and use norms that work in one process."""
    if isinstance(node, dict):
        if isinstance(node.get('init_cfg'), dict):
            node['init_cfg'] = None
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        for child in node.values():
            without_weights(child)
    elif isinstance(node, list | tuple):
        for child in node:
            without_weights(child)
    return node


@pytest.mark.parametrize(
    'name, batch, iterations, classes',
    [('cityscapes_372', 2, 16_000, 19), ('voc_732', 10, 160_000, 21)],
)
def test_numbers_of_the_released_configs(name, batch, iterations, classes):
    cfg = load(name)
    assert cfg.train_dataloader.sampler.source_ratio == [batch, batch]
    assert cfg.train_dataloader.batch_size == 2 * batch
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == iterations
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (2.5e-4, 0.9, 5e-4)
    for source in ('labeled', 'unlabeled'):
        pipeline = cfg.train_dataloader.dataset[source].pipeline
        kinds = [transform.type for transform in pipeline]
        assert 'RandomFlip' not in kinds and 'strong' not in pipeline[-1]
        crop = pipeline[kinds.index('RandomScaleCrop')]
        assert tuple(crop.crop_size) == CROPS[name.partition('_')[0]]
    head = cfg.model.student.decode_head
    assert (head.num_classes, head.embedding_channels, head.rounds) == (classes, 256, 2)
    mixing = cfg.model.mixing
    assert mixing.mixing.type == 'ClassMix' and 'num_classes' not in mixing
    inner = cfg.model.data_preprocessor.data_preprocessor
    assert (mixing.mean, mixing.std, mixing.bgr_to_rgb) == (inner.mean, inner.std, inner.bgr_to_rgb)
    assert cfg.default_hooks.teacher.momentum == 0.01


def test_profiles():
    """The objective's defaults are the paper's reading; the reference sets what is different."""
    for name in ('cityscapes_372', 'voc_732'):
        plain, reference = load(name).model, load(f'reference/{name}').model
        assert plain.teacher == dict(weights='ema', mode='eval', buffers='copy', rows='weak')
        assert (reference.teacher.weights, reference.teacher.mode) == ('student', 'train')
        assert reference.pseudo_label.pad_mask is False
        assert reference.pseudo_label.label_grid == 'nearest'
        assert reference.student.decode_head.graph == dict(clg_gate='permuted')
        assert 'graph' not in plain.student.decode_head
        ours, theirs = plain.objectives[1], reference.objectives[1]
        assert (ours.w_inter, ours.w_intra, ours.inter_start) == (0.1, 0.1, 2000)
        assert (theirs.w_intra, theirs.banks) == (0.0, 'shared')
    model = tiny_model(
        'mllc', objectives=[dict(type='SupervisedObjective'), dict(type='MLLCObjective')]
    )
    objective, labeler = model.objectives[1], model.pseudo_label
    assert (objective.w_sup, objective.w_clg) == (1, 1)
    assert (objective.tau_omega, objective.omega_mode) == (0.968, 'threshold_uniform')
    assert (objective.contrast_scale, objective.bank_momentum, objective.inter_start) == (
        10,
        0.99,
        2000,
    )
    assert labeler.pad_mask and labeler.label_grid == 'aligned'
    head = MODELS.build(without_weights(load('cityscapes_372').model.student.decode_head))
    for one in head.rounds:
        assert (one.top_k, one.blend_reliable, one.blend_unreliable) == (20, 0.2, 0.8)
        assert one.clg_gate == 'input'


def test_the_head_always_has_ten_times_the_learning_rate():
    init_default_scope('mmseg')
    cfg = load('cityscapes_372').optim_wrapper
    model = tiny_model('mllc')
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=cfg.constructor,
            optim_wrapper_cfg=dict(type='OptimWrapper', optimizer=dict(cfg.optimizer)),
            paramwise_cfg=dict(cfg.paramwise_cfg),
        )
    )
    wrapper = constructor(model)
    head = {id(p) for p in model.student.decode_head.parameters()}
    encoder = {id(p) for p in model.student.backbone.parameters()}

    def rates(which):
        return {
            group['lr']
            for group in wrapper.optimizer.param_groups
            if any(id(p) in which for p in group['params'])
        }

    length = 40
    poly = PARAM_SCHEDULERS.build(
        dict(
            type='PolyLR',
            power=0.9,
            eta_min=0.0,
            begin=0,
            end=length,
            by_epoch=False,
            optimizer=wrapper,
        )
    )
    for t in range(length):
        (slow,), (fast,) = rates(encoder), rates(head)
        assert fast == pytest.approx(10 * slow)
        # MMEngine is at 0 in the last iteration, the released code would be after it
        assert slow == pytest.approx(2.5e-4 * (1 - t / (length - 1)) ** 0.9, rel=1e-6, abs=1e-12)
        wrapper.optimizer.step()
        poly.step()


def test_the_ablation_differs_in_nothing_but_the_rounds():
    complete = load('camvid_46_small')
    for rounds in (0, 1):
        cfg = load(f'ablations/camvid_46_small_k{rounds}')
        assert cfg.model.student.decode_head.rounds == rounds
        cfg.model.student.decode_head.rounds = 2
        assert cfg._cfg_dict == complete._cfg_dict


@pytest.mark.parametrize('method', ['mllc', 'mllc_reference'])
def test_all_rounds_start_from_one_network(method):
    heads = [
        tiny_model(method, student=_student(method, rounds)).student.state_dict()
        for rounds in (0, 2)
    ]
    for name, value in heads[0].items():
        assert torch.equal(value, heads[1][name]), name


def _student(method: str, rounds: int) -> dict:
    student = tiny_recipe(method)['student']
    student['decode_head']['rounds'] = rounds
    return student
