"""The pictures of a report: best and worst validation images, and pseudo-labels."""

from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from mmseg_semi.runtime.pages import encode, image, swatch
from mmseg_semi.runtime.pictures import shrink
from mmseg_semi.runtime.report.collect import Run

_SHEET = 1100
"""Largest side of a picture of pseudo-labels, in pixels."""

STYLE = """
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: .85em; margin: 10px 0; }
.case { margin: 0 0 16px; max-width: 760px; }
.trio { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px; }
.trio img { width: 100%; display: block; }
.sheet { margin: 0 0 14px; } .sheet img { display: block; }
h3 { font-size: 1em; margin: 1.4em 0 .5em; }
"""


def legend(run: Run) -> str:
    """Names of the classes beside their colours."""
    pairs = zip(run.data['classes'], run.data['palette'], strict=True)
    items = ''.join(f'<span>{swatch(colour)}{escape(name)}</span>' for name, colour in pairs)
    return f'<div class="legend">{items}</div>'


def case_list(run: Run) -> str:
    """Best and worst validation images with truth and prediction; empty if none were drawn."""
    best, worst = run.data.get('best'), run.data.get('worst')
    if not best:
        return ''
    parts = [legend(run)]
    for title, cases in (('Lowest mean IoU', worst), ('Highest mean IoU', best)):
        if cases:
            parts.append(f'<h3>{title}</h3>{_cases(cases)}')
    parts.append(
        '<p class="note">Image, truth (ignored pixels are striped), prediction. The mean IoU of an image is over the classes '
        'in its truth or prediction.</p>'
    )
    return ''.join(parts)


def _cases(cases: Sequence[dict]) -> str:
    figures = []
    for case in cases:
        kinds = ('image', 'truth', 'prediction')
        shown = ''.join(image(case[kind], f'{kind} of {case["name"]}') for kind in kinds)
        figures.append(
            f'<figure class="case"><div class="trio">{shown}</div>'
            f'<figcaption>{100 * case["score"]:.1f} · {escape(case["name"])}</figcaption></figure>'
        )
    return ''.join(figures)


def pseudo_sheets(run: Run) -> str:
    """The oldest and the newest picture of ``PseudoLabelHook``; how to get them where there are none."""
    steps = sorted(run.pseudo_pictures)
    if not steps:
        return (
            '<p class="note">Pictures of pseudo-labels are off; <code>default_hooks.pictures=dict(type=\'PseudoLabelHook\')'
            '</code> in a config draws some.</p>'
        )
    figures = ['<h3>Pictures of pseudo-labels</h3>']
    for step in dict.fromkeys([steps[0], steps[-1]]):
        with Image.open(run.pseudo_pictures[step]) as file:
            picture = shrink(np.asarray(file.convert('RGB')), _SHEET)
        figures.append(
            f'<figure class="sheet">{image(encode(picture), f"pseudo-labels of iteration {step}")}'
            f'<figcaption>iteration {step}: weak view, strong mixed view, pseudo-labels of both, confidence</figcaption>'
            '</figure>'
        )
    return ''.join(figures)
