"""What the project's self-contained HTML pages share: their head, inline pictures and small pieces of markup."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --soft: #59636e; --line: #d5dae0; --page: #fff;
        --box: #f6f8fa; --bar: #5b7fa6; --error: #b3261e; --warning: #8a6100; --good: #1a6e3c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e3e7eb; --soft: #9aa4af; --line: #3a4149; --page: #14171b; --box: #1d2126; --bar: #6f9bd1;
          --error: #c4443b; --warning: #94700f; --good: #3f9d66; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; margin: 2em auto;
       max-width: 1100px; padding: 0 16px; color: var(--text); background: var(--page); }
h1 { font-size: 1.5em; margin: 0 0 .3em; overflow-wrap: anywhere; }
h2 { font-size: 1.15em; margin: 2.2em 0 .8em; padding-bottom: .25em; border-bottom: 1px solid var(--line); }
p { margin: .5em 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; }
td, th { padding: 3px 14px 3px 0; vertical-align: top; }
td.n, th.n { text-align: right; }
.error, .warning { color: #fff; border-radius: 3px; padding: 1px 7px; font-size: .85em; }
.error { background: var(--error); } .warning { background: var(--warning); }
.cases { display: flex; flex-wrap: wrap; gap: 14px; }
figure { margin: 0; max-width: 100%; }
figure img { max-width: 100%; }
figcaption { font-size: .85em; color: var(--soft); overflow-wrap: anywhere; }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: 6px; vertical-align: -1px;
          border-radius: 2px; }
.bar { display: inline-block; height: .75em; background: var(--bar); margin-right: 6px; }
"""
"""Style of every page, in light and dark; a page may add its own."""


def document(title: str, parts: Sequence[str], style: str = '') -> str:
    """A complete page of one file, readable on the width of a phone.

    Args:
        title: Plain text.
        parts: Markup of the body.
        style: CSS beside :data:`STYLE`.

    Example:
        >>> '<title>a &lt;b&gt;</title>' in document('a <b>', ['<p>text</p>'])
        True
    """
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title>\n<style>{STYLE}{style}</style></head><body>'
    )
    return '\n'.join([head, *parts, '</body></html>\n'])


def encode(picture: np.ndarray, kind: str = 'JPEG') -> str:
    """A picture as a ``data:`` address.

    Args:
        picture: (H, W, 3) uint8 RGB.
        kind: 'JPEG' for photographs, 'PNG' for labels, whose colours then stay exact.
    """
    file = io.BytesIO()
    options = dict(quality=80) if kind == 'JPEG' else {}
    Image.fromarray(np.ascontiguousarray(picture)).save(file, kind, **options)
    return f'data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}'


def image(address: str, alt: str = '') -> str:
    """An image of a page.

    Args:
        address: From :func:`encode`.
        alt: What it shows, plain text.

    Example:
        >>> image('data:image/png;base64,AA==', 'a "b"')
        '<img alt="a &quot;b&quot;" src="data:image/png;base64,AA==">'
    """
    return f'<img alt="{escape(alt)}" src="{escape(address)}">'


def swatch(colour: Sequence[int]) -> str:
    """A small square of a colour of 3 numbers in 0..255.

    Example:
        >>> swatch((1, 2, 3))
        '<span class="swatch" style="background:rgb(1,2,3)"></span>'
    """
    red, green, blue = (int(value) for value in colour)
    return f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'


def share_words(share: float) -> str:
    """A share as a percentage, in which a small share differs from none.

    Example:
        >>> share_words(0), share_words(0.00001), share_words(0.5)
        ('0', '< 0.01 %', '50.00 %')
    """
    return '0' if share == 0 else '< 0.01 %' if share < 1e-4 else f'{100 * share:.2f} %'
