"""Any mmseg segmentor as the student: backbones and heads that are not ours, under FixMatch and DDFP."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain_here import import_mmpretrain  # noqa: F401  (pytest evaluates its name)
from mmseg.registry import MODELS
from tiny_semi import (
    tiny_batch,
    tiny_data,
    tiny_head,
    tiny_losses,
    tiny_model,
    tiny_norm,
    tiny_runner,
)

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import two_stage
from mmseg_semi.runtime import configs, devices

ROOT = Path(__file__).resolve().parents[1]
SIZE = 64
EVERY_PIXEL = dict(type='ConfidenceThreshold', threshold=0.0)
MIT = dict(
    type='MixVisionTransformer',
    embed_dims=8,
    num_layers=[1, 1, 1, 1],
    num_heads=[1, 2, 4, 8],
    patch_sizes=[7, 3, 3, 3],
    sr_ratios=[8, 4, 2, 1],
    mlp_ratio=2,
    qkv_bias=True,
    drop_path_rate=0.1,
)
RESNET = dict(
    type='ResNetV1c',
    depth=18,
    base_channels=8,
    stem_channels=8,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    norm_cfg=tiny_norm('BN'),
)
VIT = dict(
    type='VisionTransformer',
    img_size=(SIZE, SIZE),
    patch_size=16,
    embed_dims=16,
    num_layers=4,
    num_heads=2,
    mlp_ratio=2,
    out_indices=(0, 1, 2, 3),
    qkv_bias=True,
)
SWIN = dict(
    type='SwinTransformer',
    pretrain_img_size=SIZE,
    embed_dims=8,
    depths=[1, 1, 1, 1],
    num_heads=[1, 2, 4, 8],
    window_size=4,
    mlp_ratio=2,
)


def levels(*channels) -> dict:
    return dict(in_channels=list(channels), in_index=[0, 1, 2, 3])


def last(channels) -> dict:
    return dict(in_channels=channels, in_index=3)


STUDENTS = {
    'segformer': dict(
        backbone=MIT,
        decode_head=tiny_head('SegformerHead', **levels(8, 16, 32, 64)),
    ),
    'pspnet': dict(
        backbone=RESNET,
        decode_head=tiny_head('PSPHead', **last(64), pool_scales=(1, 2, 3, 6)),
        auxiliary_head=tiny_head('FCNHead', in_channels=32, in_index=2, num_convs=1),
    ),
    'upernet_vit': dict(
        backbone=VIT,
        neck=dict(
            type='MultiLevelNeck', in_channels=[16] * 4, out_channels=16, scales=[4, 2, 1, 0.5]
        ),
        decode_head=tiny_head('UPerHead', **levels(16, 16, 16, 16)),
    ),
    'dpt_vit': dict(
        backbone=VIT,
        decode_head=dict(
            type='DPTMapHead',
            embed_dims=16,
            post_process_channels=[4, 8, 16, 16],
            channels=16,
            num_classes=3,
            norm_cfg=tiny_norm('BN'),
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
            **levels(16, 16, 16, 16),
        ),
    ),
    'upernet_swin': dict(backbone=SWIN, decode_head=tiny_head('UPerHead', **levels(8, 16, 32, 64))),
    'fcn': dict(backbone=RESNET, decode_head=tiny_head('FCNHead', **last(64), num_convs=2)),
}


def student(name: str, **changes) -> dict:
    return dict(
        type='EncoderDecoder',
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
        **STUDENTS[name] | changes,
    )


@pytest.mark.parametrize('method', ['fixmatch', 'ddfp'])
@pytest.mark.parametrize('name', STUDENTS)
def test_training_reaches_every_parameter_in_every_phase(name, method):
    model = tiny_model(method, student=student(name), pseudo_label=EVERY_PIXEL)
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9
    )
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    assert all(key.startswith('student.') for key in trained)
    active = {0: ['sup'], 2: ['sup', 'selftrain'], 4: ['sup', 'selftrain', 'ddfp']}
    for iteration in (0, 2, 4, 5):
        losses = tiny_losses(model, iteration, tiny_batch(size=SIZE, seed=iteration))
        loss, values = model.parse_losses(losses)
        for prefix in active[iteration // 2 * 2]:
            if prefix != 'ddfp' or method == 'ddfp':
                assert any(
                    k.startswith(prefix) and 'loss' in k and v > 0 for k, v in values.items()
                )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # what DistributedDataParallel demands without find_unused_parameters
        assert not [key for key, p in trained.items() if p.grad is None]
        optimizer.step()
        model.finish_step()
    assert 0 < values['selftrain.confident'] <= 1
    assert ('ddfp.bits_per_dim' in values) == (method == 'ddfp')


@pytest.mark.parametrize('name', STUDENTS)
def test_the_two_stages_are_the_heads_own_forward(name):
    network = tiny_model('fixmatch', student=student(name)).student.eval()
    head = network.decode_head
    stages = two_stage(head)
    with torch.no_grad():
        inputs = network.extract_feat(torch.randn(2, 3, SIZE, SIZE))
        output = stages.finish(stages.lift(stages.embed(inputs)))
        assert torch.equal(output.logits, head(inputs))
        assert torch.equal(head.conv_seg(output.features), output.logits)
    assert 'cls_seg' not in vars(head)  # the view leaves no trace


@pytest.mark.parametrize('name', STUDENTS)
def test_the_classifiers_input_moves_to_lower_density(name):
    model = tiny_model('ddfp', student=student(name), pseudo_label=EVERY_PIXEL)
    losses = tiny_losses(model, 4, tiny_batch(size=SIZE))
    rows, objective = model.last_views.student.mixed, model.objectives[2]
    everywhere = torch.ones(rows.fused.shape[0], *rows.fused.shape[2:], dtype=torch.bool)
    moved = objective.perturbation(rows.fused, rows.lifted, everywhere)
    torch.testing.assert_close(moved.norm(dim=1), torch.full(moved[:, 0].shape, objective.eps))

    def log_density(features):
        return objective.density.log_prob(features.detach().movedim(1, -1).flatten(0, 2))

    # a thousandth of the way, where the density is as good as linear: lower at every pixel
    drop = log_density(rows.features) - log_density(rows.features + 1e-3 * moved)
    assert (drop > 0).all()
    assert losses['ddfp.loss'] > 0 and losses['ddfp.loss'].requires_grad


def test_unimatch_v2_on_a_vit_at_a_size_that_is_not_its_own():
    model = tiny_model('unimatch_v2', student=student('dpt_vit'), pseudo_label=EVERY_PIXEL)
    losses = tiny_losses(model, 2, tiny_batch(num_unlabeled=4, size=SIZE + 32))
    views = model.last_views.student
    kept = [
        torch.stack([level.abs().sum(dim=(2, 3)) > 0 for level in views.of(name).backbone])
        for name in ('dropped', 'dropped_2')
    ]
    # the four maps share their channels; two of four images stay whole
    for used in kept:
        assert torch.equal(used, used[:1].expand_as(used))
    whole = (kept[0] & kept[1])[0].all(dim=1)
    assert whole.sum() == 2 and not (kept[0] & kept[1])[:, ~whole].any()
    model.parse_losses(losses)[0].backward()
    assert not [name for name, p in model.student.named_parameters() if p.grad is None]


def test_dpt_without_class_tokens_is_mmsegs_head():
    config = STUDENTS['dpt_vit']['decode_head']
    ours = MODELS.build(config).eval()
    theirs = MODELS.build(config | dict(type='DPTHead', input_transform='multiple_select')).eval()
    theirs.load_state_dict(ours.state_dict())
    maps = [torch.randn(2, 16, 5, 7) for _ in range(4)]
    tokens = [torch.full((2, 16), torch.nan) for _ in range(4)]  # not read
    with torch.no_grad():
        assert torch.equal(ours(maps), theirs([*zip(maps, tokens, strict=True)]))


def test_a_whole_run_with_segformer(tmp_path):
    # the runner's probe, optimiser, hooks, checkpoint and the scores of both networks
    changes = dict(
        student=student(
            'segformer',
            decode_head=tiny_head('SegformerHead', num_classes=11, **levels(8, 16, 32, 64)),
        )
    )
    cfg = tiny_data(tmp_path, 'ddfp', iterations=6, checkpoint_interval=6, model=changes)
    runner = tiny_runner(cfg)
    runner.train()
    saved = torch.load(tmp_path / 'work_dir/iter_6.pth', weights_only=True)
    assert saved['state_dict'].keys() == runner.model.state_dict().keys()
    assert {'student/mIoU', 'teacher/mIoU'} <= set(runner.message_hub.get_info('results')[-1])


def test_heads_that_cannot_serve_are_refused_by_name():
    # DANet's head returns three maps
    model = tiny_model(
        'fixmatch',
        student=student('fcn', decode_head=tiny_head('DAHead', **last(64), pam_channels=4)),
    )
    with pytest.raises(SetupError, match='DAHead calls cls_seg'):
        tiny_losses(model, 2, tiny_batch(size=SIZE))
    cascade = dict(
        type='CascadeEncoderDecoder',
        num_stages=2,
        decode_head=[
            tiny_head('FCNHead', **last(64), num_convs=1),
            tiny_head('OCRHead', **last(64), ocr_channels=4),
        ],
    )
    with pytest.raises(SetupError, match='a cascade of heads'):
        tiny_model('fixmatch', student={**student('fcn'), **cascade})


def test_ddfp_refuses_an_odd_number_of_features():
    head = tiny_head('FCNHead', **last(64), channels=15, num_convs=1)
    with pytest.raises(SetupError, match='channels=15 is odd'):
        tiny_model('ddfp', student=student('fcn', decode_head=head))


# -- the shipped configs -----------------------------------------------------------------------


@pytest.mark.parametrize('method', ['supervised', 'fixmatch', 'ddfp'])
def test_the_segformer_config_trains(method):
    cfg = configs.load_config(ROOT / f'configs/{method}/camvid_46_segformer_b0.py')
    init_default_scope('mmseg')
    devices.replace_sync_bn(cfg.model)  # as the runner does in one process
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    groups = wrapper.optimizer.param_groups
    listed = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    trained = {k: p for k, p in model.student.named_parameters()}
    assert listed.keys() == {id(p) for p in trained.values()}
    assert listed[id(trained['backbone.layers.0.1.0.norm1.weight'])] == 0
    assert listed[id(trained['backbone.layers.0.1.0.attn.attn.in_proj_weight'])] == 0.01
    semi = method != 'supervised'
    batch = tiny_batch(num_unlabeled=2 if semi else 0, num_classes=11, size=96)
    losses = tiny_losses(model, 2 * model.iters_per_epoch, batch)
    assert ('ddfp.loss' in losses) == (method == 'ddfp')
    wrapper.update_params(model.parse_losses(losses)[0])


# -- backbones of mmpretrain -------------------------------------------------------------------


DINO = [
    f'configs/{name}.py'
    for name in (
        'fixmatch/voc_732_dinov2_s',
        'ddfp/voc_732_dinov2_s',
        'unimatch_v2/voc_732_dinov2_b',
        'unimatch_v2/cityscapes_372_dinov2_b',
        'unimatch_v2/ade20k_316_dinov2_b',
        'unimatch_v2/coco_232_dinov2_s',
    )
]


@pytest.mark.parametrize('path', DINO)
def test_crops_fit_the_patches_of_dinov2(path):
    cfg = Config.fromfile(ROOT / path)
    patch = cfg.model.student.backbone.patch_size
    data = cfg.train_dataloader.dataset
    for source in (data.labeled, data.unlabeled):
        sizes = {step['type']: step for step in source.pipeline}
        side = 798 if 'cityscapes' in path else 518
        assert sizes['RandomScaleCrop']['crop_size'] == (side, side) and side % patch == 0
    assert cfg.model.student.backbone.img_size == 518
    assert cfg.model.data_preprocessor.data_preprocessor.test_cfg.size_divisor == patch


@pytest.mark.parametrize('imported', [False, True], ids=['type', 'custom_imports'])
def test_without_mmpretrain_its_configs_say_so_in_one_sentence(imported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmpretrain.models', None)  # its import then fails
    path = ROOT / DINO[1]
    if imported:
        path = tmp_path / 'mine.py'
        path.write_text("custom_imports = dict(imports=['mmpretrain.models'])\n")
    with pytest.raises(SetupError) as error:
        configs.load_config(path)
    sentence = str(error.value)
    assert str(path) in sentence and 'needs mmpretrain' in sentence and '\n' not in sentence
    assert f'torch {torch.__version__}' in sentence and 'docs/installation.md' in sentence


def test_without_torchvision_everything_else_works():
    # A process of its own, in which neither torchvision nor mmpretrain was ever imported.
    program = """
        import sys
        sys.modules['torchvision'] = None
        from tiny_semi import tiny_losses, tiny_model
        from test_students import DINO, ROOT, configs
        from mmseg_semi.errors import SetupError
        model = tiny_model('ddfp')
        model.parse_losses(tiny_losses(model, 4))[0].backward()
        try:
            configs.load_config(ROOT / DINO[1])
        except SetupError as error:
            assert 'torchvision' in str(error), error
            print('refused')
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith('refused')


@pytest.mark.skipif('not import_mmpretrain()', reason='onedl-mmpretrain is not installed')
@pytest.mark.parametrize('path', [DINO[1], 'configs/unimatch_v2/ade20k_1263_dinov2_s.py'])
def test_dinov2_trains_and_answers_at_any_size(path):
    cfg = configs.load_config(ROOT / path)
    init_default_scope('mmseg')
    devices.replace_sync_bn(cfg.model)
    cfg.model.student.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    losses = tiny_losses(model, 2 * model.iters_per_epoch, tiny_batch(num_classes=21, size=84))
    model.parse_losses(losses)[0].backward()
    assert not [k for k, p in model.student.named_parameters() if p.grad is None]
    inner = model.eval().data_preprocessor
    image = torch.zeros(3, 75, 61, dtype=torch.uint8)
    sample = tiny_batch(1, 0)['data_samples']['labeled'][0]
    sample.set_metainfo(dict(img_shape=(75, 61), ori_shape=(75, 61)))
    with torch.no_grad():
        data = inner({'inputs': [image], 'data_samples': [sample]}, training=False)
        assert data['inputs'].shape[-2:] == (84, 70)
        (prediction,) = model.predict(data['inputs'], data['data_samples'])
    assert prediction.pred_sem_seg.data.shape == (1, 75, 61)
