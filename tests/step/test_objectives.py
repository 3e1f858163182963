"""What all objectives share, and the two that are no more than a loss."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from tiny_semi import tiny_batch, tiny_losses, tiny_model
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.self_training import SelfTrainingObjective
from mmseg_semi.step.objective import Needs, Objective, share
from mmseg_semi.step.views import Batch, StepViews


def views(time: float) -> StepViews:
    return StepViews(Batch(img_l=torch.empty(0), label_l=torch.empty(0), time=time))


class Example(Objective):
    all_needs = Needs(strong=True)

    def __init__(self, **kwargs) -> None:
        super().__init__(name='example', **kwargs)
        self.own = nn.Linear(2, 1)
        self.frozen = nn.Linear(2, 1).requires_grad_(False)

    def compute(self, views):
        x = self.own(torch.ones(2)).sum()
        return {'loss': x, 'other_loss': 2 * x, 'accuracy': x}


def test_weights_scale_losses_and_log_values_carry_no_graph():
    objective = Example(weight=dict(type='Ramp', value=0.5, length=4, kind='linear'))
    values = objective.loss(views(2.0))
    x = objective.own(torch.ones(2)).sum()
    assert values['loss'].item() == pytest.approx(0.25 * x.item())
    assert values['other_loss'].item() == pytest.approx(0.5 * x.item())
    assert values['accuracy'].item() == x.item() and not values['accuracy'].requires_grad
    assert objective.needs(2.0) == Needs(strong=True)


def test_an_idle_objective_asks_for_nothing_and_touches_its_parameters():
    objective = Example(weight=0)
    objective.compute = None
    assert objective.needs(3.0) == Needs()
    values = objective.loss(views(3.0))
    assert values['loss'].item() == 0
    values['loss'].backward()
    for parameter in objective.own.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))
    assert all(parameter.grad is None for parameter in objective.frozen.parameters())
    assert SelfTrainingObjective(weight=0).loss(views(3.0)) == {}


def test_needs_are_united():
    union = Needs(labeled=True) | Needs(strong=True, teacher=True)
    assert union == Needs(labeled=True, strong=True, teacher=True)
    assert Needs() | Needs() == Needs()


def test_names_and_weights_are_checked():
    with pytest.raises(SetupError, match="'loss'"):
        SelfTrainingObjective(name='loss_u')
    with pytest.raises(SetupError, match='selftrain.weight'):
        SelfTrainingObjective(weight='much')
    with pytest.raises(SetupError, match='selftrain.divisor'):
        SelfTrainingObjective(divisor='all')


def test_share():
    part = torch.tensor([True, True, False, False])
    whole = torch.tensor([True, False, True, True])
    assert share(part, whole).item() == pytest.approx(1 / 3)
    assert share(part, torch.zeros(4, dtype=torch.bool)).item() == 0


@pytest.mark.parametrize('divisor', ['confident', 'valid'])
def test_self_training(divisor):
    objectives = [dict(type='SelfTrainingObjective', divisor=divisor, weight=0.7)]
    model = tiny_model('fixmatch', objectives=objectives)
    nn.init.normal_(model.student.decode_head.conv_seg.weight)
    model.teacher.load_state_dict(model.student.state_dict())
    tiny_losses(model, 5)
    # half of the pixels are confident
    confidence = model.last_views.teacher.pseudo_u.confidence[
        model.last_views.batch.unlabeled.valid_u
    ]
    model.pseudo_label.threshold = confidence.median().item()
    losses = tiny_losses(model, 5)
    seen = model.last_views
    assert seen.student.labeled is None  # no objective asked for labelled rows
    size = seen.teacher.mixed.valid_m.shape[1:]
    upsample = lambda x: F.interpolate(x, size, mode='bilinear', align_corners=True)  # noqa: E731
    logits = upsample(seen.student.mixed.logits.double())
    labels = seen.teacher.mixed.pseudo_m.labels
    confident = labels != IGNORE
    total = -sum(
        logits.log_softmax(dim=1)[n, labels[n, y, x], y, x]
        for n, y, x in confident.nonzero().tolist()
    )
    count = confident.sum() if divisor == 'confident' else seen.teacher.mixed.valid_m.sum()
    assert (
        0
        < int(confident.sum())
        < int(seen.teacher.mixed.valid_m.sum())
        < seen.teacher.mixed.valid_m.numel()
    )
    assert losses['selftrain.loss'].item() == pytest.approx(0.7 * (total / count).item(), rel=1e-5)
    expected = confident.sum() / seen.teacher.mixed.valid_m.sum()
    assert losses['selftrain.confident'].item() == pytest.approx(expected.item())
    prediction = logits.argmax(dim=1)
    expected = (prediction == labels)[confident].double().mean()
    assert losses['selftrain.agreement'].item() == pytest.approx(expected.item(), abs=1e-3)
    prediction = upsample(seen.teacher.labeled.logits).argmax(dim=1)
    known = seen.batch.label_l != IGNORE
    expected = (prediction == seen.batch.label_l)[known].double().mean()
    assert losses['selftrain.accuracy'].item() == pytest.approx(expected.item(), abs=1e-3)


def test_accuracy_needs_labelled_teacher_rows():
    model = tiny_model('fixmatch', teacher=dict(rows='weak'))
    losses = tiny_losses(model, 3, tiny_batch())
    assert 'selftrain.agreement' in losses and 'selftrain.accuracy' not in losses


@MODELS.register_module()
class _Projects(Objective):
    """Asks for a projection that no objective declares."""

    all_needs = Needs(labeled=True, projection=True)

    def compute(self, views):
        return {'loss': views.student.labeled.projection.mean()}


@MODELS.register_module()
class _Declares(_Projects):
    """Asks for a projection, and declares one."""

    def bind(self, networks):
        self.layer = nn.Conv2d(networks.student.decode_head.conv_seg.in_channels, 2, 1)

    def get_projection(self):
        return self.layer


def test_one_objective_declares_the_projection():
    def build(*names):
        objectives = [dict(type=kind, name=f'p{i}') for i, kind in enumerate(names)]
        return tiny_model('supervised', objectives=objectives)

    model = build('_Declares', '_Projects')
    tiny_losses(model, 0)
    outputs = model.last_views.student.labeled
    assert torch.equal(outputs.projection, model.objectives[0].layer(outputs.features))
    with pytest.raises(SetupError, match="'p0' needs a projection, but no objective"):
        build('_Projects')
    with pytest.raises(SetupError, match=r"\['p0', 'p1'\] each project the features"):
        build('_Declares', '_Declares')


def test_nothing_is_written_into_the_parts_of_a_step():
    model = tiny_model('fixmatch')
    tiny_losses(model, 4)
    found = model.last_views
    parts = [found, found.batch, found.batch.unlabeled, found.teacher, found.student]
    parts += [found.teacher.weak, found.teacher.pseudo_u, found.teacher.mixed, found.student.mixed]
    for part in parts:
        with pytest.raises(FrozenInstanceError):
            setattr(part, fields(part)[0].name, None)
    assert found.without_student().student is None and found.student is not None
