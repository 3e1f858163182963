"""Several strong views and views of features: which pass the student, in which calls, and what they are labelled with."""

import pytest
import torch
from mmseg.registry import MODELS
from tiny_semi import tiny_batch, tiny_losses, tiny_model, tiny_recipe
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.unimatch import ChannelDropout, ComplementaryChannelDropout
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.view_plan import ViewPlan
from mmseg_semi.step.views import is_strong

ACTIVE = 2  # iteration from which pseudo-labels are learned


class Passes:
    """What passes a network's backbone and head, call by call."""

    def __init__(self, network: nn.Module) -> None:
        self.images, self.levels = [], []
        network.backbone.register_forward_hook(lambda _, args, __: self.images.append(args[0]))
        head, embed = network.decode_head, network.decode_head.embed

        def noted(levels):
            self.levels.append(levels)
            return embed(levels)

        head.embed = noted


def self_training(*views: str) -> list[dict]:
    return [
        dict(type='SupervisedObjective'),
        *(dict(type='SelfTrainingObjective', view=view, name=f'of_{view}') for view in views),
    ]


def step(model, iteration: int = ACTIVE, **batch):
    losses = tiny_losses(model, iteration, tiny_batch(**batch))
    return model.last_views, losses


# -- strong views of images --------------------------------------------------------------------------


@pytest.mark.parametrize('forward', ['joint', 'stream', [['strong_2', 'labeled'], ['strong']]])
def test_each_strong_view_passes_once_with_a_mixing_of_its_own(forward):
    mixing = dict(type='CutMix', prob=1.0)
    model = tiny_model(
        'fixmatch', objectives=self_training('strong_2', 'strong'), forward=forward, mixing=mixing
    )
    student = Passes(model.student)
    views, losses = step(model, num_unlabeled=3)
    batch, teacher = views.batch.unlabeled, views.teacher
    first, second = teacher.labels_of('strong'), teacher.labels_of('strong_2')
    assert first is teacher.mixed and second is teacher.more['strong_2']
    expected = {
        'joint': [[views.batch.img_l, first.img_u_m, second.img_u_m]],
        'stream': [[views.batch.img_l], [first.img_u_m], [second.img_u_m]],
    }.get(forward if isinstance(forward, str) else '')
    expected = expected or [[views.batch.img_l, second.img_u_m], [first.img_u_m]]
    assert len(student.images) == len(expected)
    for found, parts in zip(student.images, expected, strict=True):
        assert torch.equal(found, torch.cat(parts))
    # each box shows where pixels come from: image, label and validity moved by one mask, another one in each view
    boxes = []
    for view, mixed in (('strong', first), ('strong_2', second)):
        images = batch.image(view)
        own = (mixed.img_u_m == images).all(dim=1)
        other = (mixed.img_u_m == images.roll(-1, 0)).all(dim=1)
        assert (own | other).all() and not own.all() and not other.all()
        moved = torch.where(own, teacher.pseudo_u.labels, teacher.pseudo_u.labels.roll(-1, 0))
        assert torch.equal(mixed.pseudo_m.labels, moved)
        boxes.append(own)
    assert not torch.equal(*boxes)
    assert views.student.of('strong') is views.student.mixed
    for name in ('strong', 'strong_2'):
        outputs = views.student.of(name)
        assert outputs.logits.requires_grad and len(outputs.logits) == 3
        assert losses[f'of_{name}.loss'].requires_grad


def test_a_second_view_does_not_change_the_first():
    """What the first view draws and learns is what it does alone."""
    alone = tiny_model('fixmatch', objectives=self_training('strong'), forward='stream')
    both = tiny_model('fixmatch', objectives=self_training('strong', 'strong_2'), forward='stream')
    one, losses = step(alone, num_unlabeled=3)
    two, more = step(both, num_unlabeled=3)
    assert torch.equal(one.teacher.mixed.img_u_m, two.teacher.mixed.img_u_m)
    # dropout of the head is drawn later for the second view
    assert torch.equal(losses['of_strong.loss'], more['of_strong.loss'])
    assert not torch.equal(more['of_strong.loss'], more['of_strong_2.loss'])


def test_each_view_may_have_another_mixing():
    mixing = dict(strong_2=dict(type='CutOut', prob=1.0))
    model = tiny_model('fixmatch', objectives=self_training('strong', 'strong_2'), mixing=mixing)
    views, _ = step(model)
    assert torch.equal(views.teacher.mixed.img_u_m, views.batch.unlabeled.img_u_s)
    erased = (views.teacher.labels_of('strong_2').img_u_m == 0).all(dim=1)
    assert erased.any() and not erased.all()
    assert model.state_dict().keys() == tiny_model('fixmatch').state_dict().keys()


def test_a_view_alone_needs_no_other():
    model = tiny_model('fixmatch', objectives=self_training('strong_2'))
    views, _ = step(model)
    assert views.teacher.mixed is None and views.student.mixed is None
    assert views.student.of('strong_2').logits.requires_grad


def test_a_batch_without_the_view_is_named():
    model = tiny_model('fixmatch', objectives=self_training('strong_3'))
    with pytest.raises(SetupError, match=r"view 'strong_3'.*\['weak', 'strong', 'strong_2'\]"):
        step(model)


# -- views of features -------------------------------------------------------------------------------


@MODELS.register_module()
class _WeakLogits(Objective):
    """Learns from the weak view itself."""

    all_needs = Needs(weak=True)

    def compute(self, views):
        return {'loss': views.student.weak.logits.square().mean()}


@pytest.mark.parametrize('forward', ['joint', 'stream', [['labeled', 'weak'], ['strong']]])
def test_a_feature_view_shares_the_pass_of_its_source(forward):
    model = tiny_model(
        'fixmatch',
        objectives=self_training('strong', 'features'),
        feature_views=[dict(type='ChannelDropout', views=dict(features='weak'))],
        forward=forward,
    )
    student = Passes(model.student)
    views, _ = step(model, num_unlabeled=3)
    # the weak view passes the backbone once; its plain features pass no head
    assert sum(map(len, student.images)) == 2 + 3 + 3
    assert sum(len(levels[0]) for levels in student.levels) == 2 + 3 + 3
    outputs, labels = views.student.of('features'), views.teacher.labels_of('features')
    assert views.student.weak is None
    assert labels.pseudo_m is views.teacher.pseudo_u  # not mixed
    assert torch.equal(labels.img_u_m, views.batch.unlabeled.img_u_w)
    dropped = outputs.backbone[0].flatten(2).abs().sum(dim=2) == 0
    assert 0.2 < dropped.float().mean() < 0.9
    outputs.logits.sum().backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0


def test_with_nothing_dropped_it_is_the_weak_view():
    objectives = [*self_training('features'), dict(type='_WeakLogits', name='weak')]
    model = tiny_model(
        'fixmatch',
        dropout=0.0,
        norm='GN',
        objectives=objectives,
        feature_views=[dict(type='ChannelDropout', views=dict(features='weak'), prob=0.0)],
    )
    student = Passes(model.student)
    views, _ = step(model, num_unlabeled=3)
    assert sum(map(len, student.images)) == 2 + 3  # labelled and weak: once each
    assert sum(len(levels[0]) for levels in student.levels) == 2 + 3 + 3
    features, weak = views.student.of('features'), views.student.weak
    assert torch.allclose(features.logits, weak.logits, atol=1e-5)
    assert weak.logits.requires_grad


def test_complementary_views_replace_the_strong_ones_in_the_head():
    model = tiny_model('unimatch_v2')
    student = Passes(model.student)
    views, _ = step(model, num_unlabeled=4)
    assert [len(images) for images in student.images] == [2, 8]
    assert [len(levels[0]) for levels in student.levels] == [2, 8]
    assert views.student.mixed is None and views.teacher.mixed is not None
    for view, source in (('dropped', 'strong'), ('dropped_2', 'strong_2')):
        labels = views.teacher.labels_of(view)
        assert labels is views.teacher.labels_of(source)
        assert len(views.student.of(view).logits) == 4
    first, second = (views.student.of(view).backbone[0] for view in ('dropped', 'dropped_2'))
    used = [level.flatten(2).abs().sum(dim=2) > 0 for level in (first, second)]
    whole = (used[0] & used[1]).all(dim=1)
    assert whole.sum() == 2 and not (used[0] & used[1])[~whole].any()


def test_before_self_training_no_view_is_made():
    model = tiny_model('unimatch')
    student = Passes(model.student)
    views, _ = step(model, iteration=0)
    assert [len(images) for images in student.images] == [2] and views.teacher is None


# -- against what the authors' script computes ------------------------------------------------------


def test_the_loss_of_unimatch_is_that_of_its_script():
    """Written again with the networks alone, from what the released script does; its norms are fixed, because it passes
    weak images through the head as well."""
    recipe = tiny_recipe('unimatch', norm='GN', dropout=0.0)
    weights = dict(strong=0.125, strong_2=0.125, features=0.25)
    for objective in recipe['objectives'][1:]:
        objective.update(weight=weights[objective['view']], divisor='valid')
    recipe['objectives'][0]['weight'] = 0.5
    recipe['feature_views'][0]['prob'] = 0.0  # draws are another matter
    model = tiny_model(
        'unimatch',
        norm='GN',
        dropout=0.0,
        **{key: recipe[key] for key in ('objectives', 'feature_views')},
    )
    views, losses = step(model, num_unlabeled=3)
    found = sum(value for key, value in losses.items() if 'loss' in key)

    student, batch = model.student, views.batch
    threshold = model.pseudo_label.threshold
    student.eval()
    with torch.no_grad():
        weak = model.upsample(student(batch.unlabeled.img_u_w), (32, 32)).softmax(dim=1)
    student.train()
    confidence, labels = weak.max(dim=1)
    valid = batch.unlabeled.valid_u

    def unlabelled(images, labels, confidence, valid):
        logits = model.upsample(student(images), (32, 32))
        each = nn.functional.cross_entropy(logits, labels, reduction='none')
        return (each * (confidence > threshold) * valid).sum() / valid.sum()

    parts = []
    for view in ('strong', 'strong_2'):
        images = batch.unlabeled.image(view)
        mixed = views.teacher.labels_of(view).img_u_m
        box = ~(mixed == images).all(dim=1)
        moved = [torch.where(box, x.roll(-1, 0), x) for x in (labels, confidence, valid)]
        parts.append(unlabelled(mixed, *moved))
    features = unlabelled(batch.unlabeled.img_u_w, labels, confidence, valid)
    logits = model.upsample(student(batch.img_l), (32, 32))
    supervised = nn.functional.cross_entropy(logits, batch.label_l, ignore_index=255)
    expected = (supervised + parts[0] * 0.25 + parts[1] * 0.25 + features * 0.5) / 2
    assert torch.allclose(found, expected, rtol=1e-5)


# -- the plan ----------------------------------------------------------------------------------------


def test_names_of_strong_views():
    names = ['strong', 'strong_2', 'strong_10', 'strong_1', 'strong_02', 'strongest', 'weak', '']
    assert [is_strong(name) for name in names] == [True] * 3 + [False] * 5


def test_needs_of_views_add_up():
    needs = Needs(strong=True) | Needs(views=frozenset(['strong_2']), teacher=True)
    assert needs.views == {'strong', 'strong_2'} and needs.strong and needs.any_teacher
    assert not Needs(views=frozenset(['strong_2'])).strong
    assert Needs(views=frozenset(['features'])).unlabeled and not Needs(labeled=True).pseudo_labels


def test_order_and_calls():
    plan = ViewPlan('joint', [ChannelDropout(dict(a='weak')), ChannelDropout(dict(b='strong_10'))])
    assert plan.strong(['b', 'strong_2', 'strong', 'a']) == ['strong', 'strong_2', 'strong_10']
    assert plan.image_views(['a', 'b', 'strong']) == {'weak', 'strong_10', 'strong'}
    assert plan.calls([]) == [] and plan.joins_labeled
    assert ViewPlan('stream').calls(['labeled', 'weak']) == [['labeled'], ['weak']]
    assert not ViewPlan([['labeled'], ['strong', 'weak']]).joins_labeled
    assert ViewPlan([['labeled', 'weak']]).joins_labeled


PAIR = dict(a='strong', b='strong_2')
MISTAKES = {
    "view 'other', which nothing makes": dict(objectives=self_training('other')),
    "learns from the view 'weak'": dict(objectives=self_training('weak')),
    r"model.mixing has the key 'strong_3'.*\['strong', 'strong_2'\]": dict(
        objectives=self_training('strong', 'strong_2'),
        mixing=dict(strong_3=dict(type='CutMix')),
    ),
    "in which call the view 'strong_2'": dict(
        objectives=self_training('strong', 'strong_2'), forward=[['labeled', 'strong']]
    ),
    "in which call the view 'labeled'": dict(
        objectives=self_training('strong'), forward=[['strong']]
    ),
    'each view once': dict(forward=[['labeled', 'strong'], ['strong']]),
    "'joint', 'stream' or the views": dict(forward=['labeled', 'strong']),
    r"model.forward=\[\['labeled', 'student'\]\]": dict(forward=[['labeled', 'student']]),
    r'ComplementaryChannelDropout works on .* in several calls': dict(
        objectives=self_training('a', 'b'),
        feature_views=[dict(type='ComplementaryChannelDropout', views=PAIR)],
        forward='stream',
    ),
    "make the view 'a' twice": dict(
        objectives=self_training('a'),
        feature_views=[
            dict(type='ChannelDropout', views=dict(a=source)) for source in ('weak', 'strong')
        ],
    ),
    'which makes no views': dict(feature_views=[dict(type='CutMix')]),
    "running_stats.*needs model.forward='stream'": dict(
        forward=[['labeled'], ['strong']], running_stats=['labeled']
    ),
}


@pytest.mark.parametrize('words', MISTAKES)
def test_mistakes_are_named_when_the_model_is_built(words):
    with pytest.raises(SetupError, match=words):
        tiny_model('fixmatch', **MISTAKES[words])


def test_complementary_views_go_with_calls_that_hold_both():
    views = [ComplementaryChannelDropout(PAIR)]
    for forward in ('joint', [['labeled'], ['strong', 'strong_2']]):
        assert ViewPlan(forward, views).sources == PAIR
