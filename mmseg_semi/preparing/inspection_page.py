"""Write the report of an inspection as one HTML file with its pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import mmengine.fileio as fileio
import numpy as np
from PIL import Image

from mmseg_semi.data.bands import picture_of
from mmseg_semi.data.transforms import LoadSegLabels
from mmseg_semi.files import write_whole
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.inspection import Finding, Report, Source, Survey
from mmseg_semi.runtime.pages import document, encode, image, share_words, swatch
from mmseg_semi.runtime.pictures import default_palette, overlay_labels, paint_labels, shrink

_SIDE = 240
_CASES, _SAMPLES = 12, 6
_WRONG = (255, 0, 255)
_WITH_MASK = ('labels', 'size', 'void', 'turned')  # findings that are shown with their masks

_STYLE = """
td, th { padding-top: 2px; padding-bottom: 2px; }
.cases figure { max-width: 496px; } figure img { margin-right: 4px; }
"""


def write_page(report: Report, path: Path, title: str) -> None:
    """Write the report, with sample images and the images of the findings.

    Args:
        report: From :func:`mmseg_semi.preparing.inspection.inspect`.
        path: File to write.
        title: Name of the inspected data, e.g. of the config.
    """
    sources = [survey.source for survey in report.surveys]
    parts = [
        f'<h1>Data of {escape(title)}</h1>',
        f'<p>{_verdict(report)}</p><h2>Sources</h2>{_source_table(report.surveys)}',
    ]
    parts += [_finding(finding, sources) for finding in report.findings]
    labelled = [survey for survey in report.surveys if survey.masks]
    if labelled:
        parts.append(f'<h2>Classes</h2>{_class_table(labelled)}')
    parts += [_samples(source) for source in sources]
    write_whole(path, document(title, parts, _STYLE), sync=False)


def _verdict(report: Report) -> str:
    errors, warnings = report.count('error'), report.count('warning')
    sentences = []
    if errors:
        sentences.append(
            f'<span class="error">error</span> {errors}: training stops at these files, or the score '
            'is wrong.'
        )
    if warnings:
        sentences.append(
            f'<span class="warning">warning</span> {warnings}: training runs with these files; check '
            'whether you want that.'
        )
    return ' '.join(sentences) or 'No errors and no warnings.'


def _source_table(surveys: Sequence[Survey]) -> str:
    rows = [
        '<tr><th>source<th>images<th>masks<th>ignored pixels<th>sizes (width x height)<th>protocol'
    ]
    for survey in surveys:
        masks = survey.masks if survey.source.load_labels else 'not opened'
        void = f'{survey.void:.1%}' if survey.masks else ''
        rows.append(
            f'<tr><td>{escape(survey.source.name)}<td class="n">{survey.source.size}'
            f'<td class="n">{masks}<td class="n">{void}<td>{escape(size_words(survey))}'
            f'<td>{escape(survey.source.note)}'
        )
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def size_words(survey: Survey) -> str:
    """Sizes of the images of a source, in words."""
    row = survey.size_row()
    if not row:
        return ''
    common = '{} x {}'.format(*row['most_frequent'])
    if row['different'] == 1:
        return common
    width, height = (
        '{} to {} (median {})'.format(*row[k][::2], row[k][1]) for k in ('width', 'height')
    )
    return f'{width} x {height}; {row["different"]} different, most often {common} ({row["of"]})'


def _class_table(surveys: Sequence[Survey]) -> str:
    names = [survey.source.name for survey in surveys]
    head = ''.join(f'<th>{escape(n)}: pixels<th>{escape(n)}: masks' for n in names)
    tables = [{row['label']: row for row in survey.class_rows()} for survey in surveys]
    widest = max((row['share'] for rows in tables for row in rows.values()), default=0) or 1
    palette = _palette(surveys[0].source)
    lines = [f'<tr><th>label<th>class{head}']
    for label in sorted(set().union(*tables)):
        name = next(rows[label]['name'] for rows in tables if label in rows)
        line = f'<tr><td class="n">{label}<td>{swatch(palette[label])}{escape(name)}'
        for rows in tables:
            row = rows.get(label, dict(share=0, masks=0))
            line += (
                f'<td><span class="bar" style="width:{150 * row["share"] / widest:.0f}px"></span>'
                f'{share_words(row["share"])}<td class="n">{row["masks"]}'
            )
        lines.append(line)
    note = 'Shares of the labelled pixels; ignored pixels (255) do not count.'
    return f'<div class="scroll"><table>{"".join(lines)}</table></div><p>{note}</p>'


def _finding(finding: Finding, sources: Sequence[Source]) -> str:
    shown = finding.cases[:_CASES]
    figures = []
    for case in shown:
        pictures = ''
        for s, index in case.places:
            pictures += _pictures(
                sources[s], index, 'apart' if finding.kind in _WITH_MASK else 'plain'
            )
        files = '<br>'.join(map(escape, case.files))
        words = escape(case.text)
        figures.append(f'<figure>{pictures}<figcaption>{files}<br>{words}</figcaption></figure>')
    more = ''
    if finding.count > len(shown):
        more = f'<p>{finding.count - len(shown)} more are listed in report.json.'
    return (
        f'<h2><span class="{finding.level}">{finding.level}</span> {escape(finding.source)}: '
        f'{escape(finding.what)}: {finding.count}</h2>'
        f'<div class="cases">{"".join(figures)}</div>{more}'
    )


def _samples(source: Source) -> str:
    step = max(1, source.size // _SAMPLES)
    figures = []
    for index in range(0, source.size, step)[:_SAMPLES]:
        name = escape(source.entry(index)['img_path'])
        figures.append(
            f'<figure>{_pictures(source, index)}<figcaption>{name}</figcaption></figure>'
        )
    return f'<h2>Samples: {escape(source.name)}</h2><div class="cases">{"".join(figures)}</div>'


def _pictures(source: Source, index: int, how: str = 'over') -> str:
    """HTML of an image: with its mask over it, 'apart' with its mask beside it, or 'plain' alone.

    Empty if the image is unreadable.
    """
    info = {**source.entry(index), 'seg_fields': []}
    try:
        img = picture_of(source.load_image(dict(info)))[..., ::-1]
    except Exception:  # a finding of the report
        return ''
    plain = _embed(shrink(img, _SIDE))
    if how == 'plain' or source.load_labels is None:
        return plain
    palette = _palette(source)
    try:
        labels = source.load_labels(dict(info))['gt_seg_map']
    except Exception:  # a finding of the report
        return plain + _raw_mask(source, info['seg_map_path'], palette)
    if how == 'apart' or labels.shape != img.shape[:2]:
        return plain + _embed(shrink(paint_labels(labels, palette), _SIDE, smooth=False))
    return _embed(shrink(overlay_labels(img, labels, palette), _SIDE))


def _raw_mask(source: Source, path: str, palette: Sequence) -> str:
    """HTML of a mask that the loader refused: indices in colours, any other image unchanged."""
    try:
        mask = Image.open(io.BytesIO(fileio.get(path, backend_args=source.backend_args)))
        if mask.mode in ('1', 'L', 'P', 'I', 'I;16') and isinstance(
            source.load_labels, LoadSegLabels
        ):
            picture = paint_labels(np.clip(np.asarray(mask), 0, IGNORE), palette)
        else:
            picture = np.asarray(mask.convert('RGB'))
    except Exception:  # it cannot be shown either
        return ''
    return _embed(shrink(picture, _SIDE, smooth=False))


def _palette(source: Source) -> list[tuple[int, int, int]]:
    """Colours of all labels: those of the classes, then a striking one for all other values."""
    count = len(source.classes)
    colours = list(source.palette or default_palette(count or IGNORE))[: count or IGNORE]
    return [tuple(c) for c in colours] + [_WRONG] * (IGNORE - len(colours))


def _embed(picture: np.ndarray) -> str:
    return image(encode(picture))
