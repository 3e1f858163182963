"""UniMatch's views beside other methods, and the published constants."""

import pytest
import torch
from miniatures import ROOT
from mmengine.config import Config
from tiny_semi import tiny_batch, tiny_losses, tiny_model, tiny_recipe

from mmseg_semi.data.splits import epoch_length, published_protocols


def load(name: str) -> Config:
    return Config.fromfile(ROOT / f'configs/{name}.py')


def test_ddfp_learns_beside_a_view_of_dropped_features():
    recipe = tiny_recipe('ddfp')
    features = dict(type='SelfTrainingObjective', view='features', name='features')
    model = tiny_model(
        'ddfp',
        objectives=[*recipe['objectives'], features],
        feature_views=[dict(type='ChannelDropout', views=dict(features='weak'))],
    )
    losses = tiny_losses(model, 4, tiny_batch(2, 3))
    assert {'selftrain.loss', 'ddfp.loss', 'features.loss'} <= losses.keys()
    # the perturbation is that of the strong view, as without the other
    assert len(model.last_views.student.mixed.fused) == 3
    model.parse_losses(losses)[0].backward()
    missing = [name for name, p in model.student.named_parameters() if p.grad is None]
    assert not missing


def test_ddfp_may_move_the_features_of_another_view():
    recipe = tiny_recipe('ddfp')
    recipe['objectives'][2]['view'] = 'strong_2'
    model = tiny_model('ddfp', objectives=recipe['objectives'])
    losses = tiny_losses(model, 4, tiny_batch(2, 3))
    assert losses['ddfp.loss'] > 0 and model.last_views.student.of('strong_2') is not None


@pytest.mark.parametrize(
    ('name', 'epochs'),
    [
        ('unimatch/voc_732', 80),
        ('unimatch/voc_92', 80),
        ('unimatch/cityscapes_372', 240),
        ('unimatch_v2/voc_732_dinov2_b', 60),
        ('unimatch_v2/voc_92_dinov2_s', 60),
        ('unimatch_v2/cityscapes_186_dinov2_b', 180),
        ('unimatch_v2/ade20k_1263_dinov2_s', 60),
        ('unimatch_v2/ade20k_316_dinov2_b', 60),
        ('unimatch_v2/coco_925_dinov2_s', 20),
        ('unimatch_v2/coco_3697_dinov2_b', 20),
    ],
)
def test_published_lengths(name, epochs):
    cfg = load(name)
    count = published_protocols()[cfg.train_dataloader.dataset.split]['unlabeled']['count']
    images = cfg.train_dataloader.sampler.source_ratio[1]
    assert cfg.model.iters_per_epoch == epoch_length(count, images, cfg.gpus)
    assert cfg.train_cfg.max_iters == epochs * cfg.model.iters_per_epoch


def test_published_weights_and_optimisers():
    for name, threshold in (('voc_732', 0.95), ('cityscapes_372', 0.0)):
        cfg = load(f'unimatch/{name}')
        assert cfg.model.pseudo_label.threshold == threshold
        assert [o.get('weight') for o in cfg.model.objectives] == [0.5, 0.125, 0.125, 0.25]
        # (labelled + strong / 4 + strong / 4 + features / 2) / 2
        assert sum(o.weight for o in cfg.model.objectives) == 1
    assert load('unimatch/voc_732').optim_wrapper.optimizer.lr == 0.001
    assert load('unimatch/cityscapes_372').optim_wrapper.optimizer.lr == 0.005
    for name, classes, images in (
        ('voc_732_dinov2_b', 21, 4),
        ('cityscapes_372_dinov2_b', 19, 2),
        ('ade20k_316_dinov2_b', 150, 2),
        ('coco_232_dinov2_b', 81, 4),
    ):
        cfg = load(f'unimatch_v2/{name}')
        assert cfg.model.student.decode_head.num_classes == classes
        assert cfg.train_dataloader.sampler.source_ratio == [images, images] and cfg.gpus == 4
        assert [o.get('weight') for o in cfg.model.objectives] == [0.5, 0.25, 0.25]
        assert cfg.model.pseudo_label.threshold == 0.95
        assert cfg.default_hooks.teacher.momentum == pytest.approx(1 - 0.996)
        assert cfg.optim_wrapper.optimizer.lr == 5e-6
        keys = cfg.optim_wrapper.paramwise_cfg.custom_keys
        assert keys == dict(decode_head=dict(lr_mult=40.0))
        assert cfg.model.student.decode_head.embed_dims == 768


def test_the_same_labels_teach_every_view_of_the_weak_one():
    model = tiny_model('unimatch')
    tiny_losses(model, 2, tiny_batch(2, 3))
    teacher = model.last_views.teacher
    for view in ('strong', 'strong_2'):
        moved = teacher.labels_of(view)
        images = model.last_views.batch.unlabeled.image(view)
        own = (moved.img_u_m == images).all(dim=1)
        assert torch.equal(moved.pseudo_m.labels[own], teacher.pseudo_u.labels[own])
