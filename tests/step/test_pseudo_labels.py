import math

import pytest
import torch
from mmseg.registry import MODELS
from tiny_semi import TinyLoop, tiny_losses, tiny_model, tiny_recipe
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.mixing import Mixing
from mmseg_semi.step.pseudo_labels import (
    ConfidenceThreshold,
    EntropyPercentile,
    PseudoLabeller,
    entropy,
    label_and_confidence,
    masked_quantile,
)
from mmseg_semi.step.views import PseudoLabels


def maps(seed: int = 0, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 4, 9, 11, generator=draw)
    return logits, torch.rand(2, 9, 11, generator=draw) > 0.2


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    exponentials = logits.double().exp()
    return exponentials / exponentials.sum(dim=1, keepdim=True)


def test_labels_and_confidence_pixel_by_pixel():
    logits, valid = maps()
    pseudo = label_and_confidence(logits, valid)
    expected = probabilities(logits)
    for n, y, x in valid.logical_or(~valid).nonzero().tolist():
        row = expected[n, :, y, x].tolist()
        if valid[n, y, x]:
            assert pseudo.labels[n, y, x] == row.index(max(row))
            assert pseudo.confidence[n, y, x] == pytest.approx(max(row), abs=1e-6)
        else:
            assert pseudo.labels[n, y, x] == IGNORE and pseudo.confidence[n, y, x] == 0


def test_half_precision_logits_give_float32_confidence():
    logits, valid = maps()
    pseudo = label_and_confidence(logits.half(), valid)
    expected = probabilities(logits.half()).amax(dim=1)
    assert pseudo.confidence.dtype == torch.float32
    assert (pseudo.confidence - expected * valid).abs().max() < 1e-6


def test_threshold_is_exclusive_and_padding_is_ignored():
    # two equal logits of 2 classes have probability 1/2 exactly; 5 / 8 by ln(5/3)
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 1, 0] = torch.tensor([0.0, 0.1, 30.0, 30.0])
    valid = torch.tensor([[[True, True, True, False]]])
    pseudo = ConfidenceThreshold(0.5)(logits, valid, time=0.0)
    assert pseudo.confidence[0, 0, 0] == 0.5
    assert pseudo.labels.tolist() == [[[IGNORE, 1, 1, IGNORE]]]
    # a probability of exactly the threshold as a float32 number
    exact = float(pseudo.confidence[0, 0, 1])
    assert ConfidenceThreshold(exact)(logits, valid, 0.0).labels.tolist() == [
        [[IGNORE, IGNORE, 1, IGNORE]]
    ]


def test_the_pixel_on_the_threshold_is_the_first_one_ignored():
    logits, valid = maps(scale=1.0)
    pseudo = label_and_confidence(logits, valid)
    level = float(pseudo.confidence.flatten().sort().values[-20])
    kept = ConfidenceThreshold(level)(logits, valid, 0.0).labels != IGNORE
    assert torch.equal(kept, (pseudo.confidence.double() > level) & valid)
    assert kept.sum() == 19


def test_threshold_zero_keeps_every_valid_pixel_and_one_none():
    logits, valid = maps(scale=40.0)
    assert torch.equal(ConfidenceThreshold(0)(logits, valid, 0.0).labels != IGNORE, valid)
    assert not (ConfidenceThreshold(1)(logits, valid, 0.0).labels != IGNORE).any()


def test_a_teacher_without_an_answer_labels_nothing():
    logits, valid = maps()
    logits[0, :, 0, 0] = math.nan
    valid[0, 0, 0] = True
    assert ConfidenceThreshold(0.5)(logits, valid, 0.0).labels[0, 0, 0] == IGNORE
    assert EntropyPercentile(20)(logits, valid, 0.0).labels[0, 0, 0] == IGNORE


def test_entropy_is_the_sum_over_classes():
    logits, _ = maps(scale=5.0)
    p = probabilities(logits)
    expected = -(p * p.log()).sum(dim=1)
    assert (entropy(logits) - expected).abs().max() < 2e-6
    assert entropy(torch.zeros(1, 7, 1, 1)).item() == pytest.approx(math.log(7))
    # certain to the last bit: no 0 * log 0
    assert entropy(torch.tensor([200.0, -200.0]).view(1, 2, 1, 1)).item() == 0
    assert entropy(logits.half()).dtype == torch.float32


@pytest.mark.parametrize('level', [0, 0.1, 0.25, 0.5, 0.8, 0.999, 1])
def test_masked_quantile_is_torchs_on_the_masked_values(level):
    for seed in range(5):
        draw = torch.Generator().manual_seed(seed)
        values = torch.randn(3, 17, 5, generator=draw)
        mask = torch.rand(3, 17, 5, generator=draw) < 0.6
        found = masked_quantile(values, mask, level)
        expected = torch.quantile(values[mask].double(), level)
        assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_masked_quantile_of_one_value_and_of_none():
    values = torch.tensor([3.0, -1.0, 7.0])
    assert masked_quantile(values, torch.tensor([False, True, False]), 0.3) == -1
    assert masked_quantile(values, torch.zeros(3, dtype=torch.bool), 0.3) == math.inf


@pytest.mark.parametrize('drop', [1, 20, 50, 80, 99.5])
def test_entropy_percentile_drops_its_share(drop):
    for seed in range(5):
        logits, valid = maps(seed)
        pseudo = EntropyPercentile(drop)(logits, valid, time=0.0)
        kept = pseudo.labels != IGNORE
        assert not (kept & ~valid).any()
        assert abs(int(kept.sum()) - (1 - drop / 100) * int(valid.sum())) <= 1
        # the dropped ones are the most uncertain
        p = probabilities(logits)
        uncertainty = -(p * p.log()).sum(dim=1)
        assert uncertainty[kept].max() <= uncertainty[valid & ~kept].min() + 1e-6
        assert torch.equal(pseudo.labels[kept], logits.argmax(dim=1)[kept])


def test_entropy_percentile_zero_hundred_and_schedule():
    logits, valid = maps()
    assert torch.equal(EntropyPercentile(0)(logits, valid, 0.0).labels != IGNORE, valid)
    assert not (EntropyPercentile(100)(logits, valid, 0.0).labels != IGNORE).any()
    falling = EntropyPercentile(dict(type='Steps', values=[60, 20], milestones=[5]))
    early, late = (falling(logits, valid, t).labels != IGNORE for t in (4.9, 5.0))
    total = int(valid.sum())
    assert abs(int(early.sum()) - 0.4 * total) <= 1 and abs(int(late.sum()) - 0.8 * total) <= 1


def test_entropy_percentile_of_padding_alone():
    logits, valid = maps()
    pseudo = EntropyPercentile(20)(logits, torch.zeros_like(valid), 0.0)
    assert (pseudo.labels == IGNORE).all() and (pseudo.confidence == 0).all()


def test_wrong_settings_are_refused():
    for threshold in (-0.1, 1.1, math.nan):
        with pytest.raises(SetupError, match='pseudo_label.threshold'):
            ConfidenceThreshold(threshold)
    for drop in (101, dict(type='Steps', values=[20, 120], milestones=[1])):
        with pytest.raises(SetupError, match='pseudo_label.drop'):
            EntropyPercentile(drop)


# -- labellers of other packages -------------------------------------------------------------------


@MODELS.register_module()
class _PlainModule(nn.Module):
    """What a pseudo-labeller was before there was a base class."""

    def forward(self, logits, valid, time):
        return label_and_confidence(logits, valid)


@MODELS.register_module()
class _Counting(PseudoLabeller):
    """Notes in which order a step calls it, and what it gets."""

    def bind(self, networks, objectives=()):
        self.calls = ['bind']
        self.names = [objective.name for objective in objectives]

    def correct(self, outputs, valid):
        self.calls.append('correct')
        assert outputs.logits.shape[0] == valid.shape[0]
        return 2 * outputs.logits, ['a level']

    def forward(self, logits, valid, time):
        self.calls.append('forward')
        assert logits.shape[2:] == valid.shape[1:]
        return label_and_confidence(logits, valid)

    def count(self, views):
        self.calls.append('count')
        assert views.student.mixed is not None and views.teacher.levels == ['a level']

    def metrics(self, views):
        self.calls.append('metrics')
        return {'own': torch.tensor(0.25)}

    def after_step(self):
        self.calls.append('after_step')


def test_a_module_that_is_no_pseudo_labeller_is_refused():
    with pytest.raises(SetupError, match='model.pseudo_label is _PlainModule.*PseudoLabeller'):
        tiny_model('fixmatch', pseudo_label=dict(type='_PlainModule'))
    label = dict(type='GraphCorrection', label=dict(type='_PlainModule'))
    with pytest.raises(SetupError, match='model.pseudo_label.label is _PlainModule'):
        tiny_model('fixmatch', pseudo_label=label)


def test_a_step_calls_a_pseudo_labeller_in_its_order():
    model = tiny_model('fixmatch', pseudo_label=dict(type='_Counting'))
    labeller = model.pseudo_label
    assert labeller.calls == ['bind'] and labeller.names == ['sup', 'selftrain']
    assert tiny_losses(model, 1) and labeller.calls == ['bind']  # labels only
    loop = TinyLoop(model)
    loop.iter = 3
    assert loop.step()['pseudo.own'] == 0.25
    assert labeller.calls[1:] == ['correct', 'forward', 'count', 'metrics', 'after_step']
    assert 'pseudo.own' not in tiny_losses(model, 4)  # no log line


# -- weights ---------------------------------------------------------------------------------------


@MODELS.register_module()
class _Weighted(PseudoLabeller):
    """Every valid pixel with a weight."""

    gives_weights = True

    def __init__(self, value=None, **attributes):
        super().__init__()
        self.value = value
        vars(self).update(attributes)

    def forward(self, logits, valid, time):
        pseudo = label_and_confidence(logits, valid)
        weight = pseudo.confidence**3 if self.value is None else self.value * valid.float()
        return PseudoLabels(pseudo.labels, pseudo.confidence, weight=weight)


@MODELS.register_module()
class _DroppingMixing(Mixing):
    """Knows of no weights."""

    def forward(self, images, pseudo, valid, generator):
        return images, PseudoLabels(pseudo.labels, pseudo.confidence, pseudo.noisy), valid


@pytest.mark.parametrize('divisor', ['valid', 'confident', 'inverse'])
@pytest.mark.parametrize('name', ['selftrain', 'ddfp', 'perturbed'])
def test_objectives_multiply_by_the_weights(name, divisor):
    """Half the weight is half the loss with 'valid', the same mean with 'confident', twice it with 'inverse'."""
    found = {}
    for value in (1.0, 0.5, 0.0):
        recipe = tiny_recipe('ddfp')['objectives'] + [dict(type='PerturbedFeaturesObjective')]
        recipe[3]['perturbation'] = dict(type='FeatureDropout')
        for line in recipe[1:]:
            line['divisor'] = divisor
        labeller = dict(type='_Weighted', value=value)
        model = tiny_model('ddfp', objectives=recipe, pseudo_label=labeller, dropout=0.0)
        found[value] = tiny_losses(model, 4)[f'{name}.loss'].item()
    factor = {'valid': 0.5, 'confident': 1.0, 'inverse': 2.0}[divisor]
    assert found[0.5] == pytest.approx(factor * found[1.0], rel=1e-5)
    assert found[1.0] > 0 == found[0.0]


def test_weights_that_would_be_dropped_are_refused():
    label = dict(type='TrainedGraphCorrection', label=dict(type='_Weighted'))
    with pytest.raises(
        SetupError, match="'mllc' .* omega .* _Weighted, whose weights it would drop"
    ):
        tiny_model('mllc', pseudo_label=label)
    unnamed = dict(type='_Weighted', gives_weights=False)
    with pytest.raises(SetupError, match='_Weighted gives weights without gives_weights=True'):
        tiny_losses(tiny_model('fixmatch', pseudo_label=unnamed), 2)
    dropped = dict(pseudo_label=dict(type='_Weighted'), mixing=dict(type='_DroppingMixing'))
    with pytest.raises(SetupError, match='_DroppingMixing dropped the weights'):
        tiny_losses(tiny_model('fixmatch', **dropped), 2)
    assert tiny_losses(tiny_model('fixmatch', mixing=dict(type='_DroppingMixing')), 2)
