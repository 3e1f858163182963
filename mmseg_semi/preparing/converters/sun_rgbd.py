"""Arrange SUN RGB-D, 37 classes, in data/sunrgbd/{images,labels}/{train,val}.

The 5,050 official test images become val, the other 5,285 images are train. Reads one of two forms,
as archives or as the folders that they unpack to:

- the images and masks of https://github.com/ankurhanda/sunrgbd-meta-data: SUNRGBD-train_images.tgz,
  SUNRGBD-test_images.tgz and sunrgbd_train_test_labels.tar.gz (img-000001.png to img-010335.png);
- the official SUNRGBD.zip and SUNRGBDtoolbox.zip, whose masks lie in Metadata/SUNRGBD2Dseg.mat
  (needs the package h5py).

Copies the images unchanged, and writes labels/SPLIT/NAME.png with the classes 0 to 36 and 255 for
ignored pixels, which are 0 in the source. The depth images are not used.

Examples:
    mmseg-semi convert-sun-rgbd SUNRGBD-*_images.tgz sunrgbd_train_test_labels.tar.gz
    mmseg-semi convert-sun-rgbd ~/SUNRGBD ~/SUNRGBDtoolbox
"""

import argparse
import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat

from mmseg_semi.data.sun_rgbd import SUNRGBDDataset
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing import conversion
from mmseg_semi.preparing.archives import Archive, where_to_get
from mmseg_semi.preparing.conversion import Plan
from mmseg_semi.preparing.image_files import check_classes, decode, place, write_labels
from mmseg_semi.preparing.jobs import Job
from mmseg_semi.runtime.commands import tool

_META = 'https://github.com/ankurhanda/sunrgbd-meta-data'
_OFFICIAL = 'https://rgbd.cs.princeton.edu/'
ARCHIVES = (
    Archive('SUNRGBD-train_images.tgz', _META),
    Archive('SUNRGBD-test_images.tgz', _META),
    Archive('sunrgbd_train_test_labels.tar.gz', _META),
    Archive('SUNRGBD.zip', _OFFICIAL),
    Archive('SUNRGBDtoolbox.zip', _OFFICIAL),
)
COUNTS = dict(train=5285, val=5050)
NUM_CLASSES = len(SUNRGBDDataset.METAINFO['classes'])
FIRST_TRAIN = 5051
"""Number of the first training image of img-000001 to img-010335; the test images come before."""

_NUMBERED = {
    'image': re.compile(r'(?:.*/)?img-(?P<number>\d{6})\.jpg'),
    'label': re.compile(r'(?:.*/)?img-(?P<number>\d{6})\.png'),
}
_TABLES = ('Metadata/SUNRGBDMeta.mat', 'Metadata/SUNRGBD2Dseg.mat', 'traintestSUNRGBD/allsplit.mat')
# a scene's folder below SUNRGBD, e.g. kv1/NYUdata/NYU0034
_SCENE = re.compile(r'(?:.*/)?(?P<scene>(?:kv1|kv2|realsense|xtion)/.+)/image/(?P<name>[^/]+\.jpg)')


class Frame(NamedTuple):
    """One image of the data set.

    Args:
        split: 'train' or 'val'.
        name: Name of its files in the result, without suffix.
        image: File of the image.
        labels: File of its labels.
        make_mask: Called as ``make_mask(labels, target)``.
    """

    split: str
    name: str
    image: Path
    labels: Path
    make_mask: Callable[[Path, Path], None]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    conversion.add_arguments(parser, 'data/sunrgbd', ARCHIVES)
    parser.add_argument(
        '--partial', action='store_true', help='accept a copy that lacks some of the images'
    )
    return parser.parse_args(argv)


def wanted(path: str) -> bool:
    """Whether a file belongs to one of the two forms of the data set."""
    patterns = (*_NUMBERED.values(), _SCENE)
    return path.endswith(_TABLES) or any(pattern.fullmatch(path) for pattern in patterns)


def plan(files: dict[str, Path], out: Path, partial: bool = False) -> Plan:
    """Plan the files to make from those that were found.

    Args:
        files: Path on disk by path in the source.
        out: Folder of the result.
        partial: Whether a copy with fewer images than published is accepted.

    Raises:
        SetupError: If files of the data set are missing.
    """
    tables = {
        table: file for table in _TABLES for path, file in files.items() if path.endswith(table)
    }
    is_official = bool(tables) or any(_SCENE.fullmatch(path) for path in files)
    frames = _official(files, tables) if is_official else _numbered(files)
    counts = {split: sum(frame.split == split for frame in frames) for split in COUNTS}
    if counts != COUNTS and not partial:
        raise SetupError(
            f'the sources hold {counts["train"]} images of train and {counts["val"]} of test, '
            f'expected {COUNTS["train"]} and {COUNTS["val"]}; the copy is incomplete, get '
            f'{_where(is_official)}, or accept it with --partial'
        )
    jobs = []
    for frame in frames:
        image = out / 'images' / frame.split / f'{frame.name}.jpg'
        mask = out / 'labels' / frame.split / f'{frame.name}.png'
        jobs += [Job(place, frame.image, image), Job(frame.make_mask, frame.labels, mask)]
    return Plan(jobs, ', '.join(f'{count} {split}' for split, count in counts.items()))


def _where(is_official: bool) -> str:
    return where_to_get(ARCHIVES[3:] if is_official else ARCHIVES[:3])


def _numbered(files: dict[str, Path]) -> list[Frame]:
    """Frames of the numbered form, from img-NUMBER.jpg and img-NUMBER.png."""
    found: dict[str, dict[int, Path]] = dict(image={}, label={})
    for path, file in files.items():
        for kind, pattern in _NUMBERED.items():
            match = pattern.fullmatch(path)
            if match:
                found[kind].setdefault(int(match['number']), file)
    if not found['image'] or not found['label']:
        missing = ' and '.join(
            f'{kind}s img-NUMBER.{"jpg" if kind == "image" else "png"}'
            for kind, numbers in found.items()
            if not numbers
        )
        raise SetupError(
            f'the sources hold no {missing}; name also {_where(False)}; or the official '
            f'{where_to_get(ARCHIVES[3:])}'
        )
    unpaired = sorted(set(found['image']) ^ set(found['label']))
    if unpaired:
        raise SetupError(
            f'{len(unpaired)} of {len(found["label"])} frames lack their image or their mask, e.g. '
            f'img-{unpaired[0]:06d}; the copy is incomplete, get {_where(False)}'
        )
    return [
        Frame(
            'val' if number < FIRST_TRAIN else 'train',
            f'img-{number:06d}',
            found['image'][number],
            found['label'][number],
            write_label,
        )
        for number in sorted(found['label'])
    ]


def _official(files: dict[str, Path], tables: dict[str, Path]) -> list[Frame]:
    """Frames of the official form, named after their folders, e.g. kv1_NYUdata_NYU0034."""
    missing_tables = [table for table in _TABLES if table not in tables]
    if missing_tables:
        raise SetupError(
            f'the sources hold no {", ".join(missing_tables)}; name also '
            f'{where_to_get(ARCHIVES[4:])}'
        )
    images = {}
    for path, file in files.items():
        match = _SCENE.fullmatch(path)
        if match:
            images[match['scene'], match['name']] = file
    _h5py()
    info, masks, split_table = (tables[table] for table in _TABLES)
    meta = np.atleast_1d(_load(info, 'SUNRGBDMeta'))
    train = {_scene(str(folder)) for folder in np.atleast_1d(_load(split_table, 'alltrain'))}
    frames, missing = [], []
    for index, entry in enumerate(meta):
        scene = _scene(str(entry.rgbpath).rpartition('/image/')[0])
        image = images.get((scene, str(entry.rgbname)))
        if image is None:
            missing.append(scene)
            continue
        split = 'train' if scene in train else 'val'
        make_mask = partial(write_table_label, index=index)
        frames.append(Frame(split, scene.replace('/', '_'), image, masks, make_mask))
    if missing:
        raise SetupError(
            f'{len(missing)} of {len(meta)} frames lack their image, e.g. {missing[0]}; name also '
            f'{where_to_get(ARCHIVES[3:4])}'
        )
    return frames


def _scene(folder: str) -> str:
    """Folder of a frame below SUNRGBD; the tables hold its path on the authors' disk."""
    return folder.replace('//', '/').rpartition('SUNRGBD/')[2].strip('/')


def _load(path: Path, name: str):
    try:
        return loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=[name])[name]
    except Exception as error:  # a damaged file raises many kinds
        reason = ' '.join(str(error).split())
        raise SetupError(
            f'{path} holds no {name} that can be read ({reason}); get it again'
        ) from error


def _h5py():
    try:
        import h5py
    except ImportError as error:
        raise SetupError(
            'the masks of the official SUN RGB-D lie in a MATLAB 7.3 file, which needs the package '
            'h5py: pip install h5py'
        ) from error
    return h5py


def to_classes(labels: np.ndarray, name: str | Path) -> np.ndarray:
    """Map labels 0 to 37 to class indices 0 to 36, and label 0 to 255.

    Args:
        labels: (H, W) integers.
        name: Name of the file, for the error.

    Raises:
        SetupError: If there is another label.

    Example:
        >>> to_classes(np.array([[0, 1, 37]]), 'mask.png').tolist()
        [[255, 0, 36]]
    """
    if labels.ndim == 2 and labels.max(initial=0) > NUM_CLASSES:
        raise SetupError(
            f'{name} holds the label {labels.max()}, expected 0 to {NUM_CLASSES}; use the masks of '
            '37 classes'
        )
    classes = np.where(labels == 0, IGNORE, labels.astype(np.int64) - 1)
    check_classes(classes, NUM_CLASSES, name)
    return classes.astype(np.uint8)


def write_label(source: Path, target: Path) -> None:
    """Write the class indices of a numbered mask."""
    labels = np.array(decode(source.read_bytes(), source))
    write_labels(to_classes(labels, source), target)


def write_table_label(source: Path, target: Path, index: int) -> None:
    """Write the class indices of a frame in SUNRGBD2Dseg.mat.

    Args:
        source: The table: 10,335 references to label images, which MATLAB stores by columns.
        target: File to make.
        index: Index of the frame, the same as in SUNRGBDMeta.mat.
    """
    try:
        table = _table(source)
        labels = table[table['SUNRGBD2Dseg']['seglabel'][index, 0]][()].T
    except (OSError, KeyError, IndexError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise SetupError(
            f'{source}: mask {index} cannot be read ({reason}); get it again'
        ) from error
    write_labels(to_classes(labels, f'{source}, mask {index}'), target)


@lru_cache(maxsize=1)
def _table(path: Path):
    return _h5py().File(path, 'r')


@tool
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    conversion.run(
        args,
        wanted,
        plan=lambda files: plan(files, args.out, args.partial),
        archives=ARCHIVES,
    )
