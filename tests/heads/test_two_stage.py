import pytest
import torch
from mmseg.registry import MODELS
from small_heads import backbone_outputs
from tiny_semi import CHANNELS, tiny_backbone, tiny_head, tiny_model

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import PlainHead, two_stage

FOREIGN = {
    'FCNHead': dict(num_convs=1),
    'PSPHead': dict(pool_scales=(1, 2)),
    'UPerHead': dict(pool_scales=(1, 2)),
    'SegformerHead': dict(),
    'ASPPHead': dict(dilations=(1, 2)),
}


def build(kind: str, **changes):
    torch.manual_seed(0)
    return MODELS.build(tiny_head(kind, **FOREIGN.get(kind, {}), **changes))


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('kind', FOREIGN)
def test_two_stages_of_a_foreign_head_are_its_forward(kind, training):
    head = build(kind, dropout=0.5).train(training)
    inputs = backbone_outputs(side=16)
    torch.manual_seed(1)
    expected = head(inputs)
    stages = two_stage(head)
    assert isinstance(stages, PlainHead)
    torch.manual_seed(1)
    fused = stages.embed(inputs)
    lifted = stages.lift(fused)
    features, logits, embedding = stages.finish(lifted, (0, len(lifted)))
    assert torch.equal(logits, expected) and embedding is None
    assert fused is lifted is features and fused.shape[1] == head.conv_seg.in_channels
    assert stages.features(lifted) is lifted
    assert stages.lift_delta(features) is features and stages.lift_transpose(features) is features


@pytest.mark.parametrize('kind', FOREIGN)
def test_cls_seg_is_restored(kind):
    head = build(kind)
    two_stage(head).embed(backbone_outputs(side=16))
    assert 'cls_seg' not in vars(head)
    assert head.cls_seg.__func__ is type(head).cls_seg
    with pytest.raises(Exception):  # noqa: B017  too few levels: whatever mmseg raises
        two_stage(head).embed([])
    assert 'cls_seg' not in vars(head)


def test_our_heads_are_their_own_stages():
    for kind in ('DeepLabV3PlusHead', 'DDFPHead'):
        head = build(kind)
        assert two_stage(head) is head


REFUSED = {
    'DAHead': dict(pam_channels=4),
    'EncHead': dict(num_codes=4, in_channels=list(CHANNELS), in_index=[0, 1, 2, 3]),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_heads_that_do_more_than_classify_are_refused(kind):
    head = build(kind, **REFUSED[kind]).eval()
    with pytest.raises(SetupError, match=kind):
        two_stage(head).embed(backbone_outputs(side=16))
    assert 'cls_seg' not in vars(head)


def test_a_head_without_cls_seg_is_refused():
    head = build('FCNHead')
    head.conv_seg = None
    with pytest.raises(SetupError, match='FCNHead'):
        two_stage(head)


def test_a_head_that_works_on_the_scores_is_refused():
    head = build('FCNHead')
    forward = head.forward
    head.forward = lambda inputs: 2 * forward(inputs)
    with pytest.raises(SetupError, match='FCNHead'):
        two_stage(head).embed(backbone_outputs(side=16))


def test_a_cascade_is_refused_before_training():
    heads = [tiny_head('FCNHead', num_convs=1), tiny_head('OCRHead', ocr_channels=8)]
    student = dict(
        type='CascadeEncoderDecoder',
        num_stages=2,
        backbone=tiny_backbone(),
        decode_head=heads,
        test_cfg=dict(mode='whole'),
    )
    with pytest.raises(SetupError, match='a cascade of heads'):
        tiny_model('supervised', student=student)
