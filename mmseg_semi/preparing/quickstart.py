"""Generate the quickstart data: scenes of which a few have labels and many have none."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
from rich.progress import track

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.quickstart_scenes import OPTIONAL, draw_scene

VERSION = 1
"""Version of the drawing code; raised when the same seed gives other images."""

MANIFEST = 'manifest.json'
_TRAIN, _VAL = 0, 1  # first part of a scene's seed, so that no scene is in both


def generate(
    root: str | Path = 'data/quickstart',
    seed: int = 0,
    num_labeled: int = 8,
    num_unlabeled: int = 240,
    num_val: int = 60,
    size: tuple[int, int] = (112, 112),
    progress: bool = True,
) -> bool:
    """Draw the quickstart data, unless it exists already.

    Writes ``images/{train,val}/NAME.png``, ``labels/{train,val}/NAME.png`` (one channel of class
    indices; no file for an unlabelled image), ``labeled.txt``, ``unlabeled.txt`` and
    ``manifest.json``, which holds the arguments and a SHA-256 over all other files. A scene depends
    only on the seed, its split and its number, so other counts keep the scenes they share; another
    version of numpy or OpenCV may round a pixel differently. The folder gets its name when it is
    complete.

    Args:
        root: Folder of the data. Data of other arguments, or damaged data, is replaced.
        seed: Non-negative seed of all scenes.
        num_labeled: Number of training scenes with a label; four or more show every class.
        num_unlabeled: Number of training scenes without a label.
        num_val: Number of validation scenes.
        size: (height, width) in pixels, each at least 48.
        progress: Whether to show a progress bar.

    Returns:
        bool: Whether data was written.

    Raises:
        SetupError: If a number is out of range, or ``root`` holds other files.
    """
    root = Path(root)
    wanted = dict(
        version=VERSION,
        seed=seed,
        num_labeled=num_labeled,
        num_unlabeled=num_unlabeled,
        num_val=num_val,
        size=list(size),
    )
    if seed < 0 or min(num_labeled, num_unlabeled, num_val) < 1 or min(size) < 48:
        raise SetupError(
            f'quickstart data: {wanted}; expected seed >= 0, counts >= 1 and a size of at least '
            '48 x 48 pixels'
        )
    if _holds(root, wanted):
        return False
    _refuse_other_files(root)

    root.parent.mkdir(parents=True, exist_ok=True)
    # In the parent folder, so that the new folder can be renamed.
    scratch = Path(tempfile.mkdtemp(prefix=f'.{root.name}-', dir=root.parent))
    try:
        made = scratch / 'new'
        _draw_all(made, wanted, progress)
        manifest = {**wanted, 'sha256': _digest(made)}
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n', encoding='utf-8')
        if root.exists():
            root.rename(scratch / 'old')
        made.rename(root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True


def _refuse_other_files(root: Path) -> None:
    """Raise an error if ``root`` is a file, or a folder with files but without our manifest."""
    if not root.exists() or (root / MANIFEST).is_file():
        return
    if root.is_file() or any(root.iterdir()):
        raise SetupError(
            f'{root} exists and is no quickstart data (it has no {MANIFEST}); remove it or name '
            'another folder'
        )


def _draw_all(root: Path, wanted: dict, progress: bool) -> None:
    """Draw the scenes and write their files and lists."""
    num_train = wanted['num_labeled'] + wanted['num_unlabeled']
    scenes = [('train', _TRAIN, i) for i in range(num_train)]
    scenes += [('val', _VAL, i) for i in range(wanted['num_val'])]
    for kind in ('images', 'labels'):
        for split in ('train', 'val'):
            (root / kind / split).mkdir(parents=True)
    for split, code, i in track(scenes, 'drawing scenes', disable=not progress):
        image, label = draw_scene(
            (wanted['seed'], code, i), tuple(wanted['size']), OPTIONAL[i % len(OPTIONAL)]
        )
        name = f'{_name(i)}.png'
        _write_png(root / 'images' / split / name, image[..., ::-1])
        if split == 'val' or i < wanted['num_labeled']:
            _write_png(root / 'labels' / split / name, label)
    names = [_name(i) for i in range(num_train)]
    for list_name, part in (
        ('labeled.txt', names[: wanted['num_labeled']]),
        ('unlabeled.txt', names[wanted['num_labeled'] :]),
    ):
        (root / list_name).write_text('\n'.join(part) + '\n', encoding='utf-8', newline='\n')


def _name(index: int) -> str:
    return f'scene_{index:05d}'


def _write_png(path: Path, pixels) -> None:
    # not imwrite, which returns False if the disk is full and cannot write to every path on Windows
    _, data = cv2.imencode('.png', pixels)
    path.write_bytes(data.tobytes())


def _holds(root: Path, wanted: dict) -> bool:
    """Whether the folder holds the unchanged data of these arguments."""
    try:
        found = json.loads((root / MANIFEST).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found == {**wanted, 'sha256': _digest(root)}


def _files(root: Path) -> Iterator[Path]:
    """The files of :func:`generate` except the manifest; other files in the folder do not count."""
    yield from (root / 'labeled.txt', root / 'unlabeled.txt')
    for folder in ('images/train', 'images/val', 'labels/train', 'labels/val'):
        yield from sorted((root / folder).glob('scene_*.png'))


def _digest(root: Path) -> str:
    """SHA-256 over names and contents of all files."""
    digest = hashlib.sha256()
    for path in _files(root):
        if path.is_file():
            digest.update(path.relative_to(root).as_posix().encode() + b'\0')
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
