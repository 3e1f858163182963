"""Prepare PASCAL VOC 2012 with the extra masks of SBD in data/VOCdevkit/VOC2012.

Reads VOCtrainval_11-May-2012.tar and benchmark.tgz (SBD), or the folders that they unpack to. The
folder SegmentationClassAug, which many repositories distribute, may replace SBD.

Writes, beside VOC's own folders,
- SegmentationClassAug/NAME.png: the masks of the training images and of val, as class indices (one
  channel, no palette, 255 for ignored pixels); VOC's mask where it exists, else that of SBD;
- ImageSets/Segmentation/train_aug.txt: the 10,582 training images, which are VOC's train and all of
  SBD without VOC's val.

Examples:
    mmseg-semi convert-voc --download
    mmseg-semi convert-voc VOCtrainval_11-May-2012.tar benchmark.tgz
    mmseg-semi convert-voc ~/data/VOCdevkit ~/data/benchmark_RELEASE
    mmseg-semi convert-voc ~/data/VOCdevkit --download
"""

import argparse
import re
from collections.abc import Collection, Container, Sequence
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing import conversion
from mmseg_semi.preparing.archives import Archive, where_to_get
from mmseg_semi.preparing.conversion import Plan
from mmseg_semi.preparing.image_files import check_classes, decode, place, write_labels
from mmseg_semi.preparing.jobs import Job
from mmseg_semi.runtime.commands import tool

ARCHIVES = (
    Archive(
        'VOCtrainval_11-May-2012.tar',
        'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/',
        (
            'https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar',
            'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar',
        ),
        md5='6cd6e144f989b92b3379bac3b3de84fd',
        size=1_999_639_040,
        markers=('SegmentationClass/',),
    ),
    Archive(
        'benchmark.tgz',
        'https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/',
        (
            'https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/'
            'semantic_contours/benchmark.tgz',
        ),
        md5='82b4d87ceb2ed10f6038a1cba92111cb',
        size=1_419_539_633,
        markers=('cls/', 'SegmentationClassAug/'),
    ),
)
NUM_CLASSES = 21
COUNTS = dict(train=1464, val=1449, train_aug=10582)

_ID = r'(?P<id>\d{4}_\d{6})'
_KINDS = {
    'image': re.compile(rf'(?:.*/)?JPEGImages/{_ID}\.jpg'),
    'own': re.compile(rf'(?:.*/)?SegmentationClass/{_ID}\.png'),
    'aug': re.compile(rf'(?:.*/)?SegmentationClassAug/{_ID}\.png'),
    'sbd': re.compile(rf'(?:.*/)?cls/{_ID}\.mat'),
    'list': re.compile(r'(?:.*/)?ImageSets/Segmentation/(?P<id>train|val|trainval)\.txt'),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    conversion.add_arguments(parser, 'data/VOCdevkit/VOC2012', ARCHIVES)
    parser.add_argument(
        '--partial', action='store_true', help='accept a copy that lacks some of the images'
    )
    return parser.parse_args(argv)


def kind_of(path: str) -> tuple[str, str] | None:
    """Kind ('image', 'own', 'aug', 'sbd' or 'list') and name of a file.

    None for a file that the converter does not read.

    Example:
        >>> kind_of('VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg')
        ('image', '2007_000032')
    """
    if re.search(r'(?:^|/)VOC20(?!12/)\d\d/', path):  # other years lie in the same VOCdevkit
        return None
    for kind, pattern in _KINDS.items():
        match = pattern.fullmatch(path)
        if match:
            return kind, match['id']
    return None


def train_aug(train: Collection[str], val: Collection[str], extra: Collection[str]) -> list[str]:
    """Sorted names of the augmented training set: the union of train and extra, minus val.

    Args:
        train: Names of VOC's train.
        val: Names of VOC's val.
        extra: Names of the images that have an extra mask; some are in train, some in val.

    Example:
        >>> train_aug(['a', 'b'], ['v'], ['b', 'c', 'v'])
        ['a', 'b', 'c']
    """
    return sorted((set(train) | set(extra)) - set(val))


def plan(files: dict[str, Path], out: Path, partial: bool = False) -> Plan:
    """Plan the files to make from those that were found.

    Args:
        files: Path on disk by path in the source.
        out: Folder of the result.
        partial: Whether a copy with fewer images than published is accepted.

    Raises:
        SetupError: If files of the data set are missing.
    """
    found: dict[str, dict[str, Path]] = {kind: {} for kind in _KINDS}
    for path, file in files.items():
        kind, name = kind_of(path)
        found[kind].setdefault(name, file)
    _check_parts(found)
    train, val = (_read_ids(found['list'][name]) for name in ('train', 'val'))
    aug = train_aug(train, val, [*found['sbd'], *found['aug']])
    if not partial:
        _check_counts(dict(train=train, val=val, train_aug=aug), found)
    needed = aug + val
    _check_files('image', needed, found['image'])
    _check_files('mask', needed, {*found['own'], *found['sbd'], *found['aug']})
    jobs = [
        Job(place, file, out / 'JPEGImages' / f'{name}.jpg')
        for name, file in found['image'].items()
    ]
    jobs += [
        Job(place, file, out / 'SegmentationClass' / f'{name}.png')
        for name, file in found['own'].items()
    ]
    jobs += [
        Job(place, file, out / 'ImageSets/Segmentation' / f'{name}.txt')
        for name, file in found['list'].items()
    ]
    for name in needed:
        # VOC's masks first: they are finer than SBD's, and mark ignored pixels
        kind = next(kind for kind in ('own', 'sbd', 'aug') if name in found[kind])
        make = write_sbd_mask if kind == 'sbd' else write_voc_mask
        jobs.append(Job(make, found[kind][name], out / 'SegmentationClassAug' / f'{name}.png'))
    return Plan(
        jobs,
        f'{len(aug)} training images ({len(train)} of them with masks of VOC), {len(val)} of val',
        {'ImageSets/Segmentation/train_aug.txt': ''.join(f'{name}\n' for name in aug)},
    )


def _check_parts(found: dict[str, dict[str, Path]]) -> None:
    """Raise an error that names the missing parts and their archives."""
    voc, sbd = ARCHIVES
    missing = [
        (part, archive)
        for part, archive, is_found in (
            ('JPEGImages/NAME.jpg', voc, found['image']),
            ('SegmentationClass/NAME.png', voc, found['own']),
            ('ImageSets/Segmentation/train.txt', voc, 'train' in found['list']),
            ('ImageSets/Segmentation/val.txt', voc, 'val' in found['list']),
            ('cls/NAME.mat (or SegmentationClassAug/NAME.png)', sbd, found['sbd'] or found['aug']),
        )
        if not is_found
    ]
    if missing:
        names = {archive.name for _, archive in missing}
        raise SetupError(
            f'the sources hold no {", ".join(part for part, _ in missing)}; name also '
            f'{where_to_get(ARCHIVES, names)}, or use --download'
        )


def _check_files(kind: str, needed: Sequence[str], names: Container[str]) -> None:
    """Raise an error if an image of the lists has no image file or no mask."""
    missing = [name for name in needed if name not in names]
    if missing:
        raise SetupError(
            f'{len(missing)} of {len(needed)} images lack their {kind}, e.g. {missing[0]}; the '
            f'copy is incomplete, get {where_to_get(ARCHIVES)}'
        )


def _check_counts(lists: dict[str, list[str]], found: dict[str, dict[str, Path]]) -> None:
    """Raise an error if a list has not the published number of images."""
    for name, expected in COUNTS.items():
        if len(lists[name]) != expected:
            how = ''
            if name == 'train_aug':
                extra = {*found['sbd'], *found['aug']}
                how = f' (train {len(lists["train"])}, {len(extra)} with extra masks)'
            raise SetupError(
                f'{name} has {len(lists[name])} images{how}, expected {expected}; the copy is '
                f'incomplete, get {where_to_get(ARCHIVES)}, or accept it with '
                '--partial'
            )


def _read_ids(path: Path) -> list[str]:
    return path.read_text(encoding='utf-8').split()


# ------------------------------------------------------------------------------------------- masks


def voc_palette(size: int = 256) -> np.ndarray:
    """VOC's colours (size, 3) uint8: the bits of an index go to red, green, blue, high bits first.

    Example:
        >>> voc_palette()[[0, 1, 15, 255]].tolist()
        [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]
    """
    index = np.arange(size)
    colours = np.zeros((size, 3), int)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def class_indices(path: Path) -> np.ndarray:
    """Read the class indices of a mask, in any of the forms that are in circulation.

    - Colours with a palette, as VOC publishes them: the *colour* counts, since tools that rewrite a
      PNG renumber its palette; the index counts if the palette is not that of VOC.
    - One channel of class indices.
    - Plain RGB in VOC's colours.

    Returns:
        np.ndarray: (H, W) uint8.

    Raises:
        SetupError: If a colour or an index is no class.
    """
    image = decode(path.read_bytes(), path)
    classes = [*range(NUM_CLASSES), IGNORE]
    keys = {_key(colour): c for c, colour in zip(classes, voc_palette()[classes], strict=True)}
    if image.mode == 'P':
        labels = np.array(image)
        palette = np.array(image.getpalette('RGB')).reshape(-1, 3)
        used = np.unique(labels)
        if (used < len(palette)).all() and all(_key(palette[i]) in keys for i in used):
            table = np.zeros(256, np.uint8)
            table[used] = [keys[_key(palette[i])] for i in used]
            labels = table[labels]
    elif image.mode in ('RGB', 'RGBA'):
        flat = _key(np.asarray(image.convert('RGB')))
        colours, inverse = np.unique(flat, return_inverse=True)
        for colour in colours.tolist():
            if colour not in keys:
                raise SetupError(
                    f'{path} holds the colour #{colour:06x}, which is no class of VOC; use the '
                    'published masks'
                )
        table = np.array([keys[colour] for colour in colours.tolist()], np.uint8)
        labels = table[inverse].reshape(flat.shape)
    else:
        labels = np.array(image)
    check_classes(labels, NUM_CLASSES, path)
    return labels


def _key(colour: np.ndarray) -> np.ndarray | int:
    """One number for each colour of an array (..., 3): red, green and blue, 8 bits each."""
    colour = np.asarray(colour).astype(np.int64)
    key = (colour[..., 0] << 16) | (colour[..., 1] << 8) | colour[..., 2]
    return int(key) if key.ndim == 0 else key


def write_voc_mask(source: Path, target: Path) -> None:
    """Write a PNG mask of any form as class indices."""
    write_labels(class_indices(source), target)


def write_sbd_mask(source: Path, target: Path) -> None:
    """Write the mask of an SBD file as class indices; SBD has no ignored pixels."""
    try:
        mat = loadmat(source, variable_names=['GTcls'], squeeze_me=True, struct_as_record=False)
        labels = np.atleast_2d(mat['GTcls'].Segmentation)
    except Exception as error:  # a damaged file raises many kinds
        reason = ' '.join(str(error).split())
        raise SetupError(
            f'{source} holds no GTcls.Segmentation that can be read ({reason}); get SBD again'
        ) from error
    check_classes(labels, NUM_CLASSES, source)
    write_labels(labels, target)


@tool
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    conversion.run(
        args,
        wanted=lambda path: kind_of(path) is not None,
        plan=lambda files: plan(files, args.out, args.partial),
        archives=ARCHIVES,
    )
