"""Student and teacher: what objectives are bound to, and where the number of classes is written."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_semi import tiny_head, tiny_losses, tiny_model, tiny_recipe, tiny_student

from mmseg_semi.errors import SetupError
from mmseg_semi.step.mixing import ClassMix, ColourAfterMixing
from mmseg_semi.step.networks import Networks, complete_auxiliary_heads


def test_objectives_are_bound_to_the_networks_and_nothing_else():
    model = tiny_model('mllc')
    bound = model.bound
    assert bound.student is model.student and bound.teacher is model.teacher
    assert bound.pseudo_label is model.pseudo_label and bound.recipe is model.recipe
    assert bound.num_classes == 3 and bound.teacher_network is model.teacher
    assert bound.iters_per_epoch == model.iters_per_epoch and bound.class_names is None
    assert tiny_model('supervised').bound.teacher_network is not None
    # no module is registered a second time
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    assert len(names) == len({id(module) for module in model.modules()})


def test_upsampling_is_bilinear_with_the_heads_corners():
    logits = torch.randn(1, 3, 4, 4)
    for head, aligned in (('DeepLabV3PlusHead', True), ('CCTHead', False)):
        model = tiny_model('supervised', head=head)
        if head == 'CCTHead':  # crops what reaches over the image
            logits = torch.randn(1, 3, 40, 40)
            assert torch.equal(model.bound.upsample(logits, (36, 33)), logits[..., :36, :33])
            continue
        expected = F.interpolate(logits, (32, 32), mode='bilinear', align_corners=aligned)
        assert torch.equal(model.bound.upsample(logits, (32, 32)), expected)
        assert isinstance(model.bound, Networks)


# -- the number of classes, written once -----------------------------------------------------------


def without(config: dict, key: str = 'num_classes') -> dict:
    return {k: v for k, v in config.items() if k != key}


@pytest.mark.parametrize('several', [False, True])
def test_auxiliary_heads_take_the_decode_heads_number(several):
    head = without(tiny_head('FCNHead', num_classes=3, in_channels=32, in_index=2))
    config = tiny_student(3) | dict(auxiliary_head=[head] if several else head)
    model = tiny_model('supervised', student=config)
    auxiliary = model.student.auxiliary_head
    assert (auxiliary[0] if several else auxiliary).num_classes == 3
    assert 'num_classes' not in head  # the config stays as it was
    assert tiny_losses(model, 0)
    # one that is written is not touched
    other = complete_auxiliary_heads(config | dict(auxiliary_head=head | dict(num_classes=5)))
    assert other['auxiliary_head']['num_classes'] == 5


def test_mixing_and_pseudo_labeller_take_the_students_number():
    recipe = tiny_recipe('mllc', num_classes=5)
    recipe['pseudo_label'] = without(recipe['pseudo_label'])
    recipe['mixing'] = without(recipe['mixing'])
    init_default_scope('mmseg')
    model = MODELS.build(recipe)
    assert model.pseudo_label.num_classes == model.mixing.num_classes == 5
    assert model.state_dict()['pseudo_label.thresholds.counts'].shape == (5,)
    written = MODELS.build(tiny_recipe('mllc', num_classes=5))
    assert list(written.state_dict()) == list(model.state_dict())


COLOURS = dict(mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True)


def test_a_mixing_inside_a_mixing_takes_it_too():
    mixing = ColourAfterMixing(dict(type='ClassMix'), **COLOURS)
    mixing.bind(7)
    assert mixing.num_classes == mixing.mixing.num_classes == 7
    with pytest.raises(
        SetupError, match='model.mixing.mixing.num_classes=4, but the student has 7'
    ):
        ColourAfterMixing(dict(type='ClassMix', num_classes=4), **COLOURS).bind(7)
    with pytest.raises(SetupError, match='model.mixing.num_classes=4'):
        ClassMix(4).bind(7)
