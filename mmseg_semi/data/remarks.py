"""What training would take without a word, and is likely not meant: remarks on masks and images of own data.

Training, ``tools/splits.py check`` and ``tools/check_dataset.py`` make the same remarks.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from mmseg_semi.data.decoding.jpeg import jpeg_damage
from mmseg_semi.data.decoding.tiff import tiff_layout
from mmseg_semi.labels import IGNORE

_JPEG = ('.jpg', '.jpeg', '.jfif', '.mpo')
_FEW_LEVELS = 16
_OF_A_TOOL = re.compile(
    r'(.+)[-_. ](pred\w*|mask\w*|label\w*|seg\w*|gt\w*|annot\w*|overlay|vis\w*|result\w*|prob\w*|'
    r'conf\w*|out\w*|colou?r\w*)',
    re.IGNORECASE,
)


class Remark(NamedTuple):
    """A sentence about the data.

    Args:
        is_error: Whether training is refused.
        text: Names a file or a key, what was found, and what to do.
        kind: 'absent' for classes that no mask shows, 'turned' for images turned by a tag, else 'other'.
    """

    is_error: bool
    text: str
    kind: str = 'other'


@dataclass
class MaskFacts:
    """What remarks need of one mask.

    Args:
        path: The file.
        counts: (256,) int64, number of pixels of each class index; 255 is ignored.
        digest: Of the class indices.
        colours: Colour of each stored value that has pixels, of a mask with a palette.
    """

    path: str
    counts: np.ndarray
    digest: bytes
    colours: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, labels: np.ndarray, palette: bool = True) -> MaskFacts:
        """Take the facts of a mask.

        Args:
            path: Its file, of which a palette is read.
            labels: (H, W) uint8, class indices.
            palette: Whether to read it, which takes as long as the mask.
        """
        counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
        digest = hashlib.blake2b(np.ascontiguousarray(labels), digest_size=16).digest()
        return cls(path, counts, digest, _palette(path) if palette else {})


def _palette(path: str) -> dict[int, tuple[int, ...]]:
    try:
        with Image.open(path) as img:
            if img.mode != 'P':
                return {}
            table = img.getpalette('RGB') or []
            values = np.unique(np.asarray(img)).tolist()
    except OSError:  # of a format that Pillow does not know, which has no palette
        return {}
    return {v: tuple(table[3 * v : 3 * v + 3]) for v in values if 3 * v + 3 <= len(table)}


def remarks_on_masks(
    masks: Sequence[MaskFacts],
    classes: Sequence[str],
    where: str,
    source: str | None = None,
    by_color: bool = False,
) -> list[Remark]:
    """Remarks on the masks of one part of the data.

    Args:
        masks: Facts of the masks.
        classes: Names of the classes.
        where: The part, such as 'labelled'; remarks name it.
        source: The data file of own data; without one no remark is an error.
        by_color: Whether the data file maps colours.

    Example:
        >>> counts = np.bincount([0, 0, 0, 255], minlength=256)
        >>> remarks = remarks_on_masks([MaskFacts('m.png', counts, b'')], ['ground', 'plant'], 'labelled', 'data.yaml')
        >>> remarks[0].is_error, remarks[0].text.partition(';')[2]
        (True, " if 255 is 'plant', write classes: {ground: 0, plant: 255}")
    """
    if not masks:
        return []
    counts = np.sum([mask.counts for mask in masks], axis=0)
    absent = [i for i in range(len(classes)) if not counts[i]]
    ignored = counts[IGNORE] / max(counts.sum(), 1)
    found = []
    if absent:
        found.append(_absent(absent, classes, where, len(masks), ignored, source, by_color))
    if ignored > 0.5:
        found.append(
            Remark(
                False,
                f'255, which is ignored, covers {ignored:.0%} of the pixels of {len(masks)} {where} masks; '
                'if it is a class, map it in classes',
            )
        )
    single = [
        mask for mask in masks if (mask.counts[:IGNORE] > 0).sum() == 1 and not mask.counts[IGNORE]
    ]
    if len(masks) > 2 and len(single) == len(masks) and len(classes) - len(absent) > 1:
        found.append(
            Remark(
                False,
                f'each of the {len(masks)} {where} masks shows one class alone, the first is {masks[0].path}; '
                'such masks label images, not pixels',
            )
        )
    found += _same(masks, single, where)
    if not by_color:
        found += _palettes(masks, where, source)
    return found


def _absent(
    absent: list[int],
    classes: Sequence[str],
    where: str,
    count: int,
    ignored: float,
    source: str | None,
    by_color: bool,
) -> Remark:
    names = ', '.join(f'{classes[i]!r} (index {i})' for i in absent[:8])
    more = f' and {len(absent) - 8} more' if len(absent) > 8 else ''
    kind = 'class' if len(absent) == 1 else 'classes'
    text = f'none of {count} {where} masks shows the {kind} {names}{more}'
    if ignored and not by_color:
        text += f', and 255, which is ignored, covers {ignored:.0%} of their pixels'
    shown = len(classes) - len(absent)
    if ignored and not by_color and len(classes) == 2 and absent == [1]:
        text += f'; if 255 is {classes[1]!r}, write classes: {{{classes[0]}: 0, {classes[1]}: 255}}'
    elif absent == [0] and shown and not by_color:
        values = ', '.join(f'{name}: {i + 1}' for i, name in enumerate(classes[:3]))
        text += f'; if the labels begin at 1, write classes: {{{values}{", ..." if len(classes) > 3 else ""}}}'
    elif where == 'validation':
        text += f'; its IoU is nan, and a mean over classes is one over {shown} of {len(classes)}'
    else:
        text += '; nothing can be learned of it: label some, or take it out of classes'
    refused = source is not None and where == 'labelled' and shown < 2 <= len(classes)
    return Remark(refused, text, 'absent')


def _same(masks: Sequence[MaskFacts], single: Sequence[MaskFacts], where: str) -> list[Remark]:
    plain = {id(mask) for mask in single}
    groups = defaultdict(list)
    for mask in masks:
        if id(mask) not in plain:
            groups[mask.digest].append(mask.path)
    largest = max(groups.values(), key=len, default=[])
    if len(largest) < max(3, len(masks) / 10):
        return []
    return [
        Remark(
            False,
            f'{len(largest)} of {len(masks)} {where} masks are the same, such as {largest[0]} and '
            f'{largest[1]}; each image needs its own mask',
        )
    ]


def _palettes(masks: Sequence[MaskFacts], where: str, source: str | None) -> list[Remark]:
    """Palettes in different orders: what is one colour in a viewer is two classes for training."""
    first: dict[int, tuple[tuple[int, ...], str]] = {}
    values: dict[tuple[int, ...], tuple[int, str]] = {}
    for mask in masks:
        for value, colour in mask.colours.items():
            known, path = first.setdefault(value, (colour, mask.path))
            other, other_path = values.setdefault(colour, (value, mask.path))
            if known != colour and other != value:
                return [
                    Remark(
                        source is not None,
                        f'the palettes of {where} masks are in different orders: the value {value} is '
                        f'#{_hex(known)} in {path} and #{_hex(colour)} in {mask.path}, which is the value '
                        f'{other} in {other_path}; give each class its colour in classes',
                    )
                ]
    return []


def _hex(colour: Sequence[int]) -> str:
    return ''.join(f'{c:02x}' for c in colour)


# ---------------------------------------------------------------------------------------------- images


def orientation(content: bytes) -> int:
    """Orientation tag of an image of any format, 1 for upright or unknown."""
    layout = tiff_layout(io.BytesIO(content))
    if layout is not None:
        return layout.orientation
    try:
        with Image.open(io.BytesIO(content)) as img:
            if img.format == 'PNG' and b'eXIf' not in content:
                return 1  # getexif() would decode all pixels to look for a tag behind them
            return img.getexif().get(0x0112, 1)
    except Exception:  # the loader reports damaged files
        return 1


def remarks_on_images(
    labeled: Sequence[str],
    pool: Sequence[str],
    limit: int = 2000,
    sample: int = 200,
    look: Callable[[str, bytes], None] = lambda path, content: None,
) -> list[Remark]:
    """Remarks on image files of the local disk.

    Args:
        labeled: Paths of labelled images.
        pool: Paths of unlabelled images.
        limit: Largest number of labelled images that are read, spread evenly.
        sample: The same of unlabelled images.
        look: Gets path and content of each image that is read.
    """
    turned, pages, damaged = [], [], []
    read = _spread(labeled, limit)
    for path in read:
        content = Path(path).read_bytes()
        look(path, content)
        if orientation(content) != 1:
            turned.append(path)
        _look(path, content, pages, damaged)
    looked = _spread(pool, sample)
    for path in looked:
        content = Path(path).read_bytes()
        look(path, content)
        _look(path, content, pages, damaged)
    found, texts = [], []
    if turned:
        text = (
            f'{len(turned)} of {len(read)} labelled images are turned by an orientation tag, the first is '
            f'{turned[0]}; training shows them upright, as a viewer does, and their masks must be so: store '
            'the images upright if masks were drawn on the stored pixels'
        )
        found.append(Remark(False, text, 'turned'))
    if pages:
        texts.append(
            f'{len(pages)} of {len(read) + len(looked)} images have several pages, the first is {pages[0]}; '
            'training reads the first page: store one image a file'
        )
    if damaged:
        path, what = damaged[0]
        texts.append(
            f'{len(damaged)} of {len(read) + len(looked)} images are damaged, the first is {path} ({what}): '
            'decoders fill the rest with grey; replace the file'
        )
    texts += _made_by_tools(labeled, pool, sample)
    return found + [Remark(False, text) for text in texts]


def remarks_on_data(
    labeled: BaseDataset,
    pools: Sequence[BaseDataset] = (),
    val: BaseDataset | None = None,
    read: Callable[[BaseDataset, int], np.ndarray] | None = None,
    limit: int = 2000,
) -> list[Remark]:
    """All remarks on own data, for tools that do not train.

    Args:
        labeled, pools, val: Data sets that have read their names. Images are read only of a
            :class:`.FolderDataset`.
        read: Reads the class indices of a mask by data set and index. None: masks are not read.
        limit: Largest number of masks and images to read of each part.
    """
    found = []
    for dataset, where in ((labeled, 'labelled'), (val, 'validation')):
        own = getattr(dataset, 'own', None)
        if own is None or read is None:
            continue
        indices = _spread(range(len(dataset)), limit)
        masks = [
            MaskFacts.of(dataset.get_data_info(i)['seg_map_path'], read(dataset, i))
            for i in indices
        ]
        classes, by_color = dataset.metainfo['classes'], own.mask_map.by_color
        found += remarks_on_masks(masks, classes, where, own.source, by_color)
    if hasattr(labeled, 'own') and not getattr(labeled, 'backend_args', None):
        paths = [labeled.get_data_info(i)['img_path'] for i in range(len(labeled))]
        local = [p.get_data_info(i)['img_path'] for p in pools for i in range(len(p))]
        found += remarks_on_images(paths, local, limit)
    return found


def _look(path: str, content: bytes, pages: list, damaged: list) -> None:
    what = jpeg_damage(content)
    if what is not None:
        damaged.append((path, what))
    layout = tiff_layout(io.BytesIO(content))
    if layout is not None and layout.pages > 1 and layout.bands > 1:
        pages.append(path)


def _made_by_tools(labeled: Sequence[str], pool: Sequence[str], sample: int) -> Iterable[str]:
    """Masks, predictions and overlays among unlabelled photographs."""
    stems = {str(PurePath(path).with_suffix('')) for path in pool}
    added = [(path, _OF_A_TOOL.fullmatch(str(PurePath(path).with_suffix('')))) for path in pool]
    named = [(path, match) for path, match in added if match and match[1] in stems]
    if named:
        path, match = named[0]
        pattern = f'*{match[0][len(match[1]) :]}.*'
        yield (
            f'{len(named)} of {len(pool)} unlabelled images have the name of another one and a word more, such '
            f'as {path}; if they are masks or predictions, leave them out: exclude: [{pattern!r}]'
        )
        return
    looked = [p for p in _spread(pool, sample) if not p.lower().endswith(_JPEG)]
    flat = [path for path in looked if has_few_levels(path)]
    if flat and not any(map(has_few_levels, _spread(labeled, 10))):
        yield (
            f'{len(flat)} of {len(looked)} unlabelled images have at most {_FEW_LEVELS} levels of grey or colours, '
            f'such as {flat[0]}, and labelled images have more; if they are masks, leave them out by patterns '
            "of their names: exclude: ['masks/*']"
        )


def has_few_levels(path: str) -> bool:
    """Whether an image has at most 16 different colours, as masks have and photographs have not."""
    try:
        with Image.open(path) as img:
            pixels = np.asarray(img)
    except Exception:  # of several bands, or damaged: said elsewhere
        return False
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / 250_000) ** 0.5))
    pixels = pixels[::step, ::step]
    if pixels.ndim == 2:
        return len(np.unique(pixels)) <= _FEW_LEVELS
    rows = pixels.reshape(-1, pixels.shape[2]).astype(np.int64)
    return len(np.unique(rows @ (1 << 8 * np.arange(rows.shape[1])))) <= _FEW_LEVELS


def _spread(items: Sequence[str], limit: int) -> list[str]:
    count = min(limit, len(items))
    return [items[i * len(items) // count] for i in range(count)]
