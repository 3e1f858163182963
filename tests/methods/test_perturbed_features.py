"""Self-training on perturbed features: any perturbation, any head, one line."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_semi import TinyLoop, tiny_losses, tiny_model, tiny_recipe

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

KINDS = (
    'FeatureNoise',
    'FeatureDrop',
    'FeatureDropout',
    'ContextMask',
    'ObjectMask',
    'GuidedCutout',
    'VirtualAdversarial',
)


def build(kind: str, head: str = 'SegformerHead', **settings):
    line = dict(type='PerturbedFeaturesObjective', perturbation=dict(type=kind, **settings))
    objectives = [*tiny_recipe('fixmatch')['objectives'], line]
    return tiny_model('fixmatch', head=head, objectives=objectives, dropout=0.0)


@pytest.mark.parametrize('kind', KINDS)
def test_every_perturbation_of_a_segformers_features(kind):
    model = build(kind)
    loop = TinyLoop(model)
    loop.iter = 4
    log = loop.step()
    assert all(math.isfinite(value) for value in log.values())
    assert log['perturbed.loss'] > 0
    assert model.student.decode_head.conv_seg.weight.grad is not None


@pytest.mark.parametrize('head', ['SegformerHead', 'CCTHead'])
def test_the_head_answers_on_perturbed_features(head):
    model = build('FeatureDropout', head, p=0.5)
    seen = []
    module = model.objectives[2].perturbation
    module.register_forward_hook(lambda m, arguments, out: seen.append((arguments[0], out)))
    losses = tiny_losses(model, 4)
    views = model.last_views
    ((features, moved),) = seen
    assert features is views.student.weak.fused and not views.student.weak.logits.requires_grad
    ratio = moved / features
    assert {*ratio[features > 0].round(decimals=4).unique().tolist()} == {0.0, 2.0}
    logits = model.stages.finish(moved).logits.double()
    size = views.batch.unlabeled.valid_u.shape[1:]
    logits = F.interpolate(logits, size, mode='bilinear', align_corners=model.align_corners)
    labels = views.teacher.pseudo_u.labels  # before mixing
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction='sum')
    expected = 0.5 * total / views.batch.unlabeled.valid_u.sum()
    assert losses['perturbed.loss'].item() == pytest.approx(expected.item(), rel=1e-5)
    losses['perturbed.loss'].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0


def test_a_probe_moves_no_statistics():
    """Stage 2 of DeepLabV3+ has norms: they see the perturbed features, as with other perturbations, and no probe."""
    seen = {}
    for kind in ('FeatureNoise', 'VirtualAdversarial'):
        model = build(kind, 'DeepLabV3PlusHead', **dict(steps=3) if kind[0] == 'V' else {})
        tiny_losses(model, 4)
        norm = model.student.decode_head.norm1
        seen[kind] = int(norm.num_batches_tracked)
        assert norm.track_running_stats
    assert seen['FeatureNoise'] == seen['VirtualAdversarial'] > 0


def test_mistakes_are_named():
    with pytest.raises(SetupError, match=r"perturbed\.perturbation: type='CutMix' perturbs no"):
        build('CutMix')
    line = dict(
        type='PerturbedFeaturesObjective',
        perturbation=dict(type='ObjectMask'),
        background_classes=(0, 3),
    )
    with pytest.raises(
        SetupError, match=r'perturbed\.background_classes=\(0, 3\): the student has no'
    ):
        tiny_model('fixmatch', objectives=[*tiny_recipe('fixmatch')['objectives'], line])


def test_heads_bring_their_scores_to_the_size_of_the_image():
    """As in the supervised loss: CCT's decoder reaches over an image of 36 pixels, and is cropped."""
    scores = torch.randn(2, 3, 40, 40)
    found = tiny_model('fixmatch', head='CCTHead').upsample(scores, (36, 33))
    assert torch.equal(found, scores[:, :, :36, :33])
    found = tiny_model('fixmatch', head='SegformerHead').upsample(scores, (36, 33))
    expected = F.interpolate(scores, (36, 33), mode='bilinear', align_corners=True)
    assert torch.equal(found, expected)
