"""The images and masks to inspect: those that a config names, or those of folders."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from mmseg_semi.data.checks import read_names, resolve_source
from mmseg_semi.data.decoding import IMAGE_SUFFIXES
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.semi_dataset import KEY, SemiDataset
from mmseg_semi.data.transforms import LoadImage, LoadSegLabels
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

ROLES = ('labeled', 'unlabeled', 'val')


@dataclass
class Source:
    """Images that play one role in training, and their loaders.

    Args:
        name: 'labeled', 'unlabeled', 'unlabeled[1]', 'val' or 'test'; for folders, any name.
        role: One of :data:`ROLES`; test images count as 'val'.
        size: Number of images.
        entry: Index of an image -> dict with 'img_path' and, unless unlabelled, 'seg_map_path'.
        load_image: Transform that reads an image, as in training.
        load_labels: Transform that reads a mask, as in training. None for unlabelled images, whose
            masks are never opened.
        classes: Names of the classes, empty if unknown.
        palette: Colours of the classes. Defaults to None.
        backend_args: File backend of the data set. Defaults to None.
        note: Protocol of the lists, for reports.
        own: The description of own data, of which more is known than of lists.
    """

    name: str
    role: str
    size: int
    entry: Callable[[int], dict]
    load_image: Callable[[dict], dict]
    load_labels: Callable[[dict], dict] | None = None
    classes: Sequence[str] = ()
    palette: Sequence[Sequence[int]] | None = None
    backend_args: dict | None = None
    note: str = ''
    own: OwnData | None = None


def sources_of(cfg: Config) -> list[Source]:
    """Find the labelled, unlabelled, validation and test images that a config names.

    Args:
        cfg: A complete config. Its lists and folders must exist; single files need not.

    Raises:
        SetupError: If a list or a folder is missing or empty, the lists do not match their
            protocol, or the sources have different classes.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    train = DATASETS.build({**cfg.train_dataloader.dataset, 'lazy_init': True})
    if isinstance(train, SemiDataset):
        labeled, *pools = train.datasets
    else:
        labeled, pools = train, []
    sources = [dataset_source(labeled, 'labeled', 'labeled', f'{KEY}.labeled')]
    for i, pool in enumerate(pools):
        name = f'unlabeled[{i}]' if len(pools) > 1 else 'unlabeled'
        sources.append(dataset_source(pool, name, 'unlabeled', f'{KEY}.{name}'))
    if isinstance(train, SemiDataset):
        train.identify_protocol()
        sources[0].note = train.protocol['protocol'] or 'none is named'
    seen = []
    for name in ('val', 'test'):
        dataset_cfg = (cfg.get(f'{name}_dataloader') or {}).get('dataset')
        if dataset_cfg is None:
            continue
        files = {key: value for key, value in dataset_cfg.items() if key != 'pipeline'}
        if files not in seen:  # the test set is often the validation set
            seen.append(files)
            key = f'{name}_dataloader.dataset'
            dataset = DATASETS.build({**resolve_source(dataset_cfg, key), 'lazy_init': True})
            if name == 'test' and hasattr(dataset, 'own') and not dataset.own.has_test:
                continue  # the images of val again
            sources.append(dataset_source(dataset, name, 'val', key))
    return sources


def dataset_source(dataset: BaseDataset, name: str, role: str, key: str) -> Source:
    """Take the images of a data set, with the loaders of its pipeline.

    Args:
        dataset: A data set that has not read its names yet.
        name: As in :class:`Source`.
        role: As in :class:`Source`.
        key: Config key of the data set, for errors.

    Raises:
        SetupError: If the data set is no BaseDataset, or its files are missing.
    """
    if not isinstance(dataset, BaseDataset):
        raise SetupError(
            f'{key}.type={type(dataset).__name__} is no BaseDataset and cannot be inspected; set '
            'the data set that it wraps'
        )
    read_names(dataset, key)
    classes = dataset.metainfo.get('classes') or ()
    load_image, load_labels = LoadImage(), None
    if role != 'unlabeled':
        # 255 classes: any value of 8 bits
        load_labels = LoadSegLabels(num_classes=len(classes) or IGNORE)
    for step in dataset.pipeline.transforms:
        if isinstance(step, LoadImage):
            load_image = copy.copy(step)
            load_image.defer = False  # the inspection reads all pixels
        # MMSegmentation's own loader does not check values; other loaders check their own kind
        elif isinstance(step, LoadAnnotations) and type(step) is not LoadAnnotations:
            load_labels = step if role != 'unlabeled' else None
    return Source(
        name,
        role,
        len(dataset),
        dataset.get_data_info,
        load_image,
        load_labels,
        classes,
        dataset.metainfo.get('palette'),
        getattr(dataset, 'backend_args', None),
        own=getattr(dataset, 'own', None),
    )


def folder_source(
    name: str, role: str, images: Path, masks: Path | None = None, num_classes: int | None = None
) -> Source:
    """Take the images below a folder, with the masks of the same names below another folder.

    Args:
        name: Name of the source in reports.
        role: One of :data:`ROLES`.
        images: Folder of images, searched with its subfolders.
        masks: Folder of masks; None for unlabelled images.
        num_classes: Masks hold 0 to num_classes - 1 and 255. None accepts all values.

    Raises:
        SetupError: If a folder is missing, or there is no image.
    """
    for folder in (images, masks):
        if folder is not None and not folder.is_dir():
            raise SetupError(f'{name}: {folder} is no folder; name the folder of the files')
    files = _images_below(images)
    if not files:
        raise SetupError(f'{name}: {images} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    found = {}
    if masks is not None:
        found = {p.relative_to(masks).with_suffix(''): p for p in _images_below(masks)}

    def entry(index: int) -> dict:
        info: dict[str, Any] = dict(img_path=str(files[index]))
        if masks is not None:
            stem = files[index].relative_to(images).with_suffix('')
            info['seg_map_path'] = str(found.get(stem, masks / f'{stem}.png'))
        return info

    load_labels = None if masks is None else LoadSegLabels(num_classes=num_classes or IGNORE)
    classes = [str(number) for number in range(num_classes or 0)]
    return Source(name, role, len(files), entry, LoadImage(), load_labels, classes)


def _images_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
