"""The one step of a build that pyproject.toml has no words for: configs and tools travel with the package.

A checkout holds them at its top level. A wheel holds them in ``mmseg_semi/.mim/``, where MMEngine and mim look for those
of any package of OpenMMLab, together with the index that names all configs. An editable installation needs no copy,
see ``mmseg_semi/packaged.py``.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
LEFT_OUT = shutil.ignore_patterns('__pycache__', '*.py[co]', 'model_zoo.py')
"""What does not travel; the table of the model zoo is a page of the checkout."""


class BuildWithConfigs(build_py):
    """``build_py`` that lays out ``.mim``."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            lay_out(self._folder())

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        own = [] if self.editable_mode else sorted(self._folder().rglob('*'))
        return super().get_outputs(include_bytecode) + [str(path) for path in own if path.is_file()]

    def _folder(self) -> Path:
        return Path(self.build_lib, 'mmseg_semi', '.mim')


def lay_out(folder: Path) -> None:
    """Write configs, tools and the index of the configs.

    Args:
        folder: The folder ``.mim``; what a former build left there goes.
    """
    if folder.exists():
        shutil.rmtree(folder)
    for name in ('configs', 'tools'):
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
    metafiles = []
    for method in sorted(path for path in (folder / 'configs').iterdir() if path.is_dir()):
        # these hold parts, lists of images, and lists of configs
        if method.name in ('_base_', 'splits', 'studies'):
            continue
        configs = [path.relative_to(folder).as_posix() for path in sorted(method.rglob('*.py'))]
        metafile = method / 'metafile.yml'
        metafile.write_text(describe(method.name, configs), encoding='utf-8')
        metafiles.append(metafile.relative_to(folder).as_posix())
    lines = ''.join(f'  - {path}\n' for path in metafiles)
    (folder / 'model-index.yml').write_text(f'Import:\n{lines}', encoding='utf-8')


def describe(method: str, configs: list[str]) -> str:
    """The metafile of a method: a collection, and a model for each config."""
    lines = ['Collections:', f'  - Name: {method}', 'Models:']
    for config in configs:
        name = config.removeprefix('configs/').removesuffix('.py').replace('/', '_')
        lines += [f'  - Name: {name}', f'    In Collection: {method}', f'    Config: {config}']
    return '\n'.join(lines) + '\n'


setup(cmdclass={'build_py': BuildWithConfigs})
