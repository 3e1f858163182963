"""The report of a run as one HTML file."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from mmseg_semi.files import write_whole
from mmseg_semi.runtime.pages import document
from mmseg_semi.runtime.report import curves, pictures, tables
from mmseg_semi.runtime.report.advice import advice_list, advise
from mmseg_semi.runtime.report.collect import Run
from mmseg_semi.runtime.report.curves import Series, chart

_STYLE = """
.advice { padding-left: 1.4em; } .advice li { margin-bottom: .7em; overflow-wrap: anywhere; }
.head { color: var(--soft); }
details { margin: .6em 0; } summary { cursor: pointer; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: 12px; overflow-x: auto;
      font: 12px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; }
"""


def write_page(run: Run, beside: Sequence[Run], path: str | Path) -> None:
    """Write the report, whole or not at all.

    Args:
        run: The run.
        beside: Runs whose scores and curves are shown beside its own.
        path: File to write.
    """
    write_whole(path, make_page(run, beside), sync=False)


def make_page(run: Run, beside: Sequence[Run] = ()) -> str:
    """The report as HTML, without anything outside of it: no script, no font, no picture."""
    sections = (
        ('What could be done next', advice_list(advise(run, beside))),
        ('Scores', tables.score_table([run, *beside]) if run.networks else ''),
        ('Curves', curve_charts(run, beside)),
        ('Classes', tables.class_table(run, beside)),
        ('Confusions', tables.confusion_table(run)),
        ('Validation images', pictures.case_list(run)),
        ('Pseudo-labels', pseudo_section(run, beside)),
        ('Data', tables.finding_list(run)),
        ('Configuration', config_section(run)),
    )
    parts = [f'<h1>{escape(run.name)}</h1>{headline(run)}{tables.score_tiles(run, beside)}']
    parts += [f'<h2>{title}</h2>\n{content}' for title, content in sections if content]
    style = ''.join((curves.STYLE, tables.STYLE, pictures.STYLE, _STYLE))
    return document(run.name, parts, style)


def headline(run: Run) -> str:
    """Iteration, lists and time of the page."""
    length = run.data.get('max_iters')
    words = [f'Iteration {run.last_iter}' + (f' of {int(length)}' if length else '')]
    if len(run.networks) > 1:
        words.append(f'the {run.predicting} predicts')
    protocol = run.protocol or {}
    if protocol.get('protocol'):
        words.append(f'split {protocol["protocol"]}')
    for kind, word in (('labeled', 'labelled'), ('unlabeled', 'unlabelled')):
        if protocol.get(kind):
            words.append(f'{protocol[kind]["count"]} {word} images')
    words.append(f'written {datetime.now():%Y-%m-%d %H:%M}')
    note = ''
    if not run.history:
        note = '<p>There is no validation yet, so there are no scores.</p>'
    elif 'matrix' not in run.data:
        note = (
            '<p class="note">This run was trained without ReportHook, or its validation has no classes: classes, confusions '
            'and validation images are not shown.</p>'
        )
    return f'<p class="head">{escape(" · ".join(words))}</p>{note}'


def curve_charts(run: Run, beside: Sequence[Run]) -> str:
    """Validation scores, losses, accuracy and learning rate; runs beside it are dashed."""
    runs = [run, *beside]
    losses = [name for name in run.scalars if 'loss' in name and name != 'loss']
    parts = [
        chart('Validation mIoU', _scores(runs)),
        chart('Sum of the losses', _each(runs, 'loss'), low=0),
        chart(
            'Losses',
            [Series(name, run.scalars[name], i) for i, name in enumerate(losses)],
            low=0,
        ),
        chart(
            'Accuracy on labelled training crops (%)',
            [
                Series(_run_title(one, runs), points, i, i > 0)
                for i, one in enumerate(runs)
                for name, points in one.scalars.items()
                if name.endswith('decode.acc_seg') and not name.startswith('peer.')
            ],
        ),
        chart('Learning rate', _each(runs, 'lr'), low=0),
    ]
    return _grid(parts)


def pseudo_section(run: Run, beside: Sequence[Run]) -> str:
    """Confident share and class shares over time, and pictures; empty for a supervised run."""
    if run.is_supervised:
        return ''
    runs = [run, *(other for other in beside if other.matching('confident'))]
    parts = []
    for ending, title in (
        ('confident', 'Confident share of the pixels'),
        ('agreement', 'Agreement of the student with them'),
        ('accuracy', 'Accuracy of the teacher on labelled crops'),
    ):
        series = [
            Series(_title(one, runs, name), points, i + 2 * j, j > 0)
            for j, one in enumerate(runs)
            for i, (name, points) in enumerate(one.matching(ending).items())
        ]
        parts.append(chart(title, series, low=0))
    shares = tables.share_table(run)
    if not shares:
        shares = '<p class="note">Shares of the classes are not known: they need ClassShareHook and ReportHook.</p>'
    return f'{_grid(parts)}<h3>Class shares</h3>{shares}{pictures.pseudo_sheets(run)}'


def config_section(run: Run) -> str:
    """The resolved config, folded."""
    if not run.config:
        return ''
    return f'<details><summary>The complete config of the run</summary><pre>{escape(run.config)}</pre></details>'


def _scores(runs: Sequence[Run]) -> list[Series]:
    return [
        Series(_title(run, runs, network or 'network'), run.metric(network), i + 2 * j, j > 0)
        for j, run in enumerate(runs)
        for i, network in enumerate(run.networks)
    ]


def _each(runs: Sequence[Run], key: str) -> list[Series]:
    """A value of every run that logs it."""
    return [
        Series(_run_title(run, runs), run.scalars[key], i, i > 0)
        for i, run in enumerate(runs)
        if key in run.scalars
    ]


def _run_title(run: Run, runs: Sequence[Run]) -> str:
    return 'this run' if run is runs[0] else run.name


def _title(run: Run, runs: Sequence[Run], name: str) -> str:
    """Name of a value, after that of its run if this is another one."""
    return name if run is runs[0] else f'{run.name}: {name}'


def _grid(charts: Sequence[str]) -> str:
    shown = ''.join(charts)
    return f'<div class="charts">{shown}</div>' if shown else ''
