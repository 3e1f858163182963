"""A run whose classes, images and folder have names that are markup, for the tests of reports."""

from pathlib import Path

from mmengine.config import Config
from tiny_semi import tiny_data

CLASS = '<script>alert(1)</script>'
IMAGE = '"><img src=x onerror=alert(1)>'
FOLDER = "<b onclick='alert(1)'>run"


def report_config(folder: Path) -> Config:
    """FixMatch for 8 iterations with validations at 4 and 8, two validation images and 11 classes."""
    cfg = tiny_data(folder, 'fixmatch', iterations=8, checkpoint_interval=4, val_interval=4)
    meta = dict(
        classes=[CLASS, *(f'class {i}' for i in range(1, 11))],
        palette=[[20 * i, 255 - 20 * i, 128] for i in range(11)],
    )
    train_data = cfg.train_dataloader.dataset
    for dataset in (train_data.labeled, train_data.unlabeled, cfg.val_dataloader.dataset):
        dataset.update(type='BaseSegDataset', metainfo=meta, seg_map_suffix='.png')
    for kind in ('images', 'labels'):
        path = folder / 'data' / kind / 'val/val00.png'
        path.rename(path.with_name(f'{IMAGE}.png'))
    cfg.model.pseudo_label = dict(type='ConfidenceThreshold', threshold=0.0)
    cfg.default_hooks.update(
        class_shares=dict(type='ClassShareHook'),
        pictures=dict(type='PseudoLabelHook', interval=4, num_images=1, side=32),
        report=dict(type='ReportHook'),
    )
    cfg.dump(cfg.filename)
    return cfg
