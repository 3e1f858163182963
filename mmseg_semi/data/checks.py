"""Checks of images, masks and lists before the first iteration.

Each function raises :class:`SetupError` with one sentence that says what it found and how to fix
it. The checks read names and, for labelled images, label values; only training decodes images.
"""

from __future__ import annotations

import os
import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_dist_info
from PIL import Image

from mmseg_semi.data.decoding.labels import check_mask_size, read_labels, to_class_indices
from mmseg_semi.data.decoding.tiff import tiff_layout
from mmseg_semi.data.list_checks import check_list, list_command
from mmseg_semi.data.mask_map import UnmappedValues
from mmseg_semi.data.names import hash_paths, repeated
from mmseg_semi.data.pools import ImageList, ShardedImages, find_images
from mmseg_semi.data.remarks import MaskFacts, remarks_on_masks
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

_FOLDER_HINTS = {
    'CamVidDataset': 'mmseg-semi convert-camvid SOURCE',
    'PascalVOCDataset': 'mmseg-semi convert-voc --download',
    'QuickstartDataset': 'mmseg-semi demo --data-only',
    'CityscapesDataset': 'mmseg-semi convert-cityscapes SOURCES',
    'SUNRGBDDataset': 'mmseg-semi convert-sun-rgbd SOURCES',
    'ADE20KDataset': 'see docs/data.md',
    'COCOObjectsDataset': 'see docs/data.md',
}


def resolve_source(cfg: dict, key: str) -> dict:
    """Find the list and the folders of a data set's config, before the data set is built.

    A relative ``ann_file`` is looked up from the working directory first, then under ``data_root``,
    where MMSegmentation looks. Data sets on another file backend pass unchecked.

    Args:
        cfg: Config of one data set; left as it is.
        key: Place of ``cfg`` in the config, e.g. 'train_dataloader.dataset.labeled'; errors name
            it.

    Returns:
        dict: Copy of ``cfg``; the path of the list is absolute if it was found from the working
        directory.

    Raises:
        SetupError: If the list or a folder is missing, or the list is empty, has empty lines or
            names an image twice.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise SetupError(f'{key} is {cfg!r}, expected the config of a data set (dict with a type)')
    cfg = dict(cfg)
    if cfg.get('backend_args'):
        return cfg
    root = cfg.get('data_root') or ''
    for name, folder in (cfg.get('data_prefix') or {}).items():
        path = osp.join(root, folder or '')
        if path and not osp.isdir(path):
            hint = _FOLDER_HINTS.get(str(cfg['type']).rpartition('.')[2])
            raise SetupError(
                f'{key}: folder {path} (data_prefix.{name}) does not exist; put the data there or '
                'set data_root' + (f' ({hint})' if hint else '')
            )
    ann_file = cfg.get('ann_file')
    if ann_file:
        below_root = osp.join(root, ann_file)
        if osp.isfile(ann_file):
            cfg['ann_file'] = osp.abspath(ann_file)
        elif not osp.isfile(below_root):
            tried = ann_file if below_root == ann_file else f'{ann_file} (nor {below_root})'
            state = 'is a folder' if osp.isdir(ann_file) else 'does not exist'
            raise SetupError(f'{key}.ann_file: list {tried} {state}; {list_command(ann_file)}')
        check_list(cfg['ann_file'] if osp.isfile(ann_file) else below_root, key, ann_file)
    return cfg


def read_names(dataset: BaseDataset, key: str) -> None:
    """Let a data set read its list or its folder, and refuse a data set without images.

    Args:
        dataset: Data set that was built with ``lazy_init=True``.
        key: Place of the data set in the config; errors name it.

    Raises:
        SetupError: If the data set has no image.
    """
    try:
        dataset.full_init()
    except SetupError:  # a ValueError, too
        raise
    except ValueError as error:
        # MMEngine cannot store an empty list of entries
        if dataset.data_list or 'need at least one array' not in str(error):
            raise
        empty = True
    else:
        empty = len(dataset) == 0
    if empty:
        raise SetupError(
            f'{key}: folder {dataset.data_prefix.get("img_path")} holds no image whose name ends '
            f'in {getattr(dataset, "img_suffix", "")!r}; put the data there, or set img_suffix'
        )


def check_files(dataset: BaseDataset, key: str, file: str = 'img_path') -> Sequence[str]:
    """Refuse a data set that names missing files.

    It lists every folder once and opens no file. For shards it compares the length of the tar file
    with its index.

    Args:
        dataset: Data set whose entries have the key ``file``.
        key: Place of the data set in the config; errors name it.
        file: 'img_path' or 'seg_map_path'. Defaults to 'img_path'.

    Returns:
        Sequence[str]: The paths, in the order of the data set.

    Raises:
        SetupError: If a file is missing, a shard is too short, or the entries have no such key.
    """
    if isinstance(dataset, ShardedImages):
        if file != 'img_path':
            raise SetupError(
                f'{key}.type=ShardedImages holds images without masks; put it into '
                f'{key.rpartition(".")[0]}.unlabeled'
            )
        missing = dataset.paths.missing()
        if len(missing):
            shard, _, _, name = dataset.paths.entry(int(missing[0]))
            raise SetupError(
                f'{key}.shards: {shard} is cut short, {name} lies beyond its end ({len(missing)} '
                'images in all); write or copy the shard again'
            )
        return dataset.paths
    if isinstance(dataset, ImageList):
        missing = dataset.paths.missing()
        if len(missing):
            first = dataset.paths[int(missing[0])]
            raise _missing_files(dataset, key, 'image', first, len(missing), len(dataset))
        return dataset.paths
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    kind = 'image' if file == 'img_path' else 'mask'
    if any(file not in info for info in infos):
        raise SetupError(
            f'{key}.data_prefix has no {file}; set the folder of the {kind}s (images without masks '
            f'belong into {key.rpartition(".")[0]}.unlabeled)'
        )
    paths = [info[file] for info in infos]
    if getattr(dataset, 'backend_args', None):
        return paths
    missing = missing_paths(paths)
    if missing:
        raise _missing_files(dataset, key, kind, missing[0], len(missing), len(paths))
    return paths


def _missing_files(
    dataset: BaseDataset, key: str, kind: str, first: str, missing: int, count: int
) -> SetupError:
    ann_file = getattr(dataset, 'ann_file', '')
    where = f'list {osp.relpath(ann_file)}' if ann_file else f'{key}'
    what = 'does not exist' if kind == 'image' else 'is missing, its image is there'
    return SetupError(
        f'{where} names {PurePath(first).stem}, but its {kind} {first} {what} '
        f'({missing} of {count} {kind}s are missing); add the files, check data_root, '
        'data_prefix and the suffixes, or convert the list (mmseg-semi splits import)'
    )


def missing_paths(paths: Iterable[str]) -> list[str]:
    """The paths that do not exist; every folder is listed once."""
    listings: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = osp.split(path)
        if folder not in listings:
            listings[folder] = set(os.listdir(folder or '.')) if osp.isdir(folder or '.') else set()
        if name not in listings[folder]:
            missing.append(path)
    return missing


def check_disjoint(
    labeled: Sequence[str], pools: Sequence[Sequence[str]], key: str, allow: bool = False
) -> int:
    """Refuse unlabelled images that are labelled too.

    Args:
        labeled: Paths of labelled images.
        pools: Paths of the unlabelled images of each data set.
        key: Place of the :class:`.SemiDataset` in the config; errors name it.
        allow: Whether to count them only. Defaults to False.

    Returns:
        int: Number of unlabelled images that are labelled too.

    Raises:
        SetupError: If there is one and ``allow`` is False.

    Example:
        >>> check_disjoint(['a.png', 'b.png'], [['b.png', 'c.png']], 'dataset', allow=True)
        1
    """
    both = [(pool, index) for pool in pools for index in find_images(pool, labeled)]
    if both and not allow:
        pool, index = both[0]
        raise SetupError(
            f'{key}.unlabeled names {pool[index]}, which {key}.labeled names too ({len(both)} of '
            f'{sum(map(len, pools))} unlabelled images); remove it from the unlabelled list '
            '(mmseg-semi splits make writes disjoint lists), or set allow_overlap=True to '
            'train on lists that were published so'
        )
    return len(both)


def check_repeated(pools: Sequence[Sequence[str]], key: str) -> None:
    """Refuse an unlabelled image that several data sets hold.

    Args:
        pools: Paths of the unlabelled images of each data set.
        key: Place of the :class:`.SemiDataset` in the config; errors name it.

    Raises:
        SetupError: If there is one.
    """
    if len(pools) < 2:  # check_list has refused a duplicate within one list
        return
    starts = np.cumsum([0, *map(len, pools)])
    paths = []
    for number in repeated(np.concatenate([hash_paths(pool) for pool in pools])).tolist():
        place = int(np.searchsorted(starts, number, side='right')) - 1
        paths.append(osp.abspath(pools[place][number - int(starts[place])]))
    twice = [path for path, times in Counter(paths).items() if times > 1]
    if twice:
        raise SetupError(
            f'{key}.unlabeled: {len(twice)} images are in more than one of its data sets, the '
            f'first is {twice[0]}; name each image once'
        )


def check_label_values(
    dataset: BaseDataset,
    num_classes: int,
    limit: int = 2000,
    where: str = 'labelled',
    note: Callable[[str], None] | None = None,
) -> int:
    """Read label files and refuse values that are no class.

    The ranks share the files, and an error on any rank stops the run. Masks that begin at class 0 pass
    with ``reduce_zero_label=True``, each label one class too low; they are known by pixels of 255, which
    a mask with 0 for ignored pixels does not need, while none is of the last class, in the files of all ranks.

    Args:
        dataset: Labelled data set (training or validation).
        num_classes: Number of classes.
        limit: Highest number of files to read, spread evenly over the data set. Defaults to 2000.
        where: Part of the data, for :func:`.remarks_on_masks`.
        note: Gets remarks that are no errors.

    Returns:
        int: Number of files that this rank read.

    Raises:
        SetupError: If a file is unreadable, in colour, or holds a value that is neither a class nor
            255 (ignored), the masks need ``reduce_zero_label=False``, or a remark on them is an error.
    """
    rank, world_size = get_dist_info()
    count = min(limit, len(dataset))
    chosen = [i * len(dataset) // count for i in range(count)][rank::world_size]

    def check(index: int) -> UnmappedValues | None:
        try:
            labels = load_class_indices(dataset, index, num_classes)
        except UnmappedValues as error:
            return error  # one error lists the values of all masks
        info = dataset.get_data_info(index)
        facts.append(MaskFacts.of(info['seg_map_path'], labels, palette='mask_map' in info))
        if 'mask_map' in info:
            _check_size(info, labels)
        elif info.get('reduce_zero_label'):
            labels = read_labels(info['seg_map_path'], getattr(dataset, 'backend_args', None))
            ends[index] = bool((labels == IGNORE).any()), bool((labels == last_label).any())
        return None

    facts: list[MaskFacts] = []
    # of the masks of a data set with reduce_zero_label: whether they hold 255, and the last class
    ends: dict[int, tuple[bool, bool]] = {}
    # label_map has the classes before a choice of some
    last_label = 1 + max(dataset.metainfo.get('label_map') or [num_classes - 1])

    # decoders release the interpreter lock
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        errors = [error for error in pool.map(check, chosen) if error is not None]
    finally:
        pool.shutdown(cancel_futures=True)
        # also where this rank refuses a mask: the others wait for its part
        if getattr(dataset, 'reduce_zero_label', False):
            ends = {index: of for part in all_gather_object(ends) for index, of in part.items()}
        facts = [fact for part in all_gather_object(facts) for fact in part]
    if errors:
        total = sum((error.found for error in errors), Counter())
        raise errors[0].of_all(len(errors), len(chosen), total)
    reduced = [index for index, (ignored, _) in sorted(ends.items()) if ignored]
    if reduced and not any(last for _, last in ends.values()):
        path = dataset.get_data_info(reduced[0])['seg_map_path']
        raise SetupError(
            f'mask {path} holds pixels of 255, and none of {len(ends)} masks holds the label '
            f'{last_label}, but {type(dataset).__name__} has reduce_zero_label=True, that is labels 1 to '
            f'{last_label}, and 0 for pixels to ignore; if label 0 is a class in these masks, set '
            'reduce_zero_label=False in the data sets of training and validation, else write 0 for 255'
        )
    own = getattr(dataset, 'own', None)
    facts.sort(key=lambda fact: fact.path)
    for remark in remarks_on_masks(
        facts,
        dataset.metainfo.get('classes') or [],
        where,
        own and own.source,
        bool(own and own.mask_map.by_color),
    ):
        if remark.is_error:
            raise SetupError(f'{own.source}: {remark.text}')
        if note is not None:
            note(remark.text)
    return len(chosen)


def _check_size(info: dict, labels: np.ndarray) -> None:
    """Refuse a mask of another size than its image's header says; unknown formats pass."""
    size = header_size(info['img_path'])
    if size is not None:
        check_mask_size(info['seg_map_path'], labels, info['img_path'], size)


def header_size(path: str) -> tuple[int, int] | None:
    """Read (height, width) of an image from its header, turned as its orientation tag says.

    Returns:
        tuple[int, int]: None if Pillow cannot read the header.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/image.png'
        >>> Image.new('RGB', (4, 3)).save(path)
        >>> header_size(path)
        (3, 4)
    """
    try:
        with open(path, 'rb') as file:
            if file.read(6) == b'\x93NUMPY':
                return None
            file.seek(0)
            layout = tiff_layout(file)
        if layout is not None:
            size = layout.height, layout.width
            return size[::-1] if layout.orientation >= 5 else size
        with Image.open(path) as img:
            # getexif() would decode a PNG to look for a tag after the pixels
            tagged = img.format != 'PNG' or 'exif' in img.info
            turned = tagged and img.getexif().get(0x0112, 1) >= 5  # by 90 degrees
            width, height = img.size
    except Exception:  # each format raises its own kinds
        return None
    return (width, height) if turned else (height, width)


def load_class_indices(
    dataset: BaseDataset, index: int, num_classes: int | None = None
) -> np.ndarray:
    """Read the labels of one image as training reads them.

    Args:
        dataset: Labelled data set.
        index: Index of the image.
        num_classes: Number of classes. Defaults to that of the data set.

    Returns:
        np.ndarray: (H, W) uint8, a class or 255 (ignored).

    Raises:
        SetupError: If the file cannot be read or holds another value.
    """
    info = dataset.get_data_info(index)
    if 'mask_map' in info:  # of FolderDataset
        return info['mask_map'].read(info['seg_map_path'], getattr(dataset, 'backend_args', None))
    return to_class_indices(
        read_labels(info['seg_map_path'], getattr(dataset, 'backend_args', None)),
        num_classes or len(dataset.metainfo['classes']),
        info['seg_map_path'],
        reduce_zero_label=bool(info.get('reduce_zero_label')),
        label_map=info.get('label_map'),
    )
