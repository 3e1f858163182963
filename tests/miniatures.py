"""Miniature data sets, and the modules behind the scripts of tools/."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ('grass', 'path', 'sky')


def write_image(path: Path, seed: int, size=(40, 30)) -> Path:
    """Smooth random colours, no black pixel; ``size`` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(1, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(path)
    return path


def write_mask(path: Path, seed: int, size=(40, 30), num_classes=3, void=255) -> Path:
    """Random blocks of all classes, with a void corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    labels = np.arange(24) % num_classes
    rng.shuffle(labels)
    mask = Image.fromarray(labels.reshape(4, 6).astype(np.uint8))
    mask = np.array(mask.resize(size, Image.Resampling.NEAREST))
    mask[:2, :2] = void
    Image.fromarray(mask).save(path)
    return path


class Tree:
    """A folder with 4 labelled images (a0..a3) and 6 unlabelled ones (b0..b5), lists and configs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.labeled = [f'a{i}' for i in range(4)]
        self.unlabeled = [f'b{i}' for i in range(6)]
        for i, name in enumerate(self.labeled + self.unlabeled):
            write_image(self.image(name), i)
            write_mask(self.mask(name), i)
        self.write_list('labeled', self.labeled)
        self.write_list('unlabeled', self.unlabeled)

    def image(self, name: str) -> Path:
        return self.root / 'images' / f'{name}.png'

    def mask(self, name: str) -> Path:
        return self.root / 'labels' / f'{name}.png'

    def write_list(self, kind: str, names: list[str]) -> Path:
        path = self.root / f'{kind}.txt'
        path.write_text(''.join(f'{name}\n' for name in names))
        return path

    def source(self, kind: str, **changes) -> dict:
        """Config of the labelled or the unlabelled images."""
        geometry = [
            dict(type='RandomRelativeResize', ratio_range=(0.5, 2.0)),
            dict(type='InitValidMap'),
            dict(type='PadAllMaps', size=(32, 32)),
            dict(type='RandomCrop', crop_size=(32, 32)),
            dict(type='RandomFlip', prob=0.5),
        ]
        views = ['labeled', 'weak', 'strong']
        pack = [dict(type='PackSemiInputs')]
        strong = [dict(type='PILColorJitter'), dict(type='PILGaussianBlur'), *pack]
        prefix = dict(img_path='images')
        if kind == 'labeled':
            prefix['seg_map_path'] = 'labels'
            geometry[1] = dict(type='LoadSegLabels', num_classes=len(CLASSES))
            geometry[:2] = geometry[1::-1]
            branch = dict(type='MultiBranch', branch_field=views, labeled=pack)
        else:
            branch = dict(type='MultiBranch', branch_field=views, weak=pack, strong=strong)
        cfg = dict(
            type='BaseSegDataset',
            metainfo=dict(classes=CLASSES),
            data_root=str(self.root),
            data_prefix=prefix,
            img_suffix='.png',
            ann_file=f'{kind}.txt',
            serialize_data=False,  # MMEngine collects garbage after it, 0.3 s a data set
            pipeline=[dict(type='LoadImage'), *geometry, branch],
        )
        return {**cfg, **changes}

    def dataset(self, **changes) -> dict:
        """Config of both."""
        cfg = dict(
            type='SemiDataset',
            labeled=self.source('labeled'),
            unlabeled=self.source('unlabeled'),
        )
        return {**cfg, **changes}

    def loader(self, num_workers: int = 0, **changes) -> dict:
        """Config of a data loader of 1 labelled and 2 unlabelled images a batch."""
        cfg = dict(
            batch_size=3,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            sampler=dict(type='MultiSourceSampler', batch_size=3, source_ratio=[1, 2]),
            dataset=self.dataset(),
        )
        return {**cfg, **changes}


def load_tool(name: str):
    """The module behind a script of tools/, e.g. 'splits' or 'dataset_converters/camvid'."""
    path = ROOT / 'tools' / f'{name}.py'
    found = re.search(r'from (mmseg_semi\.[\w.]+) import main', path.read_text())
    if found:
        return importlib.import_module(found[1])
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # worker processes look its functions up
    spec.loader.exec_module(module)
    return module


VOC = ('2007_000032', '2007_000039', '2008_000002', '2009_000001', '2010_000002', '2011_000003')
CITIES = tuple(f'aachen/aachen_00000{i}_000019' for i in range(6))


def write_lists(folder: Path, names) -> None:
    folder.mkdir(parents=True)
    (folder / 'labeled.txt').write_text('\n'.join(names[:2]) + '\n')
    (folder / 'unlabeled.txt').write_text('\n'.join(names[2:]))


def camvid(root: Path) -> None:
    names = [f'0001TP_00{i}' for i in range(6)]
    for i, name in enumerate(names):
        split = 'train' if i < 5 else 'val'
        write_image(root / f'data/camvid/images/{split}/{name}.jpg', i, (480, 360))
        if i in (0, 1, 5):
            write_mask(root / f'data/camvid/labels/{split}/{name}.png', i, (480, 360), 11)
    write_lists(root / 'configs/splits/camvid/46/seed0', names[:5])


def voc(root: Path) -> None:
    base = root / 'data/VOCdevkit/VOC2012'
    for i, name in enumerate(VOC):
        write_image(base / f'JPEGImages/{name}.jpg', i, (500, 375) if i % 2 else (333, 500))
    for i, name in enumerate(VOC[:2]):
        size = (500, 375) if i % 2 else (333, 500)
        write_mask(base / f'SegmentationClassAug/{name}.png', i, size, 21)
    write_mask(base / f'SegmentationClass/{VOC[5]}.png', 5, (500, 375), 21)
    val = base / 'ImageSets/Segmentation/val.txt'
    val.parent.mkdir(parents=True)
    val.write_text(VOC[5])
    write_lists(root / 'data/splits/u2pl/voc/732', VOC[:5])


def cityscapes(root: Path) -> None:
    base = root / 'data/cityscapes'
    for i, name in enumerate(CITIES):
        split = 'train' if i < 5 else 'val'
        write_image(base / f'leftImg8bit/{split}/{name}_leftImg8bit.png', i, (512, 256))
        if i in (0, 1, 5):
            mask = base / f'gtFine/{split}/{name}_gtFine_labelTrainIds.png'
            write_mask(mask, i, (512, 256), 19)
    write_lists(root / 'data/splits/cps/cityscapes/372', CITIES[:5])


ADE = tuple(f'ADE_train_{i:08d}' for i in range(1, 6))


def ade20k(root: Path) -> None:
    """In the published layout: labels are 1 to 150, and 0 where none is."""
    base = root / 'data/ade/ADEChallengeData2016'
    for i, name in enumerate((*ADE, 'ADE_val_00000001')):
        part = 'training' if i < 5 else 'validation'
        write_image(base / f'images/{part}/{name}.jpg', i, (640, 480))
        if i in (0, 1, 5):
            path = write_mask(base / f'annotations/{part}/{name}.png', i, (640, 480), 24, void=0)
            mask = np.array(Image.open(path))
            mask[2:] += 127  # the last classes
            Image.fromarray(mask).save(path)
    write_lists(root / 'data/splits/unimatch/ade20k/1263', ADE)


COCO = tuple(f'{i:012d}' for i in range(9, 14))


def coco(root: Path) -> None:
    base = root / 'data/coco'
    for i, name in enumerate((*COCO, '000000000139')):
        write_image(base / f'{"train2017" if i < 5 else "val2017"}/{name}.jpg', i, (640, 480))
        if i in (0, 1, 5):
            write_mask(base / f'masks/{name}.png', i, (640, 480), 81)
    write_lists(root / 'data/splits/unimatch/coco/925', COCO)
