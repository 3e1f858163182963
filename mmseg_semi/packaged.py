"""What comes with the package beside its modules: configs, committed lists of images, tools.

A wheel holds them in ``mmseg_semi/.mim/``, as the packages of OpenMMLab do (``setup.py`` puts them there). A checkout
has them at its top level, and an editable installation reads those of its checkout.
"""

import difflib
import os
from pathlib import Path

from mmseg_semi.errors import SetupError

PACKAGE = Path(__file__).resolve().parent

ROOT = PACKAGE / '.mim' if (PACKAGE / '.mim').is_dir() else PACKAGE.parent
"""The folder that holds configs/ and tools/."""

CONFIGS = ROOT / 'configs'

PREFIX = 'mmseg_semi::'
"""What the name of a config of the package begins with, such as ``mmseg_semi::ddfp/voc_732.py``."""


def find_config(config: str | Path) -> Path:
    """Path of a config that is given as a path, or by its name in this package.

    Args:
        config: A path, which is returned as it is; or ``mmseg_semi::`` and the path below ``configs/``, with or without
            ``.py``.

    Raises:
        SetupError: If the package has no config of this name.

    Example:
        >>> find_config('mmseg_semi::ddfp/voc_732').relative_to(CONFIGS).as_posix()
        'ddfp/voc_732.py'
        >>> find_config('mine.py').name
        'mine.py'
    """
    text = os.fspath(config)
    if not text.startswith(PREFIX):
        return Path(config)
    name = text.removeprefix(PREFIX).removesuffix('.py')
    path = CONFIGS / f'{name}.py'
    if path.is_file():
        return path
    raise SetupError(f"config '{text}' does not exist; {_similar(name)}")


def _similar(name: str) -> str:
    """A hint for a name that no config has: up to three names like it, else the folders there are."""
    below = [path.relative_to(CONFIGS) for path in sorted(CONFIGS.rglob('*.py'))]
    names = [path.with_suffix('').as_posix() for path in below]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
    # the right name in another folder, such as voc_732 alone
    near = near or [one for one in names if one.rpartition('/')[2] == name.rpartition('/')[2]][:3]
    if near:
        return f'did you mean {" or ".join(f"{PREFIX}{one}.py" for one in near)}?'
    folders = sorted({path.parts[0] for path in below if not path.parts[0].startswith('_')})
    return f'the package has configs in the folders {", ".join(folders)}'
