"""Prepare Cityscapes in data/cityscapes/{leftImg8bit,gtFine}/{train,val}/CITY.

Reads leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or the folders that they unpack to.
Both need a login at https://www.cityscapes-dataset.com/downloads/, so this tool cannot download
them.

Writes the mask gtFine/SPLIT/CITY/NAME_gtFine_labelTrainIds.png of every image: the 19 classes of
the benchmark, and 255 for ignored pixels. The mask comes from NAME_gtFine_labelIds.png, or from
NAME_gtFine_polygons.json if there is no such file. A folder may be converted in place.

Examples:
    mmseg-semi convert-cityscapes leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip
    mmseg-semi convert-cityscapes --out ~/data/cityscapes
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing import conversion
from mmseg_semi.preparing.archives import Archive, where_to_get
from mmseg_semi.preparing.conversion import Plan
from mmseg_semi.preparing.image_files import check_classes, decode, place, write_labels
from mmseg_semi.preparing.jobs import Job
from mmseg_semi.runtime.commands import tool

_LOGIN = 'https://www.cityscapes-dataset.com/downloads/ (needs a login)'
ARCHIVES = (
    Archive('leftImg8bit_trainvaltest.zip', _LOGIN),
    Archive('gtFine_trainvaltest.zip', _LOGIN),
)
COUNTS = dict(train=2975, val=500)

LABELS = (
    'unlabeled',
    'ego vehicle',
    'rectification border',
    'out of roi',
    'static',
    'dynamic',
    'ground',
    'road',
    'sidewalk',
    'parking',
    'rail track',
    'building',
    'wall',
    'fence',
    'guard rail',
    'bridge',
    'tunnel',
    'pole',
    'polegroup',
    'traffic light',
    'traffic sign',
    'vegetation',
    'terrain',
    'sky',
    'person',
    'rider',
    'car',
    'truck',
    'bus',
    'caravan',
    'trailer',
    'train',
    'motorcycle',
    'bicycle',
)
"""Annotated labels in the order of their ids; 'license plate' has no id and is not drawn."""

TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Ids of the 19 classes, in the order of the class indices."""

_NAME = r'(?P<split>train|val)/(?P<name>(?P<city>[^/]+)/(?P=city)_\d{6}_\d{6})'
_KINDS = {
    'image': re.compile(rf'(?:.*/)?leftImg8bit/{_NAME}_leftImg8bit\.png'),
    'trainids': re.compile(rf'(?:.*/)?gtFine/{_NAME}_gtFine_labelTrainIds\.png'),
    'ids': re.compile(rf'(?:.*/)?gtFine/{_NAME}_gtFine_labelIds\.png'),
    'polygons': re.compile(rf'(?:.*/)?gtFine/{_NAME}_gtFine_polygons\.json'),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    conversion.add_arguments(parser, 'data/cityscapes', ARCHIVES)
    parser.add_argument(
        '--partial', action='store_true', help='accept a copy that lacks some of the images'
    )
    return parser.parse_args(argv)


def kind_of(path: str) -> tuple[str, str, str] | None:
    """Kind ('image', 'trainids', 'ids' or 'polygons'), split and name of a file.

    None for a file that the converter does not read.

    Example:
        >>> kind_of('gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png')
        ('ids', 'val', 'ulm/ulm_000000_000019')
    """
    for kind, pattern in _KINDS.items():
        match = pattern.fullmatch(path)
        if match:
            return kind, match['split'], match['name']
    return None


def plan(files: dict[str, Path], out: Path, partial: bool = False) -> Plan:
    """Plan the files to make from those that were found.

    Args:
        files: Path on disk by path in the source.
        out: Folder of the result.
        partial: Whether a copy with fewer images than published is accepted.

    Raises:
        SetupError: If files of the data set are missing.
    """
    found: dict[str, dict[tuple[str, str], Path]] = {kind: {} for kind in _KINDS}
    for path, file in files.items():
        kind, split, name = kind_of(path)
        found[kind].setdefault((split, name), file)
    masks = {**found['polygons'], **found['ids'], **found['trainids']}
    _check_pairs(found['image'], masks)
    counts = {split: sum(key[0] == split for key in masks) for split in COUNTS}
    if counts != COUNTS and not partial:
        raise SetupError(
            f'the sources hold {counts["train"]} images of train and {counts["val"]} of val, '
            f'expected {COUNTS["train"]} and {COUNTS["val"]}; the copy is incomplete, get '
            f'{where_to_get(ARCHIVES)}, or accept it with --partial'
        )
    makers = dict(trainids=place, ids=write_from_ids, polygons=write_from_polygons)
    jobs = []
    for split, name in sorted(masks):
        image = out / 'leftImg8bit' / split / f'{name}_leftImg8bit.png'
        jobs.append(Job(place, found['image'][split, name], image))
        kind = next(kind for kind in makers if (split, name) in found[kind])
        mask = out / 'gtFine' / split / f'{name}_gtFine_labelTrainIds.png'
        jobs.append(Job(makers[kind], found[kind][split, name], mask))
    return Plan(jobs, ', '.join(f'{count} of {split}' for split, count in counts.items()))


def _check_pairs(
    images: Mapping[tuple[str, str], Path], masks: Mapping[tuple[str, str], Path]
) -> None:
    """Raise an error if there are no images or no masks, or some that lack the other."""
    image_archive, mask_archive = ARCHIVES
    missing = {}
    if not images:
        missing[image_archive.name] = 'leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png'
    if not masks:
        missing[mask_archive.name] = 'gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png or _polygons.json'
    if missing:
        raise SetupError(
            f'the sources hold no {", ".join(missing.values())}; name also '
            f'{where_to_get(ARCHIVES, missing)}'
        )
    for kind, names, others, archive in (
        ('mask', images, masks, mask_archive),
        ('image', masks, images, image_archive),
    ):
        unpaired = sorted(set(names) - set(others))
        if unpaired:
            raise SetupError(
                f'{len(unpaired)} of {len(names)} names lack their {kind}, e.g. '
                f'{"/".join(unpaired[0])}; the copy is incomplete, get {archive.name} from '
                f'{archive.where}'
            )


def to_train_ids(ids: np.ndarray) -> np.ndarray:
    """Map label ids to class indices 0 to 18, or 255.

    Args:
        ids: (H, W) uint8 label ids.

    Example:
        >>> to_train_ids(np.array([[7, 26, 0]], np.uint8)).tolist()
        [[0, 13, 255]]
    """
    return _table()[ids]


def _table() -> np.ndarray:
    table = np.full(256, IGNORE, np.uint8)
    table[list(TRAIN_IDS)] = np.arange(len(TRAIN_IDS))
    return table


def draw_polygons(annotation: dict, name: str | Path) -> np.ndarray:
    """Draw the polygons of an annotation as class indices, later polygons over earlier ones.

    Deleted objects and licence plates are left out; 'cargroup' counts as 'car', as in Cityscapes'
    own tool.

    Args:
        annotation: Content of a ..._polygons.json.
        name: Name of that file, for the error.

    Returns:
        np.ndarray: (H, W) uint8, 255 where no class is drawn.

    Raises:
        SetupError: If Cityscapes has no such label, or the annotation has another form.
    """
    table = _table().tolist()
    try:
        canvas = Image.new('L', (annotation['imgWidth'], annotation['imgHeight']), IGNORE)
        draw = ImageDraw.Draw(canvas)
        for item in annotation['objects']:
            label = item['label']
            if item.get('deleted') or label in ('license plate', 'license plategroup'):
                continue
            if label not in LABELS:
                label = label.removesuffix('group')
            if label not in LABELS:
                raise SetupError(
                    f'{name} has the label {label!r}, which Cityscapes does not define'
                )
            corners = [tuple(corner) for corner in item['polygon']]
            draw.polygon(corners, fill=table[LABELS.index(label)])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SetupError):
            raise
        raise SetupError(
            f'{name} is no annotation of Cityscapes ({error!r}); get it again'
        ) from error
    return np.array(canvas)


def write_from_ids(source: Path, target: Path) -> None:
    """Write the class indices of a ..._labelIds.png."""
    ids = np.array(decode(source.read_bytes(), source))
    check_classes(ids, len(LABELS), source)
    write_labels(to_train_ids(ids), target)


def write_from_polygons(source: Path, target: Path) -> None:
    """Write the class indices of a ..._polygons.json."""
    try:
        annotation = json.loads(source.read_text(encoding='utf-8'))
    except ValueError as error:
        raise SetupError(f'{source} is no complete JSON file ({error}); get it again') from error
    write_labels(draw_polygons(annotation, source), target)


@tool
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    conversion.run(
        args,
        wanted=lambda path: kind_of(path) is not None,
        plan=lambda files: plan(files, args.out, args.partial),
        archives=ARCHIVES,
    )
