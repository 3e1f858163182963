"""The tables of a report: scores, classes, confusions, class shares, findings of the data."""

from collections.abc import Sequence
from html import escape
from statistics import fmean

import numpy as np

from mmseg_semi.runtime.pages import share_words, swatch
from mmseg_semi.runtime.report.collect import Run
from mmseg_semi.runtime.report.curves import sparkline

MOST_CLASSES = 30
"""Most classes of a confusion matrix that is shown as one."""
_MOST_PAIRS = 8
_MOST_CASES = 3

STYLE = """
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0; }
.tile { max-width: 100%; overflow-wrap: anywhere; background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; min-width: 140px; }
.tile b { display: block; font-size: 1.7em; font-weight: 600; line-height: 1.25; }
.tile span { color: var(--soft); font-size: .85em; display: block; }
.tile.main { border-color: var(--bar); }
.grid { font-size: .9em; } .grid th, .grid td { white-space: nowrap; }
.grid tr + tr td, .grid tr + tr th { border-top: 1px solid var(--line); }
.grid th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
.grid td:first-child { color: var(--text); }
.grid tr.sum td { font-weight: 600; }
.note { color: var(--soft); font-size: .85em; }
.better { color: var(--good); } .worse { color: var(--error); }
.matrix { font-size: .8em; }
.matrix td { min-width: 2.7em; padding: 3px 4px; text-align: right; border: 1px solid var(--page); }
.matrix th { font-weight: 500; padding: 3px 6px; white-space: nowrap; }
.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); vertical-align: top; text-align: left; padding: 6px 3px; }
.matrix td.hit { font-weight: 600; }
.track { display: inline-block; width: 90px; margin-left: 10px; text-align: left; }
.spark { vertical-align: middle; }
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], sums: int = 0) -> str:
    """A table that scrolls in a box of its own; the first column stands left, the others right.

    Args:
        header: Plain text.
        rows: Markup of each cell.
        sums: Number of last rows that are set off.
    """
    head = ''.join(f'<th{_right(i)}>{escape(text)}' for i, text in enumerate(header))
    lines = []
    for number, row in enumerate(rows):
        kind = ' class="sum"' if number >= len(rows) - sums else ''
        cells = ''.join(f'<td{_right(i)}>{cell}' for i, cell in enumerate(row))
        lines.append(f'<tr{kind}>{cells}</tr>')
    return f'<div class="scroll"><table class="grid"><tr>{head}</tr>{"".join(lines)}</table></div>'


def _right(column: int) -> str:
    return ' class="n"' if column else ''


def points_words(value: float | None) -> str:
    """A score of 0 to 100 with two digits, '-' without one."""
    return '-' if value is None or np.isnan(value) else f'{value:.2f}'


# ----------------------------------------------------------------------------------------- scores


def score_tiles(run: Run, beside: Sequence[Run]) -> str:
    """The last and the best mIoU of each network in large type, the one that predicts first."""
    tiles = []
    for network in run.networks:
        points = run.metric(network)
        best = max(points, key=lambda point: (point[1], -point[0]))
        is_main = network == run.predicting and len(run.networks) > 1
        title = (network or 'network') + (' · predicts' if is_main else '')
        tiles.append(
            f'<div class="tile{" main" if is_main else ""}"><span>{escape(title)}</span>'
            f'<b>{points_words(points[-1][1])}</b><span>mIoU at iteration {points[-1][0]}</span>'
            f'<span>best {points_words(best[1])} at {best[0]}</span></div>'
        )
    mine = last_score(run)
    for other in beside:
        score = last_score(other)
        if score is None or mine is None:
            continue
        change = mine - score
        kind = 'better' if change > 0 else 'worse'
        tiles.append(
            f'<div class="tile"><span>against {escape(other.name)}</span>'
            f'<b class="{kind}">{change:+.2f}</b><span>mIoU, {points_words(score)} there at iteration '
            f'{other.last["iter"]}</span></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def last_score(run: Run) -> float | None:
    """The last mIoU of the network that predicts; None without a validation of it."""
    points = run.metric(run.networks[0]) if run.networks else []
    return points[-1][1] if points else None


def score_table(runs: Sequence[Run]) -> str:
    """All metrics of the last validation by run and network, with the best mIoU."""
    names = list(
        dict.fromkeys(
            key.rpartition('/')[2]
            for run in runs
            for network in run.networks
            for key in run.last
            if key.rpartition('/')[0] == network and key not in ('iter', 'time', 'data_time')
        )
    )
    names.sort(key=lambda name: name != 'mIoU')
    rows = []
    for run in runs:
        for network in run.networks:
            points = run.metric(network)
            best = max(points, key=lambda point: (point[1], -point[0]))
            title = f'{run.name}, ' if len(runs) > 1 else ''
            title += network or 'network'
            last = [run.last.get(f'{network}/{name}' if network else name) for name in names]
            rows.append(
                [
                    escape(title) + (' (predicts)' if network == run.predicting else ''),
                    *map(points_words, last),
                    str(points[-1][0]),
                    points_words(best[1]),
                    str(best[0]),
                ]
            )
    return table(['network', *names, 'at iteration', 'best mIoU', 'at iteration'], rows)


# ---------------------------------------------------------------------------------------- classes


def class_table(run: Run, beside: Sequence[Run] = ()) -> str:
    """IoU of each class by network and run, with its pixels; empty for a run without ``ReportHook``."""
    data = run.data
    if 'matrix' not in data:
        return ''
    classes, networks = data['classes'], list(data['matrix'])
    matrix = np.array(data['matrix'][_predicting(run)])
    labels = data.get('labels')
    others = [
        (other, other.data['validations'][-1]['iou'][_predicting(other)])
        for other in beside
        if other.data.get('classes') == classes and 'matrix' in other.data
    ]
    header = ['class', *[f'{name or "IoU"}' for name in networks]]
    header += [other.name for other, _ in others]
    header += ['validation pixels', 'images']
    columns = [data['validations'][-1]['iou'][name] for name in networks]
    columns += [ious for _, ious in others]
    if labels:
        header += ['label pixels', 'labelled images']
    truth = matrix.sum(1)
    rows = []
    for c, name in enumerate(classes):
        row = [f'{swatch(data["palette"][c])}{escape(name)}']
        row += [points_words(column[c]) for column in columns]
        row += [pixels(truth[c], truth.sum()), str(int(data['shows'][c]))]
        if labels:
            row += [
                pixels(labels['pixels'][c], sum(labels['pixels'])),
                str(int(labels['shows'][c])),
            ]
        rows.append(row)
    defined = [[value for value in column if value is not None] for column in columns]
    rows.append(['mean', *[points_words(fmean(values)) if values else '-' for values in defined]])
    rows[-1] += [f'{truth.sum():,}', str(int(data['images']))]
    if labels:
        rows[-1] += [f'{sum(labels["pixels"]):,}', str(int(labels['images']))]
    counts = sorted({len(values) for values in defined})
    over = ' and '.join(str(count) for count in counts)
    notes = [
        f'IoU in percent at iteration {data["iter"]}. Each mean is over {over} of {len(classes)} classes: a class that is '
        'neither in the truth nor predicted has no IoU.'
    ]
    if labels and labels['counted'] < labels['images']:
        notes.append(
            f'Label pixels and images were counted in {labels["counted"]} of {labels["images"]} labelled images.'
        )
    return table(header, rows, sums=1) + f'<p class="note">{escape(" ".join(notes))}</p>'


def pixels(count: int, total: int) -> str:
    """A number of pixels with its share."""
    return f'{int(count):,} ({share_words(count / max(int(total), 1))})'


def _predicting(run: Run) -> str:
    """The network of a report's matrices that predicts."""
    matrices = run.data['matrix']
    return run.predicting if run.predicting in matrices else next(iter(matrices))


# -------------------------------------------------------------------------------------- confusion


def confusion_table(run: Run) -> str:
    """The confusion matrix of the network that predicts, each row in percent, and the most frequent mistakes."""
    if 'matrix' not in run.data:
        return ''
    classes = run.data['classes']
    matrix = np.array(run.data['matrix'][_predicting(run)], np.float64)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    shown, note = list(range(len(classes))), ''
    if len(classes) > MOST_CLASSES:
        wrong = matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix)
        shown = sorted(np.argsort(-wrong, kind='stable')[:MOST_CLASSES].tolist())
        note = (
            f' The {MOST_CLASSES} of {len(classes)} classes with the most wrong pixels are shown.'
        )
    head = ''.join(f'<th>{escape(classes[c])}' for c in shown)
    lines = []
    for r in shown:
        cells = ''.join(_cell(shares[r, c], r == c) for c in shown)
        lines.append(f'<tr><th>{escape(classes[r])}{cells}</tr>')
    words = (
        f'Rows are the truth, columns the prediction of the {_predicting(run) or "network"}: percent of the pixels of the row.'
        ' Empty cells are below half a percent.'
    )
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div>'
        f'<p class="note">{escape(words + note)}</p>{_mistakes(matrix, classes)}'
    )


def _cell(share: float, is_hit: bool) -> str:
    text = f'{100 * share:.0f}' if share >= 0.005 else ''
    colour = 'var(--bar)' if is_hit else 'var(--error)'
    style = (
        f' style="background:color-mix(in srgb, {colour} {70 * share:.0f}%, transparent)"'
        if text
        else ''
    )
    return f'<td{" class=hit" if is_hit else ""}{style}>{text}'


def _mistakes(matrix: np.ndarray, classes: Sequence[str]) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    total = matrix.sum()
    order = np.argsort(-wrong, axis=None, kind='stable')[:_MOST_PAIRS]
    rows = []
    for index in order:
        r, c = np.unravel_index(index, wrong.shape)
        if not wrong[r, c]:
            break
        rows.append(
            [
                f'{escape(classes[r])} → {escape(classes[c])}',
                share_words(wrong[r, c] / total),
                share_words(wrong[r, c] / matrix[r].sum()),
            ]
        )
    if not rows:
        return ''
    header = ['truth → prediction', 'of all pixels', 'of the class']
    return f'<h3>Most frequent mistakes</h3>{table(header, rows)}'


# ---------------------------------------------------------------------------------- pseudo-labels


def share_rows(run: Run) -> list[dict]:
    """Shares of each class among labels and pseudo-labels.

    Returns:
        One dict a class: 'name'; 'label', its share of the labelled pixels of the training crops; 'pseudo', its share of the
        pixels that were pseudo-labelled since the validation before; 'past', that share at each validation. Empty
        without counts of pseudo-labels.
    """
    entries = [e for e in run.data.get('validations', ()) if e.get('shares')]
    classes = run.data.get('classes')
    if not entries or not classes:
        return []
    totals = np.array([entry['shares']['pseudo'] for entry in entries], np.float64)
    steps = np.diff(totals, axis=0, prepend=np.zeros((1, totals.shape[1])))
    steps = steps[steps.sum(1) > 0]
    labels = np.array(entries[-1]['shares']['labelled'], np.float64)
    if not len(steps) or not labels.sum():
        return []
    steps /= steps.sum(1, keepdims=True)
    labels /= labels.sum()
    return [
        dict(
            name=name,
            label=float(labels[c]),
            pseudo=float(steps[-1, c]),
            past=steps[:, c].tolist(),
        )
        for c, name in enumerate(classes)
    ]


def share_table(run: Run) -> str:
    """Shares of the classes among labels and pseudo-labels, with bars; empty without counts."""
    rows = share_rows(run)
    if not rows:
        return ''
    widest = max(max(row['label'], row['pseudo']) for row in rows)
    lines = []
    for c, row in enumerate(rows):
        line = [f'{swatch(run.data["palette"][c])}{escape(row["name"])}']
        line += [_bar(row[kind], widest) for kind in ('label', 'pseudo')]
        line.append(f'{row["pseudo"] / row["label"]:.2f}' if row['label'] else '-')
        line.append(sparkline(row['past']))
        lines.append(line)
    note = (
        'Labels: of the labelled pixels of all training crops so far. Pseudo-labels: of the weak views since the validation '
        'before, before mixing. Over time: that share at every validation.'
    )
    header = ['class', 'labels', 'pseudo-labels', 'pseudo-labels / labels']
    header.append('over time' if len(rows[0]['past']) > 1 else '')
    return table(header, lines) + f'<p class="note">{note}</p>'


def _bar(share: float, widest: float) -> str:
    width = 90 * share / max(widest, 1e-12)
    return (
        f'{share_words(share)}<span class="track"><span class="bar" style="width:{width:.0f}px">'
        '</span></span>'
    )


# ------------------------------------------------------------------------------------------- data


def finding_list(run: Run) -> str:
    """Findings of ``check-dataset``; how to get them where the folder has none."""
    if run.check is None:
        return (
            '<p class="note">The data were not checked into this folder: <code>mmseg-semi check-dataset CONFIG</code> '
            'reads every image and mask once, and writes the folder <code>check</code> of the run.</p>'
        )
    findings = run.check.get('findings', [])
    if not findings:
        return f'<p>No findings in the data of {escape(str(run.check.get("checked", "")))}.</p>'
    items = []
    for finding in findings:
        level = 'error' if finding['level'] == 'error' else 'warning'
        cases = []
        for case in finding['cases'][:_MOST_CASES]:
            cases.append(escape(': '.join([', '.join(case['files']), case['text']]).strip(': ')))
        if finding['count'] > len(cases):
            cases.append(f'and {finding["count"] - len(cases)} more in check/report.json')
        items.append(
            f'<p><span class="{level}">{level}</span> {escape(finding["source"])}: {escape(finding["what"])}: '
            f'{int(finding["count"])}<br><span class="note">{"<br>".join(cases)}</span></p>'
        )
    return ''.join(items)
