"""A run so small that it can be started a thousand times, or go on for a day, on one core: DDFP on a few generated scenes."""

from pathlib import Path

from mmseg_semi.preparing.quickstart import generate

CONFIG = 'mmseg_semi::quickstart/ddfp.py'


def small_run(folder: str | Path, iterations: int) -> tuple[str, list[str]]:
    """Draw the scenes of a small run and name its config.

    Args:
        folder: The scenes are drawn in ``scenes`` of it, unless they are there.
        iterations: Of the run; a validation every third part.

    Returns:
        tuple[str, list[str]]: The config, and values of ``--cfg-options``.
    """
    scenes = Path(folder).absolute() / 'scenes'
    generate(scenes, num_labeled=8, num_unlabeled=16, num_val=4, size=(64, 64), progress=False)
    data = [
        f'{place}.data_root={scenes}'
        for place in (
            *('train_dataloader.dataset.labeled', 'train_dataloader.dataset.unlabeled'),
            *('val_dataloader.dataset', 'test_dataloader.dataset'),
        )
    ]
    student = 'model.student'
    return CONFIG, [
        *data,
        f'{student}.backbone.base_channels=8',
        f'{student}.backbone.stem_channels=8',
        f'{student}.decode_head.in_channels=8,64',
        f'{student}.decode_head.channels=16',
        f'{student}.decode_head.low_channels=8',
        'model.objectives.2.samples=64',
        'model.objectives.2.hidden_channels=16',
        'model.iters_per_epoch=8',  # labels alone, self-training from 8, the perturbation from 16
        'train_dataloader.batch_size=4',
        'train_dataloader.sampler.batch_size=4',
        'train_dataloader.sampler.source_ratio=2,2',
        f'train_cfg.max_iters={iterations}',
        f'train_cfg.val_interval={max(1, iterations // 3)}',
        f'param_scheduler.0.end={iterations}',
    ]
