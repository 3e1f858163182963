"""Projects that work, in which a mistake is then made. They are small: training them takes a second."""

import copy
import functools
import itertools
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from drawn_exports import EXPORTS
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from tiny_semi import CROP, tiny_data, write_pictures

from mmseg_semi.preparing.annotations import read_export
from mmseg_semi.preparing.shards import write_shards

from .grammar import Case

NAMES = ('ground', 'plant', 'stone')
SIZE = (48, 36)
"""Width and height of all images."""
LABELED, UNLABELED = 6, 4
TRAIN = ('train', 'config.py', '--work-dir', 'run')
_runs = itertools.count()


def scene(seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) of noisy blocks, and its mask (H, W), both uint8; each mask shows all classes."""
    rng = np.random.default_rng(seed)
    blocks = rng.permutation(np.arange(12) % classes).reshape(3, 4).astype(np.uint8)
    mask = np.array(Image.fromarray(blocks).resize(SIZE, Image.Resampling.NEAREST))
    colours = np.array([[60, 90, 40], [90, 160, 70], [140, 130, 120]])
    picture = colours[mask] + rng.integers(-30, 30, (*mask.shape, 3))
    return picture.clip(0, 255).astype(np.uint8), mask


def save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def draw_own(root: Path) -> None:
    """photos/ and masks/ of the labelled images a0, a1, ...; more/ of the unlabelled ones b0, b1, ..."""
    for i in range(LABELED):
        picture, mask = scene(i)
        save(picture, root / f'photos/a{i}.png')
        save(mask, root / f'masks/a{i}.png')
    for i in range(UNLABELED):
        save(scene(100 + i)[0], root / f'more/b{i}.png')


@functools.cache
def templates() -> Path:
    """A folder with ``own`` and ``listed``, the files of two projects."""
    root = Path(tempfile.mkdtemp(prefix='fuzz_'))
    draw_own(root / 'own')
    write_pictures(root / 'listed')
    return root


@functools.cache
def _listed_config(method: str) -> dict:
    with tempfile.TemporaryDirectory(prefix='fuzz_') as folder:
        config = tiny_data(Path(folder), method, iterations=2).to_dict()
    config['work_dir'] = None
    return _relative(config, f'{folder}/')


def _relative(value: Any, folder: str) -> Any:
    """A value with all paths relative to a folder."""
    if isinstance(value, dict):
        return {key: _relative(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_relative(item, folder) for item in value)
    return value.removeprefix(folder) if isinstance(value, str) else value


def listed_config(method: str = 'fixmatch') -> dict:
    """The config of a training on lists, as plain values; all paths are relative to the working folder."""
    config = copy.deepcopy(_listed_config(method))
    # runs in one process must not share their logs
    config['experiment_name'] = config['visualizer']['name'] = f'fuzz_{next(_runs)}'
    return config


def own_config() -> dict:
    """The same on a user's own folders."""
    config = listed_config()
    config['model']['student']['decode_head']['num_classes'] = len(NAMES)
    load = [dict(type='LoadAnyImage'), dict(type='LoadAnyLabels')]
    crop = [dict(type='RandomScaleCrop', crop_size=CROP), dict(type='RandomFlip', prob=0.5)]
    for part in ('labeled', 'unlabeled'):
        *_, split = config['train_dataloader']['dataset'][part]['pipeline']
        begin = load if part == 'labeled' else [load[0], dict(type='InitValidMap')]
        config['train_dataloader']['dataset'][part] = dict(
            type='FolderDataset', data_file='data.yaml', part=part, pipeline=[*begin, *crop, split]
        )
    for loader in ('val_dataloader', 'test_dataloader'):
        config[loader]['dataset'] = dict(
            type='FolderDataset',
            data_file='data.yaml',
            part='val',
            pipeline=[*load, dict(type='PackSegInputs')],
        )
    return config


# -- grounds -------------------------------------------------------------------------------------------------------------------


def own(case: Case) -> None:
    """A training on a user's own folders."""
    shutil.copytree(templates() / 'own', case.folder, dirs_exist_ok=True)
    case.config = own_config()
    case.data = dict(
        labeled=dict(images='photos', masks='masks'),
        unlabeled=['more'],
        val=0.34,
        classes=list(NAMES),
    )
    case.command = [*TRAIN]


def listed(case: Case, method: str = 'fixmatch') -> None:
    """A training on two lists of images."""
    shutil.copytree(templates() / 'listed', case.file('data'))
    case.config = listed_config(method)
    case.command = [*TRAIN]


def ddfp(case: Case) -> None:
    """The same by DDFP, which has phases, a flow and a hook of its own."""
    listed(case, 'ddfp')


def shards(case: Case) -> None:
    """A training whose unlabelled images lie in two tar shards."""
    listed(case)
    pack(case.file('data/images/train'), case.file('shards'))
    unlabeled = case.part('train_dataloader.dataset.unlabeled')
    case.set(
        'train_dataloader.dataset.unlabeled',
        dict(type='ShardedImages', shards='shards', pipeline=unlabeled['pipeline']),
    )


def pack(images: Path, out: Path, per_shard: int = 3) -> None:
    """Pack the unlabelled images of :func:`listed`, three a shard."""
    names = [f'train{i:02d}.png' for i in range(4, 10)]
    write_shards(names, lambda name: (images / name).read_bytes(), out, per_shard, None)


def packed(case: Case) -> None:
    """Two shards of another program, without indexes."""
    listed(case)
    case.config = None
    pack(case.file('data/images/train'), case.file('shards'))
    for path in case.file('shards').glob('*.*t'):
        path.unlink()
    case.file('shards/pool.json').unlink()
    case.command = ['shards', 'index', 'shards']


def checkpoint(case: Case) -> None:
    """A training on lists, and a complete checkpoint of it in ``weights.pth``."""
    listed(case)
    case.file('weights.pth').write_bytes(checkpoint_bytes())


@functools.cache
def checkpoint_bytes() -> bytes:
    """A checkpoint of the config of :func:`listed`, with weights alone, as ``--load-from`` takes it."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(listed_config()['model']))
    path = Path(tempfile.mkdtemp(prefix='fuzz_'), 'weights.pth')
    torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=2)), path)
    return path.read_bytes()


def of_a_tool(case: Case, name: str) -> None:
    """An annotation tool's export, with more images beside it, and the command that makes a project of it."""
    shutil.copytree(EXPORTS / name, case.file('export'))
    more_images(case)
    case.command = ['init', 'export', '--unlabeled', 'more', '--out', 'project']


def more_images(case: Case) -> None:
    for i in range(3):
        save(scene(200 + i)[0], case.file(f'more/c{i}.png'))


def with_images(case: Case, export: Path) -> None:
    """Draw the images that an export names and does not have, in the sizes that it notes."""
    for image in read_export(export).images:
        if image.path is None and image.content is None:
            width, height = image.size or SIZE
            noise = np.random.default_rng(0).integers(0, 255, (height, width, 3))
            save(noise.astype(np.uint8), case.file('export/images', image.name))


def labelme(case: Case) -> None:
    of_a_tool(case, 'labelme')


def datumaro(case: Case) -> None:
    of_a_tool(case, 'datumaro')


def label_studio(case: Case) -> None:
    of_a_tool(case, 'label_studio')
    case.command[1] = 'export/project.json'
    with_images(case, case.file('export/project.json'))


def cvat(case: Case) -> None:
    of_a_tool(case, 'cvat')
    with_images(case, case.file('export'))


def yolo(case: Case) -> None:
    """YOLO segmentation as a tool exports it."""
    for i, name in enumerate('abcd'):
        save(scene(i)[0], case.file(f'export/images/train/{name}.png'))
        label = case.file(f'export/labels/train/{name}.txt')
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f'{i % 2} 0.1 0.1 0.6 0.1 0.6 0.7\n')
    case.file('export/data.yaml').write_text('train: images/train\nnames: [leaf, stone]\n')
    more_images(case)
    case.command = ['init', 'export', '--unlabeled', 'more', '--out', 'project']


def supervisely(case: Case) -> None:
    """A project with two annotated images."""
    of_a_tool(case, 'supervisely')
    annotations = case.file('export/train/ann')
    shutil.copy(annotations / 'a.png.json', annotations / 'b.png.json')


def voc(case: Case) -> None:
    """Masks in VOC's folders, as CVAT exports them, of two images."""
    of_a_tool(case, 'cvat_masks')
    masks = case.file('export/SegmentationClass/day 1')
    shutil.copy(masks / 'a.png', masks / 'b.png')


def coco(case: Case) -> None:
    """A COCO file of four annotated images, and images without."""
    images, annotations = [], []
    for i in range(4):
        save(scene(i)[0], case.file(f'photos/a{i}.png'))
        images.append(dict(id=i, file_name=f'a{i}.png', width=SIZE[0], height=SIZE[1]))
        ring = [4, 4, 30, 4, 30, 20 + i, 4, 20 + i]
        annotations.append(
            dict(id=i, image_id=i, category_id=1 + i % 2, segmentation=[ring], iscrowd=0)
        )
    more_images(case)
    categories = [dict(id=1, name='plant'), dict(id=2, name='stone')]
    case.content = dict(images=images, annotations=annotations, categories=categories)
    case.command = [
        'init',
        'coco.json',
        '--images',
        'photos',
        '--unlabeled',
        'more',
        '--out',
        'project',
    ]


def bare(case: Case) -> None:
    """Images alone: for commands that need no more, or not even these."""
    draw_own(case.folder)


GROUNDS = {
    'own folders': own,
    'lists': listed,
    'lists, DDFP': ddfp,
    'shards': shards,
    'shards without indexes': packed,
    'a checkpoint': checkpoint,
    'COCO': coco,
    'labelme': labelme,
    'Label Studio': label_studio,
    'CVAT': cvat,
    'Datumaro': datumaro,
    'YOLO': yolo,
    'Supervisely': supervisely,
    'VOC': voc,
}
"""Projects by name: nothing is refused of them."""


def sound_case(name: str, folder: Path) -> Case:
    """A project without a mistake.

    Args:
        name: Of :data:`GROUNDS`.
        folder: An empty folder.
    """
    case = Case(folder, np.random.default_rng(0))
    GROUNDS[name](case)
    if name == 'a checkpoint':
        case.command += ['--load-from', 'weights.pth']
    write(case)
    return case


# -- files ---------------------------------------------------------------------------------------------------------------------


def write(case: Case) -> None:
    """Write the files that a case describes."""
    if case.config is not None:
        case.texts.setdefault('config.py', config_text(case.config))
    if case.data is not None:
        case.texts.setdefault('data.yaml', yaml.safe_dump(case.data, sort_keys=False))
    if case.content is not None:
        case.texts.setdefault('coco.json', json.dumps(case.content))
    for name, text in case.texts.items():
        path = case.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def config_text(config: dict) -> str:
    """A config file of plain values."""
    return ''.join(f'{key} = {_text(value)}\n' for key, value in config.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return '{' + ', '.join(f'{key!r}: {_text(item)}' for key, item in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ', '.join(map(_text, value)) + ']'
    if isinstance(value, tuple):
        return '(' + ''.join(f'{_text(item)}, ' for item in value) + ')'
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)
