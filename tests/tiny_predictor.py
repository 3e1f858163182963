"""A trained run in miniature for the commands that predict: its folder, with config, data and one checkpoint."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from tiny_semi import tiny_data, tiny_model

from mmseg_semi.heads.two_stage import two_stage

NAMES = ('soil', 'crop', 'weed')
DATA = (
    'labeled: {images: photos, masks: annotations}\n'
    'val: 0.5\n'
    'classes: {soil: 7, crop: 100-120, weed: [3, 4]}\n'
    'ignore: 200\n'
)


def write_photos(folder: Path, sizes, seed: int = 0, suffix: str = '.png') -> list[Path]:
    """Photographs of smooth colours: of each (height, width) one."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, paths = np.random.default_rng(seed), []
    for index, (height, width) in enumerate(sizes):
        coarse = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        paths.append(folder / f'p{index}{suffix}')
        picture.save(paths[-1])
    return paths


def tiny_run(folder: Path, resize: int | None = None, own: bool = True, **changes) -> Path:
    """The folder of a run of three classes, whose weights tell colours apart.

    Args:
        folder: An empty folder; the run lies in ``folder/run``, own data in ``folder/own``.
        resize: Long side to which the test pipeline brings images; None leaves them as they are.
        own: Whether the config names own data (``DATA``: four photographs of 48 x 36 pixels) and their loader.
        changes: Further keys of the config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cfg = tiny_data(folder, 'fixmatch')
    cfg.model.student.decode_head.num_classes = 3
    load = (
        dict(type='LoadAnyImage')
        if own
        else dict(type='LoadImageFromFile', imdecode_backend='pillow')
    )
    steps = [] if resize is None else [dict(type='Resize', scale=(resize, resize), keep_ratio=True)]
    cfg.test_pipeline = [load, *steps, dict(type='PackSegInputs')]
    if own:
        photos = write_photos(folder / 'own/photos', [(36, 48)] * 4)
        (folder / 'own/annotations').mkdir()
        for path in photos:  # never opened
            (folder / 'own/annotations' / path.name).write_bytes(b'no picture')
        (folder / 'own/data.yaml').write_text(DATA)
        data = dict(type='FolderDataset', data_file=str(folder / 'own/data.yaml'))
        cfg.train_dataloader.dataset.labeled = dict(
            **data, pipeline=cfg.train_dataloader.dataset.labeled.pipeline
        )
        cfg.test_dataloader.dataset = dict(**data, part='val', pipeline=cfg.test_pipeline)
    for key, value in changes.items():
        cfg[key] = value
    run = folder / 'run'
    run.mkdir()
    Config(cfg.to_dict(), format_python_code=False).dump(run / 'mine.py')
    torch.save(checkpoint(3, NAMES), run / 'iter_2.pth')
    return run


def checkpoint(num_classes: int, names: tuple) -> dict:
    """A checkpoint whose classifier tells features from their mean, so that all classes occur."""
    model = tiny_model('fixmatch', num_classes=num_classes)
    generator = torch.Generator().manual_seed(0)
    coarse = 1.5 * torch.randn(4, 3, 8, 10, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (48, 60), mode='bicubic')
    student = model.student
    with torch.no_grad():
        student.train()
        for _ in range(20):  # running statistics of such images
            student.extract_feat(images)
            student(images)
        student.eval()
        head = student.decode_head
        stages = two_stage(head)
        features = stages.finish(stages.lift(stages.embed(student.extract_feat(images)))).features
        classifier = head.conv_seg
        weight = torch.randn(classifier.weight.shape, generator=generator)
        classifier.weight.copy_(weight / features.std().clamp(min=1e-3))
        mean = features.mean((0, 2, 3))
        classifier.bias.copy_(-(classifier.weight[:, :, 0, 0] @ mean))
        model.teacher.load_state_dict(student.state_dict())
    palette = [[10 * index, 200, 255 - index] for index in range(num_classes)]
    meta = dict(dataset_meta=dict(classes=names, palette=palette), iter=2)
    return dict(state_dict=model.state_dict(), meta=meta)
