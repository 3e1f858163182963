"""MkDocs hook: pages that the site makes from files elsewhere, and links that leave docs/.

A method's README stands in its folder, CONTRIBUTING.md at the top, and the reference in the docstrings. The site shows them without
a second copy in the repository. Links to other files of the repository, which the site does not have, become their path.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r'\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)')
FENCE = re.compile(r'(^ *```.*?^ *```)', re.MULTILINE | re.DOTALL)

COPIES = {
    f'mmseg_semi/methods/{path.parent.name}/README.md': f'methods/{path.parent.name}.md'
    for path in sorted((ROOT / 'mmseg_semi/methods').glob('*/README.md'))
}
COPIES['CONTRIBUTING.md'] = 'contributing.md'
COPIES['README.md'] = 'index.md'
"""File of the repository -> page of the site."""

ROOMS = ('data', 'heads', 'backbones', 'step', 'methods', 'runtime', 'preparing')


def on_files(files, config):
    """Add the pages that stand elsewhere."""
    for source, page in COPIES.items():
        if page != 'index.md':
            files.append(
                File.generated(config, page, content=(ROOT / source).read_text(encoding='utf-8'))
            )
    names = []
    for room in ROOMS:
        modules = sorted(public_modules(room))
        text = f'# mmseg_semi.{room}\n\n' + '\n'.join(f'::: {module}\n' for module in modules)
        files.append(File.generated(config, f'reference/{room}.md', content=text))
        names.append(f'- [`mmseg_semi.{room}`]({room}.md): {len(modules)} modules')
    index = (
        '# Reference\n\nGenerated from the docstrings, by room ([Design](../design.md)).\n\n'
        + '\n'.join(names)
    )
    files.append(File.generated(config, 'reference/index.md', content=index + '\n'))
    return files


def public_modules(room: str) -> list[str]:
    """Modules of a room that have public functions or classes, without benchmarks."""
    found = []
    for path in (ROOT / 'mmseg_semi' / room).rglob('*.py'):
        parts = path.relative_to(ROOT).with_suffix('').parts
        if path.name == '__init__.py' or 'benchmarks' in parts or path.name.startswith('_'):
            continue
        if re.search(r'^(?:class|def) [A-Za-z]', path.read_text(encoding='utf-8'), re.MULTILINE):
            found.append('.'.join(parts))
    return found


def on_page_markdown(markdown, page, config, files):
    """Point links of a page to pages of the site; links to other files become their path."""
    source = next((name for name, target in COPIES.items() if target == page.file.src_uri), None)
    here = posixpath.dirname(source) if source else posixpath.dirname('docs/' + page.file.src_uri)
    if page.file.src_uri.startswith('reference/'):
        return markdown
    pieces = FENCE.split(markdown)
    return ''.join(
        piece
        if piece.lstrip().startswith('```')
        else LINK.sub(lambda match: link(match, page, here), piece)
        for piece in pieces
    )


def link(match: re.Match, page, here: str) -> str:
    """One link, rewritten."""
    text, address = match.groups()
    if re.match(r'[a-z]+:', address) or address.startswith('#'):
        return match[0]
    name, mark, fragment = address.partition('#')
    target = posixpath.normpath(posixpath.join(here, name))
    if target in COPIES:
        inside = COPIES[target]
    elif target.startswith('docs/') and not target.endswith('.py'):
        inside = target.removeprefix('docs/')
    else:  # a file that the site does not show
        return text if target in text or '`' in text else f'{text} (`{target}`)'
    relative = posixpath.relpath(inside, posixpath.dirname(page.file.src_uri) or '.')
    return f'[{text}]({relative}{mark}{fragment})'
