"""Arrange SUN RGB-D, 37 classes, in data/sunrgbd/{images,labels}/{train,val}.

The official test images (5,050) are val here, the other 5,285 are train. Reads one of two forms, as
archives or as the folders that they unpack to:

- the images and masks of https://github.com/ankurhanda/sunrgbd-meta-data: SUNRGBD-train_images.tgz,
  SUNRGBD-test_images.tgz and sunrgbd_train_test_labels.tar.gz (img-000001.png to img-010335.png);
- the official SUNRGBD.zip and SUNRGBDtoolbox.zip, whose masks lie in Metadata/SUNRGBD2Dseg.mat
  (needs the package h5py).

Writes images as they are, and labels/SPLIT/NAME.png with the classes 0 to 36; 255 where the source has
0, which is no class. The depth images are not used.

Examples:
    python tools/dataset_converters/sun_rgbd.py SUNRGBD-*_images.tgz sunrgbd_train_test_labels.tar.gz
    python tools/dataset_converters/sun_rgbd.py ~/SUNRGBD ~/SUNRGBDtoolbox
"""

import argparse
import re
from functools import lru_cache, partial
from pathlib import Path

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
from mmseg_semi.runtime import launch

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
"""Number of the first training mask among img-000001.png to img-010335.png; test comes before."""

_NUMBERED = {
    'image': re.compile(r'(?:.*/)?img-(?P<number>\d{6})\.jpg'),
    'label': re.compile(r'(?:.*/)?img-(?P<number>\d{6})\.png'),
}
_TABLES = ('Metadata/SUNRGBDMeta.mat', 'Metadata/SUNRGBD2Dseg.mat', 'traintestSUNRGBD/allsplit.mat')
# a scene's folder below SUNRGBD, e.g. kv1/NYUdata/NYU0034
_SCENE = re.compile(r'(?:.*/)?(?P<scene>(?:kv1|kv2|realsense|xtion)/.+)/image/(?P<name>[^/]+\.jpg)')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    conversion.add_arguments(parser, 'data/sunrgbd', ARCHIVES)
    parser.add_argument(
        '--partial', action='store_true', help='take a copy that lacks some of the images'
    )
    return parser.parse_args(argv)


def wanted(path: str) -> bool:
    """Whether a file belongs to one of the two forms."""
    patterns = (*_NUMBERED.values(), _SCENE)
    return path.endswith(_TABLES) or any(pattern.fullmatch(path) for pattern in patterns)


def plan(files: dict[str, Path], out: Path, partial: bool = False) -> Plan:
    """What to make of the files found.

    Args:
        files: Files on disk, by path in their source.
        out: Folder of the result.
        partial: Whether fewer images than published will do.

    Raises:
        SetupError: If the files are not the whole data set.
    """
    tables = {
        table: file for table in _TABLES for path, file in files.items() if path.endswith(table)
    }
    is_official = bool(tables) or any(_SCENE.fullmatch(path) for path in files)
    frames = _official(files, tables) if is_official else _numbered(files)
    counts = {split: sum(frame[0] == split for frame in frames) for split in COUNTS}
    if counts != COUNTS and not partial:
        raise SetupError(
            f'the sources hold {counts["train"]} images of train and {counts["val"]} of test, '
            f'expected {COUNTS["train"]} and {COUNTS["val"]}; the copy is incomplete, get '
            f'{_where(is_official)}, or take it as it is by --partial'
        )
    jobs = []
    for split, name, image, label, make in frames:
        jobs.append(Job(place, image, out / 'images' / split / f'{name}.jpg'))
        jobs.append(Job(make, label, out / 'labels' / split / f'{name}.png'))
    return Plan(jobs, ', '.join(f'{count} {split}' for split, count in counts.items()))


def _where(is_official: bool) -> str:
    return where_to_get(ARCHIVES[3:] if is_official else ARCHIVES[:3])


def _numbered(files: dict[str, Path]) -> list[tuple]:
    """(split, name, image, label, function) of each frame of the numbered form."""
    found: dict[str, dict[int, Path]] = dict(image={}, label={})
    for path, file in files.items():
        for kind, pattern in _NUMBERED.items():
            match = pattern.fullmatch(path)
            if match:
                found[kind].setdefault(int(match['number']), file)
    if not found['image'] or not found['label']:
        lacking = ' and '.join(
            f'{kind}s img-NUMBER.{"jpg" if kind == "image" else "png"}'
            for kind, there in found.items()
            if not there
        )
        raise SetupError(
            f'the sources hold no {lacking}; name also {_where(False)}; or the official '
            f'{where_to_get(ARCHIVES[3:])}'
        )
    lonely = sorted(set(found['image']) ^ set(found['label']))
    if lonely:
        raise SetupError(
            f'{len(lonely)} of {len(found["label"])} frames lack their image or their label, e.g. '
            f'img-{lonely[0]:06d}; the copy is incomplete, get {_where(False)}'
        )
    return [
        (
            'val' if number < FIRST_TRAIN else 'train',
            f'img-{number:06d}',
            found['image'][number],
            found['label'][number],
            write_label,
        )
        for number in sorted(found['label'])
    ]


def _official(files: dict[str, Path], tables: dict[str, Path]) -> list[tuple]:
    """The same of the official form; a frame is named by its folder, e.g. kv1_NYUdata_NYU0034."""
    lacking = [table for table in _TABLES if table not in tables]
    if lacking:
        raise SetupError(
            f'the sources hold no {", ".join(lacking)}; name also {where_to_get(ARCHIVES[4:])}'
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
    for index, frame in enumerate(meta):
        scene = _scene(str(frame.rgbpath).rpartition('/image/')[0])
        image = images.get((scene, str(frame.rgbname)))
        if image is None:
            missing.append(scene)
            continue
        make = partial(write_table_label, index=index)
        split = 'train' if scene in train else 'val'
        frames.append((split, scene.replace('/', '_'), image, masks, make))
    if missing:
        raise SetupError(
            f'{len(missing)} of {len(meta)} frames lack their image, e.g. {missing[0]}; name also '
            f'{where_to_get(ARCHIVES[3:4])}'
        )
    return frames


def _scene(folder: str) -> str:
    """Folder of a frame below SUNRGBD; the tables name it as it was on its authors' disk."""
    return folder.replace('//', '/').rpartition('SUNRGBD/')[2].strip('/')


def _load(path: Path, name: str):
    try:
        return loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=[name])[name]
    except Exception as error:  # whatever a damaged file makes the reader stumble over
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
    """Classes 0 to 36, 255 where the label is 0, of labels 0 to 37 of shape (H, W).

    Raises:
        SetupError: If there is another label.
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
    """Write the classes of a numbered mask."""
    labels = np.array(decode(source.read_bytes(), source))
    write_labels(to_classes(labels, source), target)


def write_table_label(source: Path, target: Path, index: int) -> None:
    """Write the classes of a frame in SUNRGBD2Dseg.mat.

    Args:
        source: The table, 10,335 references to label images that MATLAB stores by columns.
        target: File to make.
        index: Of the frame, which is the same as in SUNRGBDMeta.mat.
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


@launch.tool
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    conversion.run(
        args,
        wanted,
        plan=lambda files: plan(files, args.out, args.partial),
        archives=ARCHIVES,
    )
