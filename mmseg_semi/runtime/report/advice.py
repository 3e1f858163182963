"""What could be done next: rules over the measured values of a run, each with its reason."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from mmseg_semi.runtime.report.collect import Points, Run
from mmseg_semi.runtime.report.tables import last_score, share_rows
from mmseg_semi.step.class_shares import lost_classes

LOST = 0.01
"""A class is lost if fewer than this share of its pixels are predicted as often as they are labelled."""
ALL_CONFIDENT, NONE_CONFIDENT = 0.97, 0.05
"""Confident shares of the pixels from which, and up to which, a threshold chooses nothing."""
GAP = 15.0
"""Percentage points of pixel accuracy between training and validation."""
LOW_ACCURACY, SETTLED = 0.8, 0.02
"""Teacher's accuracy on labelled pixels below which labels may disagree, and its change if it has settled."""
BETTER = 0.5
"""Points of mIoU that one network, or one run, is better than another."""
RISING = 1.0
"""Points of mIoU gained over the last quarter of a run that still rises."""
FALLING = 2.0
"""Points of mIoU lost since the best validation."""
FAR_SHARES = 0.25
"""Share of the pseudo-labels that would have to be of other classes to have the shares of the labels."""
FEW_IMAGES = 2
"""A class in so many labelled images, or fewer, is rare."""
_MOST_NAMES = 6


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Args:
        rule: Name of the rule.
        what: What to do.
        why: The measured reason.
    """

    rule: str
    what: str
    why: str


Rule = Callable[[Run, Sequence[Run]], Iterator[Advice]]


def better_beside(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """A run beside this one has a higher score, at worst a supervised one."""
    mine = last_score(run)
    for other in beside:
        score = last_score(other)
        if mine is None or score is None or not score - mine >= BETTER:  # also if one is NaN
            continue
        kind = 'supervised run' if other.is_supervised and not run.is_supervised else 'run'
        what = f'Use the {kind} {other.name}, or find out why this one is worse'
        if kind == 'supervised run':
            what += (
                ': look at its pseudo-labels below, start self-training later '
                '(model.teacher.start), raise pseudo_label.threshold, or lower the weight of the objective'
            )
        why = f'Its last mIoU is {score:.2f}, that of this run {mine:.2f}.'
        yield Advice('better beside', what + '.', why)


def better_student(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """The student has passed the teacher that predicts."""
    teacher, student = run.metric('teacher'), run.metric('student')
    if run.predicting != 'teacher' or not teacher or not student:
        return
    gain = student[-1][1] - teacher[-1][1]
    if gain >= BETTER:
        yield Advice(
            'better student',
            'Publish the student: mmseg-semi publish CONFIG CHECKPOINT --network student. If the teacher stays behind, it '
            'averages over too many steps: raise default_hooks.teacher.momentum.',
            f'At iteration {student[-1][0]} the student has {student[-1][1]:.2f} mIoU, the teacher {teacher[-1][1]:.2f}.',
        )


def still_rising(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """The last validation is the best one, and clearly better than that at three quarters."""
    points = run.metric(run.networks[0]) if run.networks else []
    if len(points) < 3:
        return
    (last, score), earlier = points[-1], [p for p in points[:-1] if p[0] <= 0.75 * points[-1][0]]
    if not earlier or score < max(value for _, value in points):
        return
    gain = score - earlier[-1][1]
    if gain >= RISING:
        yield Advice(
            'still rising',
            'Train longer: raise train_cfg.max_iters, and end of param_scheduler with it.',
            f'The mIoU rose by {gain:.2f} from iteration {earlier[-1][0]} to {last}, the last one, which is the best.',
        )


def has_fallen(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """The score has fallen since the best validation."""
    points = run.metric(run.networks[0]) if run.networks else []
    if len(points) < 2:
        return
    best = max(points, key=lambda point: point[1])
    if best[1] - points[-1][1] >= FALLING:
        yield Advice(
            'has fallen',
            'Use the best checkpoint (best_*.pth), not the last one, and train shorter or with a lower learning rate.',
            f'The mIoU was {best[1]:.2f} at iteration {best[0]} and is {points[-1][1]:.2f} at {points[-1][0]}.',
        )


def lost_in_predictions(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """A class of the validation set is hardly ever predicted."""
    matrix = _matrix(run)
    if matrix is None:
        return
    truth, predicted = matrix.sum(1), matrix.sum(0)
    lost = [c for c in range(len(truth)) if truth[c] > 0 and predicted[c] < LOST * truth[c]]
    if lost:
        names = run.data['classes']
        yield Advice(
            'lost in predictions',
            f'Give the network more of {_names(names, lost)}: label more images that show them, or weigh their pixels '
            '(ClassMix with labelled images, class_weight of the loss).',
            'Pixels in the validation set and predicted: '
            + '; '.join(
                f'{names[c]} {int(truth[c]):,} and {int(predicted[c]):,}'
                for c in lost[:_MOST_NAMES]
            )
            + '.',
        )


def lost_in_pseudo_labels(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """A class has no pseudo-labels, or far fewer than labels."""
    rows = share_rows(run)
    lost = lost_classes(
        *([round(1e12 * row[kind]) for row in rows] for kind in ('pseudo', 'label'))
    )
    lost = [c for c in sorted(lost[0] + lost[1]) if rows[c]['label'] > 0]
    if lost:
        names = [row['name'] for row in rows]
        yield Advice(
            'lost in pseudo-labels',
            f'Bring {_names(names, lost)} back into the pseudo-labels: a lower threshold, thresholds by class '
            '(ClassShareThreshold), DistributionAlignment, or ClassMix with labelled images '
            '(docs/pseudo_labels.md).',
            'Shares of the labels and of the pseudo-labels: '
            + '; '.join(
                f'{names[c]} {rows[c]["label"]:.2%} and {rows[c]["pseudo"]:.2%}'
                for c in lost[:_MOST_NAMES]
            )
            + '.',
        )


def confident_of_everything(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """The threshold lets all pixels pass from the beginning."""
    for name, points in run.matching('confident').items():
        share = _mean(points[: max(1, len(points) // 4)])
        if len(points) >= 4 and share >= ALL_CONFIDENT:
            yield Advice(
                'confident of everything',
                'Raise model.pseudo_label.threshold, or start self-training later (model.teacher.start): a teacher that is '
                'confident of everything passes its mistakes on.',
                f'In the first quarter of its values {name} is {share:.2f} on average.',
            )


def confident_of_nothing(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """The threshold lets no pixel pass to the end."""
    for name, points in run.matching('confident').items():
        share = _mean(points[-max(1, len(points) // 4) :])
        if len(points) >= 4 and share <= NONE_CONFIDENT:
            yield Advice(
                'confident of nothing',
                'Lower model.pseudo_label.threshold: nothing is learned from the unlabelled images. If labels are learned by '
                'OHEMCrossEntropyLoss, try about its threshold: it does not teach pixels that are more confident than that.',
                f'In the last quarter of its values {name} is {share:.3f} on average.',
            )


def far_from_training(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """Validation images are predicted much worse than training crops."""
    trained = [points for name, points in run.scalars.items() if name.endswith('decode.acc_seg')]
    accuracy = run.metric('student', 'aAcc') or run.metric('', 'aAcc')
    if not trained or not accuracy:
        return
    points = trained[0]
    share = _mean(points[-max(1, len(points) // 4) :])
    if share - accuracy[-1][1] >= GAP:
        yield Advice(
            'far from training',
            'Compare labelled and validation images and their labels (mmseg-semi check-dataset): they show other scenes, or '
            'were labelled by other rules. If they are alike, the network knows the labelled images by heart: label more '
            'images, or use stronger augmentation.',
            f'The student has {share:.1f} % of the labelled training pixels right, and {accuracy[-1][1]:.1f} % of the '
            'validation pixels.',
        )


def labels_disagree(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """The teacher stops agreeing more with the labels that it was trained on."""
    for name, points in run.matching('accuracy').items():
        quarter = len(points) // 4
        if quarter < 2:
            continue
        last, before = _mean(points[-quarter:]), _mean(points[-2 * quarter : -quarter])
        if last < LOW_ACCURACY and last - before < SETTLED:
            yield Advice(
                'labels disagree',
                'Look at the labelled images where the prediction differs from the label: similar pixels may have different '
                'labels. If the labels are right, the network is too small or the training too short.',
                f'{name}, the share of labelled pixels that the teacher gets right, has settled at {last:.2f}.',
            )


def validation_lacks(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """No validation image shows a class."""
    matrix = _matrix(run)
    if matrix is None:
        return
    absent = np.flatnonzero(matrix.sum(1) == 0).tolist()
    if absent:
        count = len(matrix)
        yield Advice(
            'validation lacks a class',
            f'Add validation images that show {_names(run.data["classes"], absent)}: the score says nothing about them.',
            f'{len(absent)} of {count} classes have no labelled pixel in the validation set.',
        )


def few_labels(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """A class that is predicted badly is shown by hardly any labelled image."""
    labels, matrix = run.data.get('labels'), _matrix(run)
    if not labels or matrix is None or labels['counted'] < labels['images']:
        return
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    ious = np.diag(matrix) / np.maximum(union, 1)
    mean = ious[union > 0].mean() if (union > 0).any() else 0
    rare = [
        c
        for c, shows in enumerate(labels['shows'])
        if shows <= FEW_IMAGES and union[c] > 0 and ious[c] < mean / 2
    ]
    if rare:
        names = run.data['classes']
        yield Advice(
            'few labels',
            f'Label more images that show {_names(names, rare)}.',
            'Labelled images that show them, and IoU: '
            + '; '.join(
                f'{names[c]} {labels["shows"][c]}, {100 * ious[c]:.1f}' for c in rare[:_MOST_NAMES]
            )
            + f'; the mean IoU is {100 * mean:.1f}.',
        )


def other_pool(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """Pseudo-labels have much different class shares from labels."""
    rows = share_rows(run)
    distance = sum(abs(row['pseudo'] - row['label']) for row in rows) / 2
    if distance >= FAR_SHARES:
        most = sorted(rows, key=lambda row: -abs(row['pseudo'] - row['label']))[:3]
        yield Advice(
            'other pool',
            'Look whether the unlabelled images show the same scenes as the labelled ones. If they do, the teacher prefers '
            'some classes: DistributionAlignment brings the shares together (docs/pseudo_labels.md).',
            f'{distance:.0%} of the pseudo-labelled pixels would have to be of other classes to have the shares of the labels. '
            'Labels and pseudo-labels: '
            + '; '.join(f'{row["name"]} {row["label"]:.1%} and {row["pseudo"]:.1%}' for row in most)
            + '.',
        )


def wrong_data(run: Run, beside: Sequence[Run]) -> Iterator[Advice]:
    """The check of the data found errors."""
    errors = (run.check or {}).get('errors', 0)
    if errors:
        yield Advice(
            'wrong data',
            'Fix the errors that check-dataset found, listed below, before any other setting.',
            f'Kinds of errors in check/report.json: {int(errors)}.',
        )


RULES: tuple[Rule, ...] = (
    wrong_data,
    better_beside,
    better_student,
    has_fallen,
    confident_of_everything,
    confident_of_nothing,
    lost_in_predictions,
    lost_in_pseudo_labels,
    labels_disagree,
    far_from_training,
    other_pool,
    few_labels,
    validation_lacks,
    still_rising,
)
"""The rules, in the order in which their advice is shown."""


def advise(run: Run, beside: Sequence[Run] = ()) -> list[Advice]:
    """What all rules have to say."""
    return [advice for rule in RULES for advice in rule(run, beside)]


def advice_list(found: Sequence[Advice]) -> str:
    """Markup of the advice."""
    if not found:
        return '<p>No rule found anything to change in the values of this run.</p>'
    items = ''.join(
        f'<li>{escape(one.what)}<br><span class="note">{escape(one.why)}</span>' for one in found
    )
    return f'<ol class="advice">{items}</ol>'


def _matrix(run: Run) -> np.ndarray | None:
    """Confusion matrix of the network that predicts."""
    matrices = run.data.get('matrix')
    if not matrices:
        return None
    return np.array(matrices.get(run.predicting) or next(iter(matrices.values())), np.float64)


def _mean(points: Points) -> float:
    return sum(value for _, value in points) / max(len(points), 1)


def _names(classes: Sequence[str], chosen: Sequence[int]) -> str:
    """Names in quotes, the first few of them."""
    words = [f"'{classes[c]}'" for c in chosen[:_MOST_NAMES]]
    if len(chosen) > _MOST_NAMES:
        words.append(f'{len(chosen) - _MOST_NAMES} more')
    return ' and '.join([', '.join(words[:-1]), words[-1]] if len(words) > 1 else words)
