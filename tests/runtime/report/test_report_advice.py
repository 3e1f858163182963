"""Every rule speaks when its values say so, gives them as its reason, and is silent otherwise."""

from pathlib import Path

import pytest

from mmseg_semi.runtime.report import advice as rules
from mmseg_semi.runtime.report.advice import advice_list, advise
from mmseg_semi.runtime.report.collect import Run

CLASSES = ['road', 'pole', 'sign']


def scores(**by_network) -> list[dict]:
    """Validations at 100, 200, ... from the mIoU of each network."""
    count = len(next(iter(by_network.values())))
    return [
        {'iter': 100 * (i + 1)} | {f'{name}/mIoU': v[i] for name, v in by_network.items()}
        for i in range(count)
    ]


def run(name: str = 'mine', **content) -> Run:
    data = content.pop('data', {})
    return Run(Path('/runs') / name, data={'classes': CLASSES, **data} if data else {}, **content)


def series(*values) -> list[tuple[int, float]]:
    return [(50 * (i + 1), value) for i, value in enumerate(values)]


def shares(pseudo, labelled) -> dict:
    return dict(validations=[dict(iter=100, shares=dict(pseudo=pseudo, labelled=labelled))])


def found(rule, one: Run, *beside: Run) -> list[rules.Advice]:
    return list(rule(one, beside))


def test_a_run_of_which_nothing_is_known_gets_no_advice():
    assert advise(run()) == []
    assert 'No rule found anything' in advice_list([])


def test_better_supervised_run():
    mine = run(history=scores(teacher=[40.0], student=[50.0]))
    supervised = run(
        'sup', history=scores(student=[42.5]), scalars={'sup.decode.loss_ce': series(1)}
    )
    (one,) = found(rules.better_beside, mine, supervised)
    assert one.what.startswith('Use the supervised run runs/sup, or find out')
    assert one.why == 'Its last mIoU is 42.50, that of this run 40.00.'
    other = run('other', history=scores(teacher=[42.5]))
    (one,) = found(rules.better_beside, mine, other)
    assert one.what == 'Use the run runs/other, or find out why this one is worse.'
    assert not found(rules.better_beside, mine, run('equal', history=scores(teacher=[40.4])))
    assert not found(rules.better_beside, mine, run('new'))


def test_better_student():
    (one,) = found(
        rules.better_student, run(history=scores(teacher=[30, 44.2], student=[20, 46.26]))
    )
    assert '--network student' in one.what
    assert one.why == 'At iteration 200 the student has 46.26 mIoU, the teacher 44.20.'
    assert not found(rules.better_student, run(history=scores(teacher=[44.2], student=[44.6])))
    assert not found(rules.better_student, run(history=scores(student=[44.6])))
    # it predicts already
    history = scores(teacher=[44.2], student=[46.2])
    assert not found(rules.better_student, run(history=history, data=dict(predicting='student')))


def test_still_rising():
    (one,) = found(rules.still_rising, run(history=scores(student=[30, 38, 39, 41])))
    assert one.why.startswith('The mIoU rose by 2.00 from iteration 300 to 400')
    for settled in ([30, 40, 40.5, 41], [30, 42, 38, 41], [30, 41]):
        assert not found(rules.still_rising, run(history=scores(student=settled)))


def test_has_fallen():
    (one,) = found(rules.has_fallen, run(history=scores(student=[30, 41, 38])))
    assert one.why == 'The mIoU was 41.00 at iteration 200 and is 38.00 at 300.'
    assert not found(rules.has_fallen, run(history=scores(student=[30, 41, 39.5])))


def test_lost_in_predictions():
    data = dict(matrix=dict(teacher=[[900, 0, 100], [100, 0, 0], [0, 0, 50]]), predicting='teacher')
    (one,) = found(rules.lost_in_predictions, run(data=data))
    assert "more of 'pole':" in one.what
    assert one.why == 'Pixels in the validation set and predicted: pole 100 and 0.'
    data['matrix'] = dict(teacher=[[899, 1, 100], [100, 0, 0], [0, 0, 50]])  # 1 of 100
    assert not found(rules.lost_in_predictions, run(data=data))
    data['matrix'] = dict(teacher=[[900, 0, 100], [0, 0, 0], [0, 0, 50]])  # none in the truth
    assert not found(rules.lost_in_predictions, run(data=data))


def test_lost_in_pseudo_labels():
    (one,) = found(rules.lost_in_pseudo_labels, run(data=shares([970, 30, 0], [50, 40, 10])))
    assert "Bring 'pole' and 'sign' back" in one.what
    assert 'pole 40.00% and 3.00%; sign 10.00% and 0.00%' in one.why
    assert not found(rules.lost_in_pseudo_labels, run(data=shares([900, 80, 20], [50, 40, 10])))
    # a class without labels cannot come back
    assert not found(rules.lost_in_pseudo_labels, run(data=shares([60, 40, 0], [60, 40, 0])))


def test_only_pseudo_labels_since_the_validation_before_count():
    data = dict(
        validations=[
            dict(iter=100, shares=dict(pseudo=[100, 0, 0], labelled=[1, 1, 1])),
            dict(iter=200, shares=dict(pseudo=[200, 100, 100], labelled=[2, 2, 2])),
        ]
    )
    assert not found(rules.lost_in_pseudo_labels, run(data=data))
    data['validations'].append(
        dict(iter=300, shares=dict(pseudo=[300, 100, 200], labelled=[3, 3, 3]))
    )
    (one,) = found(rules.lost_in_pseudo_labels, run(data=data))
    assert 'pole 33.33% and 0.00%' in one.why


def test_confident_of_everything():
    name = 'selftrain.confident'
    early = {name: series(0.98, 0.97, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8)}
    (one,) = found(rules.confident_of_everything, run(scalars=early))
    assert one.why == f'In the first quarter of its values {name} is 0.97 on average.'
    for usual in ((0.3, 0.4, 0.99, 0.99), (0.99,)):
        assert not found(rules.confident_of_everything, run(scalars={name: series(*usual)}))


def test_confident_of_nothing():
    late = {'peer.selftrain.confident': series(0.4, 0.2, 0.1, 0.04)}
    (one,) = found(rules.confident_of_nothing, run(scalars=late))
    assert 'peer.selftrain.confident is 0.040' in one.why and 'Lower' in one.what
    usual = {'selftrain.confident': series(0.0, 0.0, 0.0, 0.2)}
    assert not found(rules.confident_of_nothing, run(scalars=usual))


def test_far_from_training():
    history = [{'iter': 100, 'student/aAcc': 70.0}]
    scalars = {'sup.decode.acc_seg': series(50, 60, 80, 90)}
    (one,) = found(rules.far_from_training, run(scalars=scalars, history=history))
    assert 'has 90.0 % of the labelled training pixels right, and 70.0 %' in one.why
    scalars = {'sup.decode.acc_seg': series(50, 60, 95, 84)}
    assert not found(rules.far_from_training, run(scalars=scalars, history=history))


def test_labels_disagree():
    name = 'selftrain.accuracy'
    settled = {name: series(0.3, 0.5, 0.6, 0.68, 0.7, 0.71, 0.71, 0.71)}
    (one,) = found(rules.labels_disagree, run(scalars=settled))
    assert one.why.endswith('has settled at 0.71.')
    rising = {name: series(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75)}
    high = {name: series(*[0.9] * 8)}
    for scalars in (rising, high, {name: series(0.5, 0.5)}):
        assert not found(rules.labels_disagree, run(scalars=scalars))


def test_validation_lacks_a_class():
    data = dict(matrix=dict(student=[[5, 1, 0], [0, 0, 0], [1, 0, 2]]))
    (one,) = found(rules.validation_lacks, run(data=data))
    assert "show 'pole': the score" in one.what and one.why.startswith('1 of 3 classes have no')
    data = dict(matrix=dict(student=[[5, 1, 0], [0, 1, 0], [1, 0, 2]]))
    assert not found(rules.validation_lacks, run(data=data))


def test_few_labels():
    # IoU 90, 10, 100: the mean is 66.7
    matrix = dict(student=[[90, 0, 0], [9, 1, 0], [0, 0, 10]])
    matrix['student'][0][0] = 81
    labels = dict(images=4, counted=4, pixels=[9, 1, 1], shows=[4, 2, 1])
    (one,) = found(rules.few_labels, run(data=dict(matrix=matrix, labels=labels)))
    assert one.what == "Label more images that show 'pole'."
    assert 'pole 2, 10.0; the mean IoU is 66.7.' in one.why
    labels['shows'] = [4, 3, 1]
    assert not found(rules.few_labels, run(data=dict(matrix=matrix, labels=labels)))
    labels |= dict(shows=[4, 1, 1], images=8)  # of the others nothing is known
    assert not found(rules.few_labels, run(data=dict(matrix=matrix, labels=labels)))


def test_other_pool():
    (one,) = found(rules.other_pool, run(data=shares([80, 10, 10], [50, 40, 10])))
    assert one.why.startswith('30% of the pseudo-labelled pixels')
    assert 'road 50.0% and 80.0%' in one.why
    assert not found(rules.other_pool, run(data=shares([70, 20, 10], [50, 40, 10])))


def test_wrong_data():
    (one,) = found(rules.wrong_data, run(check=dict(errors=2)))
    assert one.why == 'Kinds of errors in check/report.json: 2.'
    assert not found(rules.wrong_data, run(check=dict(errors=0)))


def test_every_rule_is_tested_and_asked():
    tested = Path(__file__).read_text()
    for rule in rules.RULES:
        assert f'found(rules.{rule.__name__},' in tested
    public = {f for f in vars(rules).values() if getattr(f, '__annotations__', {}).get('beside')}
    assert {rule.__name__ for rule in rules.RULES} == {f.__name__ for f in public} - {'advise'}


def test_names_in_advice_are_escaped_and_few():
    data = dict(
        matrix=dict(student=[[0] * 9 for _ in range(9)]), classes=[f'<i>{i}' for i in range(9)]
    )
    (one,) = [a for a in advise(run(data=data)) if a.rule == 'validation lacks a class']
    assert one.what.count("'<i>") == 6 and 'and 3 more' in one.what
    assert '<i>' not in advice_list([one]) and '&lt;i&gt;0' in advice_list([one])


@pytest.mark.parametrize('rule', rules.RULES, ids=lambda rule: rule.__name__)
def test_rules_say_what_they_look_for(rule):
    assert rule.__doc__
