"""The images of a split as plain folders with a description, as ``docs/custom_data.md`` takes them, or as a COCO export."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_semi.data.semi_dataset import image_names
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.preparing.image_files import decode
from mmseg_semi.runtime.prediction.coco import CocoFile


def export_folders(cfg: Config, out: Path) -> dict[str, int]:
    """Copy what a config trains and validates on into folders.

    ``out`` gets ``photos`` and ``annotations`` (labelled images and masks), ``more_photos`` (unlabelled
    images, without masks), ``val_photos`` and ``val_annotations``, and ``data.yaml``, which describes
    them. Masks keep their values. Masks of unlabelled images are not opened and not copied.

    Args:
        cfg: A config with a ``SemiDataset``.
        out: A folder that does not exist yet, or is empty.

    Returns:
        dict[str, int]: Number of files by folder.

    Raises:
        SetupError: If ``out`` holds files, or the config's images are no files with masks of class
            indices.

    Example:
        >>> from mmseg_semi.runtime.configs import load_config
        >>> cfg = load_config('configs/fixmatch/camvid_clips_12_lite0.py')  # doctest: +SKIP
        >>> export_folders(cfg, Path('data/own'))['more_photos']  # doctest: +SKIP
        273
    """
    labeled, unlabeled, val = _sources(cfg, out)
    counts = {}
    for source, photos, masks in (
        (labeled, 'photos', 'annotations'),
        *((pool, 'more_photos', None) for pool in unlabeled),
        (val, 'val_photos', 'val_annotations'),
    ):
        _check_masks(source)
        for folder, number in _copy(source, out, photos, masks).items():
            counts[folder] = counts.get(folder, 0) + number
    write_whole(out / 'data.yaml', _describe(labeled.metainfo['classes'], bool(unlabeled)))
    return counts


def export_coco(cfg: Config, out: Path) -> dict[str, int]:
    """Write what a config trains and validates on as an annotation tool exports COCO.

    ``out`` gets ``images/train`` and ``images/val``, and ``annotations/instances_train.json`` and ``instances_val.json``, which name
    all images and annotate, by one RLE for each class, the labelled ones and those of validation. Ignored pixels are in no
    annotation. Masks of unlabelled images are not opened.

    Args:
        cfg: A config with a ``SemiDataset``.
        out: A folder that does not exist yet, or is empty.

    Returns:
        dict[str, int]: Images of each kind.

    Raises:
        SetupError: As :func:`export_folders`; pycocotools is not installed.
    """
    labeled, unlabeled, val = _sources(cfg, out)
    counts = {}
    for part, kinds in (
        ('train', [('labelled', labeled), *(('unlabelled', pool) for pool in unlabeled)]),
        ('val', [('validation', val)]),
    ):
        file = CocoFile(labeled.metainfo['classes'], 'rle')
        for kind, source in kinds:
            _check_masks(source)
            _copy(source, out, f'images/{part}', None)
            for name, info in _named(source):
                if kind == 'unlabelled':
                    width, height = Image.open(info['img_path']).size
                    file.add_image(name, width, height)
                else:
                    labels = decode(Path(info['seg_map_path']).read_bytes(), info['seg_map_path'])
                    file.add(name, np.asarray(labels))
            counts[kind] = counts.get(kind, 0) + len(source)
        file.write(out / f'annotations/instances_{part}.json')
    return counts


def _sources(cfg: Config, out: Path) -> tuple[BaseDataset, list[BaseDataset], BaseDataset]:
    """Labelled, unlabelled and validation images of a config; refuses a folder that holds files."""
    if out.exists() and any(out.iterdir()):
        raise SetupError(f'{out} holds files; give the name of a new folder')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    train = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if train.get('type') != 'SemiDataset':
        raise SetupError(
            f"train_dataloader.dataset.type is {train.get('type')!r}, expected 'SemiDataset'"
        )
    labeled, *unlabeled = DATASETS.build(train).datasets
    return labeled, unlabeled, DATASETS.build(cfg.val_dataloader.dataset)


def _check_masks(source: BaseDataset) -> None:
    if getattr(source, 'reduce_zero_label', False) or getattr(source, 'label_map', None):
        raise SetupError(
            f'{type(source).__name__} changes the values of its masks (reduce_zero_label or '
            'label_map), so copies would have other classes; write the masks anew'
        )


def _copy(source: BaseDataset, out: Path, photos: str, masks: str | None) -> dict[str, int]:
    wanted = [('img_path', photos)] + ([('seg_map_path', masks)] if masks else [])
    for i, name in enumerate(image_names(source)):
        info: dict[str, Any] = source.get_data_info(i)
        for key, folder in wanted:
            path = Path(info[key])
            target = out / folder / (name + path.suffix)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise SetupError(f'{path}: {target} is there already; two images have one name')
            shutil.copyfile(path, target)
    return {folder: len(source) for _, folder in wanted}


def _named(source: BaseDataset) -> Iterator[tuple[str, dict]]:
    """Each image's file name below its folder of copies, and its entry."""
    for i, name in enumerate(image_names(source)):
        info = source.get_data_info(i)
        yield name + Path(info['img_path']).suffix, info


def _describe(classes: Sequence[str], unlabeled: bool) -> str:
    lines = ['labeled: {images: photos, masks: annotations}']
    lines += ['unlabeled: [more_photos]'] * unlabeled
    lines += [
        'val: {images: val_photos, masks: val_annotations}',
        # JSON strings are YAML strings
        f'classes: [{", ".join(json.dumps(name) for name in classes)}]',
    ]
    return '\n'.join(lines) + '\n'
