"""Folders as PASCAL VOC has them, with a labelmap.txt; CVAT's 'Segmentation mask' export and datumaro's VOC are the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from mmseg_semi.data.palette import voc_color
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export
from mmseg_semi.preparing.annotations.files import walk_images

TITLE = 'VOC folders and CVAT Segmentation mask (SegmentationClass/ with labelmap.txt)'

VOID = '#e0e0c0'
"""The colour of VOC's unmarked borders."""

UNLISTED = 'masks that no list of ImageSets/Segmentation names, in training'
WITHOUT_MASK = 'images of the lists without a mask, unlabelled'
DROPPED = (
    'images without a mask, unlabelled (datumaro 1.13 draws no polygons into masks unless '
    'polygons_to_masks is applied before its export: look whether these were annotated)'
)
FROM_MAP = 'classes without a colour in labelmap.txt, which have the colours of the VOC colour map'

_LISTS = {'train': 'train', 'val': 'val', 'test': 'test'}
_VOC_CLASSES = (
    'background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa '
    'train tvmonitor'
).split()


def matches(path: Path) -> bool:
    """Whether this folder holds SegmentationClass/ beside a labelmap.txt or JPEGImages/."""
    return (path / 'SegmentationClass').is_dir() and (
        (path / 'labelmap.txt').is_file() or (path / 'JPEGImages').is_dir()
    )


def read(path: Path, images: Path | None) -> Export:
    """Read a VOC folder.

    Args:
        path: The folder with SegmentationClass/, labelmap.txt or VOC's own classes, and perhaps JPEGImages/ and ImageSets/Segmentation/.
        images: Folder of the images, if there is no JPEGImages/.

    Raises:
        SetupError: If there is no mask, or a line of labelmap.txt is wrong.
    """
    folder = path / 'SegmentationClass'
    masks = (
        {file.relative_to(folder).with_suffix('').as_posix(): file for file in walk_images(folder)}
        if folder.is_dir()
        else {}
    )
    if not masks:
        raise SetupError(
            f'{path} has no mask, looked for was {folder}/NAME.png; export the masks again'
        )
    counts: Counter = Counter()
    colours = _label_map(path / 'labelmap.txt', counts)
    by_index = _holds_indices(next(iter(masks.values())))
    places = [images] if images is not None else [path / 'JPEGImages', path / 'images', path]
    parts = _parts(path / 'ImageSets/Segmentation')
    result = _images(masks, parts, places, folder, counts)
    background = next((name for name, colour in colours.items() if colour == '#000000'), None)
    if background is None:
        background = 'background' if 'background' not in colours else 'unmarked'
        colours = {background: '#000000', **colours}
    values = {name: index for index, name in enumerate(colours)} if by_index else dict(colours)
    void: list = [255] if by_index else [VOID]
    if counts[FROM_MAP]:  # as datumaro writes it
        counts[DROPPED] = sum(not image.annotated for image in result)
        counts.pop(WITHOUT_MASK, None)
    return Export(
        format='VOC folders',
        source=path,
        classes=[name for name in colours if name != background],
        images=result,
        overlap='the masks are finished: a pixel has one class',
        unmarked=('background', 'VOC masks have a colour for the background'),
        mask_values=values,
        ignore_values=[value for value in void if value not in values.values()] or None,
        unmarked_class=background,
        colours=colours,
        version=f'{"indices" if by_index else "colours"} in the masks',
        counts=counts,
    )


def _label_map(file: Path, counts: Counter) -> dict[str, str]:
    """Class -> colour: 'name:red,green,blue:parts:actions' in each line, the colour may be empty."""
    if not file.is_file():
        return {name: _text(voc_color(index)) for index, name in enumerate(_VOC_CLASSES)}
    lines = [line.strip() for line in file.read_text(encoding='utf-8-sig').splitlines()]
    entries = [line.split(':') for line in lines if line and not line.startswith('#')]
    if not entries:
        raise SetupError(f'{file} names no class; expected lines such as leaf:0,128,0::')
    found: dict[str, str] = {}
    empty = [entry for entry in entries if len(entry) < 2 or not entry[1].strip()]
    for index, (name, *rest) in enumerate(entries):
        if name in found:
            raise SetupError(f"{file} has the class '{name}' twice; remove one of the lines")
        if not rest or not rest[0].strip():
            found[name] = _text(voc_color(index))
            continue
        try:
            colour = [int(value) for value in rest[0].split(',')]
            found[name] = _text(colour)
        except ValueError as error:
            raise SetupError(
                f"{file}: the class '{name}' has the colour '{rest[0]}', expected red,green,blue of 0 to 255"
            ) from error
    counts[FROM_MAP] += len(empty)
    return found


def _text(colour: list[int]) -> str:
    """'#rrggbb' of three numbers."""
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise ValueError(colour)
    return '#{:02x}{:02x}{:02x}'.format(*colour)


def _holds_indices(file: Path) -> bool:
    """Whether a mask is grey, so that its values are indices, and not in colour or with a palette."""
    try:
        with Image.open(file) as mask:
            return mask.mode in ('L', '1') or mask.mode.startswith('I')
    except OSError as error:
        raise SetupError(f'the mask {file} cannot be read ({error}); export it again') from error


def _parts(folder: Path) -> dict[str, str | None]:
    """Image -> its part, by the lists; None for lists of other names, such as CVAT's default.txt."""
    found: dict[str, str | None] = {}
    for file in sorted(folder.glob('*.txt')) if folder.is_dir() else []:
        part = _LISTS.get(file.stem)
        for line in file.read_text(encoding='utf-8-sig').splitlines():
            name = line.strip().replace('\\', '/')
            if not name:
                continue
            known = found.get(name)
            if known and part and known != part:
                raise SetupError(
                    f'{folder}/{known}.txt and {file} disagree about the image {name}, which is in both; keep it in one of them'
                )
            found[name] = part or known
    return found


def _images(
    masks: dict[str, Path],
    parts: dict[str, str | None],
    places: list[Path],
    folder: Path,
    counts: Counter,
) -> list[AnnotatedImage]:
    """The images with a mask, of the lists, and of the folder of images."""
    base = next((place for place in places if place.is_dir()), places[0])
    finished = (folder, folder.with_name('SegmentationObject'))
    there: dict[str, Path] = {}
    for file in walk_images(base):
        if not any(mask_folder in file.parents for mask_folder in finished):
            there.setdefault(file.relative_to(base).with_suffix('').as_posix(), file)
    # a folder of images may have other subfolders than that of the masks
    by_stem: dict[str, list[str]] = {}
    for name in there:
        if name not in masks:
            by_stem.setdefault(name.rpartition('/')[2], []).append(name)
    result, taken = [], set()
    for name in sorted({*masks, *parts}):
        near = by_stem.get(name.rpartition('/')[2], [])
        found = name if name in there else near[0] if len(near) == 1 else None
        taken.add(found)
        file = there[found] if found else None
        counts[WITHOUT_MASK] += name not in masks
        counts[UNLISTED] += bool(parts) and name in masks and name not in parts
        result.append(
            AnnotatedImage(
                file.relative_to(base).as_posix() if file else name,
                file,
                mask=masks.get(name),
                annotated=name in masks,
                part=parts.get(name),
            )
        )
    for name in sorted({*there} - taken):
        result.append(
            AnnotatedImage(there[name].relative_to(base).as_posix(), there[name], annotated=False)
        )
    return sorted(result, key=lambda image: image.name)
