"""Miniatures of data sets as their publishers give them: true layout, true file formats."""

import json
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
from miniatures import write_image, write_mask
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

# every tenth name is no number in sequence in VOC either
VOC_TRAIN = ('2007_000032', '2007_000039', '2007_000063')
VOC_VAL = ('2007_000033', '2007_000042')
SBD_ONLY = ('2008_000002', '2008_000003', '2009_000014', '2010_000001', '2011_000006')
SBD = (VOC_TRAIN[0], VOC_VAL[0], *SBD_ONLY)
DETECTION_ONLY = ('2012_004331',)


def voc_colours() -> list[int]:
    """VOC's palette, bit by bit as its development kit describes it, flat."""
    flat = []
    for index in range(256):
        red = green = blue = 0
        rest = index
        for shift in range(7, -1, -1):
            red |= (rest & 1) << shift
            green |= (rest >> 1 & 1) << shift
            blue |= (rest >> 2 & 1) << shift
            rest >>= 3
        flat += [red, green, blue]
    return flat


def blocks(seed: int, size: tuple[int, int], values) -> np.ndarray:
    """(H, W) uint8: blocks of ``values``, all of which occur; ``size`` is (width, height)."""
    values = np.asarray(values, np.uint8)
    cells = np.resize(values, (5, max(6, -(-len(values) // 5))))
    np.random.default_rng(seed).shuffle(cells.reshape(-1))
    return np.array(Image.fromarray(cells).resize(size, Image.Resampling.NEAREST))


def write_palette_mask(path: Path, labels: np.ndarray) -> None:
    """A mask as VOC publishes it: indices with a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels, 'P')
    image.putpalette(voc_colours())
    image.save(path)


def voc_labels(name: str, size: tuple[int, int]) -> np.ndarray:
    """What VOC's own mask of an image shows: some classes and void."""
    seed = int(name[-3:])
    return blocks(seed, size, [0, 0, 0, 1 + seed % 20, 15, 20, 255])


def sbd_labels(name: str, size: tuple[int, int]) -> np.ndarray:
    """What SBD's mask shows: other classes, no void."""
    return blocks(int(name[-3:]) + 7, size, [0, 0, 5, 1 + int(name[-2:]) % 20, 18])


def voc_size(name: str) -> tuple[int, int]:
    return (50, 38) if int(name[-1]) % 2 else (34, 50)


def write_voc(root: Path) -> Path:
    """VOCdevkit/VOC2012 with images, palette masks and lists."""
    base = root / 'VOCdevkit/VOC2012'
    names = {*VOC_TRAIN, *VOC_VAL, *SBD_ONLY, *DETECTION_ONLY}
    for i, name in enumerate(sorted(names)):
        write_image(base / f'JPEGImages/{name}.jpg', i, voc_size(name))
        (base / 'Annotations').mkdir(exist_ok=True)
        (base / f'Annotations/{name}.xml').write_text('<annotation></annotation>')
    for name in VOC_TRAIN + VOC_VAL:
        mask = base / f'SegmentationClass/{name}.png'
        write_palette_mask(mask, voc_labels(name, voc_size(name)))
        write_palette_mask(base / f'SegmentationObject/{name}.png', blocks(1, voc_size(name), [1]))
    for folder, lists in (
        ('Segmentation', dict(train=VOC_TRAIN, val=VOC_VAL, trainval=VOC_TRAIN + VOC_VAL)),
        ('Main', dict(train=sorted(names))),
    ):
        for kind, chosen in lists.items():
            path = base / f'ImageSets/{folder}/{kind}.txt'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('\n'.join(chosen) + '\n')
    return root / 'VOCdevkit'


def write_sbd(root: Path) -> Path:
    """benchmark_RELEASE/dataset/{img,cls,inst}, with the structs that its MATLAB files hold."""
    base = root / 'benchmark_RELEASE/dataset'
    for folder in ('cls', 'inst', 'img'):
        (base / folder).mkdir(parents=True)
    for name in SBD:
        labels = sbd_labels(name, voc_size(name))
        borders = np.empty((20, 1), object)
        for i in range(20):
            borders[i, 0] = csc_matrix((labels == i + 1).astype(float))
        present = [[c] for c in sorted(set(labels.ravel().tolist()) - {0})]
        struct = dict(Boundaries=borders, Segmentation=labels, CategoriesPresent=present)
        savemat(base / f'cls/{name}.mat', dict(GTcls=struct), do_compression=True)
        savemat(base / f'inst/{name}.mat', dict(GTinst=dict(Segmentation=labels * 0)))
        write_image(base / f'img/{name}.jpg', 0, voc_size(name))
    (base / 'train.txt').write_text('\n'.join(SBD[2:]) + '\n')
    (base / 'val.txt').write_text('\n'.join(SBD[:2]) + '\n')
    return root / 'benchmark_RELEASE'


CITIES = dict(train=('aachen', 'bremen'), val=('munster',))
FRAMES = {
    split: [f'{city}/{city}_00000{i}_000019' for city in cities for i in range(3)]
    for split, cities in CITIES.items()
}


def write_cityscapes(root: Path, labels: tuple[str, ...], size: tuple[int, int] = (96, 48)) -> Path:
    """leftImg8bit and gtFine in the folders and under the names of Cityscapes.

    ``labels`` are the names of the ids.
    """
    for split, names in FRAMES.items():
        for i, name in enumerate(names, 50 * (split == 'val')):
            write_image(root / f'leftImg8bit/{split}/{name}_leftImg8bit.png', i, size)
            ids = blocks(i, size, np.arange(len(labels)))
            stem = root / f'gtFine/{split}/{name}_gtFine'
            stem.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(ids).save(f'{stem}_labelIds.png')
            Image.fromarray(ids.astype(np.uint16)).save(f'{stem}_instanceIds.png')
            Image.fromarray(np.stack([ids] * 3, -1)).save(f'{stem}_color.png')
            Path(f'{stem}_polygons.json').write_text(json.dumps(polygons(ids, labels)))
    test = root / 'leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png'
    write_image(test, 9, size)
    dummy = root / 'gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png'
    write_mask(dummy, 9, size, num_classes=3, void=0)
    return root


def polygons(ids: np.ndarray, labels: tuple[str, ...]) -> dict:
    """An annotation of one rectangle a run of equal ids in a row, in Cityscapes' form."""
    height, width = ids.shape
    objects = []
    for y in range(height):
        edges = [0, *(np.flatnonzero(np.diff(ids[y].astype(int))) + 1).tolist(), width]
        for left, right in zip(edges, edges[1:], strict=False):
            corners = [[left, y], [right - 1, y], [right - 1, y], [left, y]]
            objects.append(dict(label=labels[ids[y, left]], polygon=corners))
    return dict(imgHeight=height, imgWidth=width, objects=objects)


def write_sun_numbered(root: Path, first_train: int = 5051) -> Path:
    """The images and the 37-class masks of sunrgbd-meta-data; tests come before training images."""
    folders = {'SUNRGBD-test_images': range(1, 4)}
    folders['SUNRGBD-train_images'] = range(first_train, first_train + 6)
    for folder, numbers in folders.items():
        for number in numbers:
            size = (73, 53) if number % 2 else (56, 43)
            write_image(root / folder / f'img-{number:06d}.jpg', number, size)
            path = root / f'sunrgbd_train_test_labels/img-{number:06d}.png'
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(blocks(number, size, np.arange(38))).save(path)
    return root


SCENES = (
    'kv1/NYUdata/NYU0001',
    'kv1/b3dodata/img_0063',
    'kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103-resize',
    'realsense/lg/2014_10_21-18_16_30-1311000073',
    'xtion/sun3ddata/brown_bm_1/brown_bm_1/0000103-000003434198',
)
SCENES_TRAIN = SCENES[1:4]


def write_sun_official(root: Path) -> Path:
    """SUNRGBD/SENSOR/.../image/NAME.jpg and the MATLAB tables of the toolbox, version 7.3 for masks."""
    old = '/n/fs/sun3d/data/SUNRGBD/'
    toolbox = root / 'SUNRGBDtoolbox'
    (toolbox / 'Metadata').mkdir(parents=True)
    (toolbox / 'traintestSUNRGBD').mkdir()
    fields = ('sequenceName', 'rgbpath', 'rgbname', 'depthname')
    meta = np.empty((1, len(SCENES)), [(name, object) for name in fields])
    for i, scene in enumerate(SCENES):
        name = f'{i:07d}.jpg'
        write_image(root / f'SUNRGBD/{scene}/image/{name}', i, (60, 44))
        write_image(root / f'SUNRGBD/{scene}/fullres/{name}', i, (80, 60))
        (root / f'SUNRGBD/{scene}/seg.mat').write_bytes(b'MATLAB 5.0 MAT-file')
        meta[0, i] = (f'SUNRGBD/{scene}', f'{old}{scene}/image/{name}', name, f'{i:07d}.png')
    savemat(toolbox / 'Metadata/SUNRGBDMeta.mat', dict(SUNRGBDMeta=meta))
    splits = {}
    for name, chosen in (
        ('alltrain', SCENES_TRAIN),
        ('alltest', [s for s in SCENES if s not in SCENES_TRAIN]),
    ):
        splits[name] = np.array([f'{old}{scene}' for scene in chosen], object).reshape(1, -1)
    savemat(toolbox / 'traintestSUNRGBD/allsplit.mat', splits)
    with h5py.File(toolbox / 'Metadata/SUNRGBD2Dseg.mat', 'w') as file:
        refs = file.create_dataset('SUNRGBD2Dseg/seglabel', (len(SCENES), 1), h5py.ref_dtype)
        for i in range(len(SCENES)):
            labels = blocks(i, (60, 44), np.arange(38))
            # MATLAB stores columns first
            refs[i, 0] = file.create_dataset(f'#refs#/{i}', data=labels.T).ref
    return root


def pack(archive: Path, *folders: Path) -> Path:
    """A tar, tgz or zip of folders, each under its own name."""
    if archive.suffix == '.zip':
        with zipfile.ZipFile(archive, 'w') as file:
            for folder in folders:
                for path in sorted(folder.rglob('*')):
                    file.write(path, path.relative_to(folder.parent))
    else:
        compression = '' if archive.suffix == '.tar' else ':gz'
        with tarfile.open(archive, f'w{compression}') as file:
            for folder in folders:
                file.add(folder, folder.name)
    return archive


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file, by path."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
