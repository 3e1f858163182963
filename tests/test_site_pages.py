"""The documentation site links the roles of docstrings."""

import importlib.util
import re

import pytest
from miniatures import ROOT

pytest.importorskip('mkdocs')


@pytest.fixture(scope='module')
def pages():
    spec = importlib.util.spec_from_file_location('site_pages', ROOT / 'docs/site_pages.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('role', 'text', 'target'),
    [
        # inside of the class in whose docstring it stands, in its module, and anywhere
        (':meth:<code>bind</code>', 'bind', 'mmseg_semi.step.mixing.CutMix.bind'),
        (':class:<code>Mixing</code>', 'Mixing', 'mmseg_semi.step.mixing.Mixing'),
        (
            ':class:<code>.SemiDataset</code>',
            'SemiDataset',
            'mmseg_semi.data.semi_dataset.SemiDataset',
        ),
        (
            ':class:<code>~mmseg_semi.step.views.PseudoLabels</code>',
            'PseudoLabels',
            'mmseg_semi.step.views.PseudoLabels',
        ),
        (
            ':mod:<code>mmseg_semi.step.views</code>',
            'mmseg_semi.step.views',
            'mmseg_semi.step.views',
        ),
        # of other packages
        (':class:<code>torch.Tensor</code>', 'torch.Tensor', None),
    ],
)
def test_a_role(pages, role, text, target, monkeypatch):
    known = pages.objects() | {'mmseg_semi.step.mixing.CutMix.bind'}
    monkeypatch.setattr(pages, 'objects', lambda: known)
    head = '<h3 id="mmseg_semi.step.mixing.CutMix">CutMix</h3>'
    html = pages.link_roles(f'{head}<p>{role}</p>')
    shown = f'<code>{text}</code>'
    if target:
        shown = f'<autoref optional identifier="{target}">{shown}</autoref>'
    assert html == f'{head}<p>{shown}</p>'


def test_every_role_of_the_package_is_known_or_of_another_package(pages):
    # attributes that a constructor sets stand in no list
    role = re.compile(r':(?:meth|class|func|data|mod):`~?\.?([\w.]+)`')
    others = ('mmcv.', 'mmengine.', 'mmpretrain.', 'mmseg.', 'torch.')
    endings = set()
    for full in pages.objects():
        parts = full.split('.')
        endings.update('.'.join(parts[start:]) for start in range(len(parts)))
    unknown = [
        f'{path.relative_to(ROOT)}: {name}'
        for path in sorted((ROOT / 'mmseg_semi').rglob('*.py'))
        for name in role.findall(path.read_text(encoding='utf-8'))
        if name not in endings and not name.startswith(others)
    ]
    assert not unknown, '\n'.join(unknown)
