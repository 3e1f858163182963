"""The report in a real browser: no error, every picture shown, nothing from outside, readable on a phone."""

import pytest
from browser import NAMES, find_browser, open_tab
from report_runs import CLASS, IMAGE

from mmseg_semi.cli.report import main

if find_browser() is None:
    pytest.skip(
        f'no browser on PATH (looked for {", ".join(NAMES)}); apt-get install chromium-headless-shell',
        allow_module_level=True,
    )

WIDTHS = (375, 1200)
SHOWN = (
    '[...document.images].filter(i => i.complete && i.naturalWidth > 0 && i.offsetWidth > 0).length'
)


@pytest.fixture(scope='module')
def tab(tmp_path_factory):
    with open_tab(tmp_path_factory.mktemp('profile')) as tab:
        yield tab


@pytest.fixture(scope='module')
def page(finished, tmp_path_factory):
    """The report of the run, with itself beside it: every section is there."""
    path = tmp_path_factory.mktemp('page') / 'report.html'
    main([str(finished.folder), '--beside', str(finished.folder), '--out', str(path)])
    return path


@pytest.mark.parametrize('width', WIDTHS)
def test_it_is_shown_without_errors(tab, page, width):
    tab.open(page, width)
    assert tab.value('innerWidth') == width
    wrong = ('Runtime.exceptionThrown', 'Runtime.consoleAPICalled', 'Log.entryAdded')
    assert not tab.heard(*wrong, 'Page.javascriptDialogOpening')
    requests = [event['request']['url'] for event in tab.heard('Network.requestWillBeSent')]
    assert requests[0] == page.as_uri()
    assert all(url.startswith('data:') for url in requests[1:])
    count = tab.value('document.images.length')
    assert count == 8  # two images with truth and prediction, two pictures of pseudo-labels
    assert tab.value(SHOWN) == count


@pytest.mark.parametrize('width', WIDTHS)
def test_the_page_does_not_scroll_sideways(tab, page, width):
    tab.open(page, width)
    assert tab.value('document.documentElement.scrollWidth') <= width
    wide = 'e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, pre")'
    outside = tab.value(
        f'[...document.body.querySelectorAll("*")].filter({wide}).map(e => e.outerHTML)'
    )
    assert not outside
    # tables that are wider than the phone scroll in their own box
    scrolling = '[...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth).length'
    assert (tab.value(scrolling) > 0) == (width == 375)
    tab.value('document.querySelector("details").open = true')
    assert tab.value('document.documentElement.scrollWidth') <= width


def test_text_is_large_enough_on_a_phone(tab, page):
    tab.open(page, 375)
    sizes = tab.value(
        '[...document.querySelectorAll("p, li, td, th, .chart text")].map(e => e.getBoundingClientRect().height'
        ' && parseFloat(getComputedStyle(e).fontSize) * (e.ownerSVGElement ? e.ownerSVGElement.clientWidth / 340 : 1))'
    )
    assert len(sizes) > 100 and min(size for size in sizes if size) >= 10


def test_names_are_text(tab, page, finished):
    tab.open(page, 375)
    assert tab.value('document.scripts.length') == 0
    assert tab.value('document.querySelectorAll("[onerror], [onclick]").length') == 0
    text = tab.value('document.body.innerText')
    assert CLASS in text and f'{IMAGE}.png' in text
    assert tab.value('document.querySelector("h1").innerText').endswith(finished.folder.name)
    assert tab.value('document.title').endswith(finished.folder.name)


def test_dark_mode(tab, page):
    colours = []
    for dark in (False, True):
        tab.open(page, 1200, dark=dark)
        colour = 'getComputedStyle(document.body)'
        colours.append([tab.value(f'{colour}.{key}') for key in ('backgroundColor', 'color')])
    light, dark = [[brightness(colour) for colour in pair] for pair in colours]
    assert light[0] - light[1] > 150 and dark[1] - dark[0] > 150


def brightness(colour: str) -> float:
    numbers = colour.partition('(')[2].rstrip(')').split(',')
    return sum(float(number) for number in numbers[:3]) / 3


def test_what_all_pages_share_fits_a_phone(tab, tmp_path):
    from mmseg_semi.runtime.pages import document

    table = f'<div class="scroll"><table><tr>{"<td>long words in a row" * 9}</table></div>'
    path = tmp_path / 'page.html'
    path.write_text(document(CLASS, ['<h1>Title</h1>', table]))
    tab.open(path, 375)
    assert tab.value('document.documentElement.scrollWidth') <= 375
    assert tab.value('document.title') == CLASS
