"""MkDocs hook: pages that the site makes from files elsewhere, links that leave docs/, and roles of docstrings.

A method's README stands in its folder, CONTRIBUTING.md at the top, and the reference in the docstrings. The site shows them without
a second copy in the repository. Links to other files of the repository, which the site does not have, become their path. A role
such as ``:class:`.SemiDataset` `` becomes the name in it, linked to where the reference has it.
"""

import ast
import functools
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r'\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)')
ROLE = re.compile(
    r'id="(mmseg_semi[\w.]*)"|:(?:meth|class|func|data|mod|attr):<code>(~?)\.?([\w.]+)</code>'
)
"""The place of an object on a page of the reference, or a role in its docstring."""
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


def on_page_content(html, page, config, files):
    """Turn the roles on a page of the reference into links."""
    return link_roles(html) if page.file.src_uri.startswith('reference/') else html


def link_roles(html: str) -> str:
    """Replace ``:role:<code>name</code>`` by the name, with a link that mkdocstrings resolves if the name is known."""
    here = 'mmseg_semi'

    def replace(match: re.Match) -> str:
        nonlocal here
        place, short, name = match.groups()
        if place:
            here = place
            return match[0]
        text = f'<code>{name.rpartition(".")[2] if short else name}</code>'
        target = find_object(name, here)
        return f'<autoref optional identifier="{target}">{text}</autoref>' if target else text

    return ROLE.sub(replace, html)


def find_object(name: str, here: str) -> str | None:
    """Full name of an object of the package: inside of ``here`` or of what holds it, else the only one that ends so."""
    known = objects()
    parts = here.split('.')
    for length in range(len(parts), 0, -1):
        inside = '.'.join([*parts[:length], name])
        if inside in known:
            return inside
    if name in known:
        return name
    ending = [full for full in known if full.endswith(f'.{name}')]
    return ending[0] if len(ending) == 1 else None


@functools.cache
def objects() -> frozenset[str]:
    """Full names of all modules, classes, functions, methods and constants of the package."""
    found = set()
    for path in (ROOT / 'mmseg_semi').rglob('*.py'):
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        found.add(module)
        add_names(ast.parse(path.read_text(encoding='utf-8')).body, module, found)
    return frozenset(found)


def add_names(body: list[ast.stmt], prefix: str, found: set[str]) -> None:
    """Add the names that a module or a class defines."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(f'{prefix}.{node.name}')
            if isinstance(node, ast.ClassDef):
                add_names(node.body, f'{prefix}.{node.name}', found)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            found.update(f'{prefix}.{name}' for name in names)
