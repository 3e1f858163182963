"""Every relative link of a document names an existing file and, behind a ``#``, an existing heading."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('mmseg_semi', 'configs', 'tools', 'projects', 'docs', 'tests', 'findings')
FENCE = re.compile(r'^ *```.*?^ *```', re.MULTILINE | re.DOTALL)
CODE = re.compile(r'`[^`\n]*`')
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ +(.+?) *$', re.MULTILINE)


def documents() -> list[Path]:
    found = list(ROOT.glob('*.md'))
    for folder in FOLDERS:
        found += (ROOT / folder).rglob('*.md')
    return sorted(found)


def relative_links(text: str) -> list[str]:
    links = LINK.findall(CODE.sub('`code`', FENCE.sub('', text)))
    return [link for link in links if not re.match(r'[a-z]+:', link)]


def anchors(text: str) -> set[str]:
    """Fragments of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub('', text)):
        plain = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).lower()
        anchor = re.sub(r'[^\w\- ]', '', plain).replace(' ', '-')
        repeated = sum(
            name == anchor or re.fullmatch(rf'{anchor}-\d+', name) is not None for name in found
        )
        found.add(f'{anchor}-{repeated}' if repeated else anchor)
    return found


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in relative_links(page.read_text(encoding='utf-8')):
        name, _, fragment = link.partition('#')
        target = page.parent / name if name else page
        if not target.exists():
            broken.append(f'{link}: no such file')
        elif fragment and fragment not in anchors(target.read_text(encoding='utf-8')):
            broken.append(f'{link}: no such heading')
    return broken


def test_links_and_headings_are_found():
    text = '# A `key`: its *value*\n[a](b.md#c) `[d](e)` [f](https://g) ![h](i.png)\n```\n# j\n[k](l)\n```\n'
    assert relative_links(text) == ['b.md#c', 'i.png']
    assert anchors(text) == {'a-key-its-value'}
    assert anchors('# Same\n## Same\n') == {'same', 'same-1'}


@pytest.mark.parametrize('page', documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    assert not broken_links(page)
