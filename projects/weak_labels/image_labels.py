"""Image-level labels: which classes an image shows, from VOC's XML files, masks, or a CSV table.

The tools of this project write and read the table: a CSV file with the header ``image,classes`` and
one row per image. A row holds the image's name as in lists, and the names of its classes separated
by ``;`` (empty for an image without any).
"""

from __future__ import annotations

import csv
import difflib
import os.path as osp
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.structures import BaseDataElement
from mmseg.registry import DATASETS, TRANSFORMS
from torch.utils.data import Dataset

from mmseg_semi.data.list_checks import check_list
from mmseg_semi.data.names import NameList
from mmseg_semi.data.randomness import seeded_rng
from mmseg_semi.data.samplers import SampleKey
from mmseg_semi.data.transforms import read_labels, to_class_indices
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole

HEADER = ['image', 'classes']
KINDS = ('csv', 'voc_xml', 'masks')
_MAKE = 'python projects/weak_labels/tools/image_labels.py'


# -------------------------------------------------------------------------------------------- sources


def read_table(path: str | Path, classes: Sequence[str]) -> dict[str, frozenset[str]]:
    """Read the class names of each image from a CSV table.

    Args:
        path: CSV file of two columns, see the module.
        classes: Allowed class names.

    Raises:
        SetupError: If the file is missing, its header or a row has another form, an image has two
            rows, or a class is unknown.
    """
    if not Path(path).is_file():
        raise SetupError(f'table of image labels {path} does not exist; write it: {_MAKE} --help')
    table: dict[str, frozenset[str]] = {}
    with open(path, encoding='utf-8-sig', newline='') as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if [cell.strip() for cell in header] != HEADER:
            raise SetupError(
                f'{path} begins with {",".join(header)!r}, expected the header {",".join(HEADER)!r}'
            )
        for row in rows:
            where = f'{path}, line {rows.line_num}'
            if not row:
                continue
            if len(row) != 2:
                raise SetupError(
                    f'{where}: {len(row)} columns, expected 2: the image and its classes with ; between them'
                )
            name = row[0].strip()
            if name in table:
                raise SetupError(f'{where}: image {name} has a row already; keep one')
            found = [cell.strip() for cell in row[1].split(';') if cell.strip()]
            table[name] = _known(found, classes, where)
    return table


def write_table(path: str | Path, table: Mapping[str, Iterable[str]]) -> None:
    """Write a table atomically, with the classes of an image in alphabetical order."""
    lines = [','.join(HEADER)]
    for name, found in table.items():
        if any(mark in name for mark in ',"\n'):
            raise SetupError(f'image name {name!r} holds a comma or a quote, which a table cannot')
        lines.append(f'{name},{";".join(sorted(found))}')
    write_whole(Path(path), '\n'.join(lines) + '\n')


def read_voc_xml(path: str | Path, classes: Sequence[str]) -> frozenset[str]:
    """Read the class names of the objects, difficult ones included, from a PASCAL VOC annotation.

    Raises:
        SetupError: If the file is missing or no XML, or holds an unknown class.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise SetupError(
            f'annotation {path} does not exist; add it, or take its image out of the list'
        ) from error
    except ElementTree.ParseError as error:
        raise SetupError(f'annotation {path} is no XML ({error}); replace the file') from error
    found = [(item.findtext('name') or '').strip() for item in root.iter('object')]
    return _known(found, classes, str(path))


def classes_of_mask(
    path: str | Path, all_classes: Sequence[str], min_share: float = 0.0
) -> frozenset[str]:
    """Names of the classes that cover more than the share ``min_share`` of a mask's pixels."""
    labels = to_class_indices(read_labels(str(path)), len(all_classes), str(path))
    counts = np.bincount(labels.ravel(), minlength=256)[: len(all_classes)]
    return frozenset(all_classes[i] for i in np.flatnonzero(counts > min_share * labels.size))


def _known(found: Iterable[str], classes: Sequence[str], where: str) -> frozenset[str]:
    for name in found:
        if name not in classes:
            near = difflib.get_close_matches(name, classes, n=1)
            raise SetupError(
                f'{where}: class {name!r} is none of {", ".join(classes)}'
                + (f'; did you mean {near[0]!r}?' if near else '')
            )
    return frozenset(found)


def dataset_classes(kind: str) -> tuple[str, ...]:
    """Class names of a registered MMSegmentation data set.

    Raises:
        SetupError: If there is no such data set, or its class defines no classes.
    """
    found = DATASETS.get(kind)
    classes = getattr(found, 'METAINFO', {}).get('classes')
    if not classes:
        raise SetupError(f"'{kind}' is no registered data set with classes of its own")
    return tuple(classes)


# ------------------------------------------------------------------------------------------- data set


@DATASETS.register_module()
class ImageLabelDataset(Dataset):
    """Data set of images with image-level labels.

    Args:
        kind: Registered MMSegmentation data set that the images belong to, such as
            'PascalVOCDataset'; the order of its classes gives the class indices of masks.
        lists: Path of a list of image names, or several paths, which are joined.
        images: Folder of the images.
        labels: ``dict(kind='csv', path=FILE)``; ``dict(kind='voc_xml', path=FOLDER)``, with one
            NAME.xml per image; or ``dict(kind='masks', path=FOLDER)``, with one NAME.png per image,
            optional ``min_share`` (share of the pixels that a class must exceed to count) and
            ``suffix``.
        pipeline: Transforms, from ``LoadImage`` on.
        img_suffix: Ending of image names. Defaults to '.jpg'.
        leave_out: Classes without image labels, such as 'background'; the classifier has no output
            for them.

    Attributes:
        metainfo: ``classes``, the names of the outputs, and ``indices``, the class index of each in
            masks.
        source_sizes: Number of images, for ``MultiSourceSampler``.

    Raises:
        SetupError: If a list, folder, image or label is missing or wrong.
    """

    def __init__(
        self,
        kind: str,
        lists: str | Sequence[str],
        images: str,
        labels: dict,
        pipeline: Sequence[dict],
        img_suffix: str = '.jpg',
        leave_out: Sequence[str] = (),
    ) -> None:
        every = dataset_classes(kind)
        _known(leave_out, every, 'ImageLabelDataset.leave_out')
        self.all_classes = every
        indices = [i for i, name in enumerate(every) if name not in leave_out]
        self.metainfo = dict(classes=tuple(every[i] for i in indices), indices=tuple(indices))
        self.names = _read_lists([lists] if isinstance(lists, str) else lists)
        self.images, self.img_suffix = images, img_suffix
        if not osp.isdir(images):
            raise SetupError(f'ImageLabelDataset.images: folder {images} does not exist')
        self._check_images()
        found = self._read(dict(labels))
        self.targets = np.array(
            [[name in row for name in self.metainfo['classes']] for row in found], np.float32
        )
        self.pipeline = Compose([TRANSFORMS.build(step) for step in pipeline])
        self.source_sizes = [len(self.names)]

    def _check_images(self) -> None:
        for name in self.names:
            if not osp.isfile(self.path(name)):
                raise SetupError(
                    f'image {self.path(name)} does not exist; fix the list, images or img_suffix'
                )

    def _read(self, source: dict) -> list[frozenset[str]]:
        kind, path = source.pop('kind', None), source.pop('path', None)
        if kind not in KINDS or not path:
            raise SetupError(
                f'ImageLabelDataset.labels: kind={kind!r}, path={path!r}; expected a kind of {KINDS} and a path'
            )
        if kind == 'csv':
            table = read_table(path, self.all_classes)
            missing = [name for name in self.names if name not in table]
            if missing:
                raise SetupError(
                    f'{path} has no row for image {missing[0]} ({len(missing)} of {len(self.names)} are missing); '
                    f'add them: {_MAKE} --help'
                )
            return [table[name] for name in self.names]
        if not osp.isdir(path):
            raise SetupError(f'ImageLabelDataset.labels: folder {path} does not exist')
        if kind == 'voc_xml':
            return [
                read_voc_xml(osp.join(path, f'{name}.xml'), self.all_classes) for name in self.names
            ]
        suffix = source.pop('suffix', '.png')
        return [
            classes_of_mask(osp.join(path, name + suffix), self.all_classes, **source)
            for name in self.names
        ]

    def path(self, name: str) -> str:
        """Path of an image file."""
        return osp.join(self.images, name + self.img_suffix)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: int | SampleKey) -> dict:
        """Load one image; the seed of a :class:`SampleKey` determines all random draws."""
        if isinstance(key, SampleKey):
            with seeded_rng(key.seed):
                return self[key.index]
        name = self.names[key]
        results = dict(
            img_path=self.path(name), name=name, image_labels=self.targets[key], seg_fields=[]
        )
        return self.pipeline(results)


def _read_lists(lists: Sequence[str]) -> list[str]:
    names: list[str] = []
    for path in lists:
        if not osp.isfile(path):
            raise SetupError(
                f'ImageLabelDataset.lists: list {path} does not exist; python tools/splits.py make|import writes lists'
            )
        check_list(path, 'ImageLabelDataset.lists')
        names += NameList(path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SetupError(f'ImageLabelDataset.lists: {twice} is in more than one of {list(lists)}')
    return names


@TRANSFORMS.register_module()
class PackImageLabels(BaseTransform):
    """Pack an image and its labels for the classifier.

    ``inputs`` is (3, H, W) uint8 BGR; ``data_samples.labels`` is (C,) float32 of 0 and 1.
    """

    def transform(self, results: dict) -> dict:
        """Pack one sample."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = BaseDataElement(
            metainfo={key: results[key] for key in ('name', 'img_path', 'img_shape')}
        )
        sample.labels = torch.from_numpy(results['image_labels'])
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
