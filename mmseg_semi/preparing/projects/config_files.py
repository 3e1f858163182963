"""The text of a project's configs."""

from __future__ import annotations

from mmseg_semi.preparing.projects.settings import Settings


def config_text(
    settings: Settings, num_classes: int, has_test: bool, supervised: bool, made_from: str
) -> str:
    """The text of ``config.py`` or ``supervised.py``.

    Args:
        settings: What was chosen.
        num_classes: Number of classes.
        has_test: Whether data.yaml has a part ``test``.
        supervised: Whether to train on labelled images alone, in the same number of steps.
        made_from: Name of the export, for the first line.
    """
    base = settings.supervised if supervised else settings.base
    title = (
        'Labelled images alone, the comparison for config.py'
        if supervised
        else 'Labelled and unlabelled images'
    )
    pool = '' if supervised else _POOL.format(strong=settings.strong)
    sources = '[1]' if supervised else '[batch_size, batch_size]'
    total = 'batch_size' if supervised else '2 * batch_size'
    # a file name must not end the comment, nor look like one of MMEngine's variables
    source = ''.join(c for c in made_from if c.isprintable() and c not in '{}')
    return _CONFIG.format(
        title=title,
        made_from=source,
        base=base,
        num_classes=num_classes,
        frame=settings.frame_size,
        crop=settings.crop_size,
        batch=settings.batch_size,
        workers=settings.workers,
        iterations=settings.iterations,
        epochs=settings.epochs,
        validations=settings.validations,
        ratio=settings.ratio_range,
        pool=pool,
        sources=sources,
        total=total,
        test="part='test', " if has_test else '',
    )


_POOL = """        unlabeled=dict(
            data_file=data_file,
            pipeline=[_base_.load, _base_.valid, crop, _base_.flip, _base_.{strong}],
        ),
"""

_CONFIG = """# {title}. Written by mmseg-semi init from {made_from}.
_base_ = 'mmseg_semi::{base}'
data_file = '{{{{ fileDirname }}}}/data.yaml'
num_classes = {num_classes}  # as in data.yaml
frame_size = {frame}  # long side of images; predictions have the size of their image
crop_size = ({crop}, {crop})
batch_size = {batch}  # labelled images of a step
iterations = {iterations}
epoch = iterations // {epochs}  # the unit of the recipe's phases

model = dict(
    iters_per_epoch=epoch, student=dict(decode_head=dict(num_classes=num_classes))
)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range={ratio}, base=frame_size)
resize, *other_sizes = [
    dict(type='ResizeAnyImage', scale=(side, side), keep_ratio=True)
    for side in (frame_size, 3 * frame_size // 4, 5 * frame_size // 4)
]
val_pipeline = [_base_.load, resize, _base_.labels, dict(type='PackSegInputs')]
test_pipeline = [_base_.load, resize, dict(type='PackSegInputs')]
tta_pipeline = [
    _base_.load,
    dict(
        type='TestTimeAug',
        transforms=[[resize, *other_sizes], *_base_.tta_pipeline[1].transforms[1:]],
    ),
]
train_dataloader = dict(
    num_workers={workers},
    batch_size={total},
    sampler=dict(batch_size={total}, source_ratio={sources}),
    dataset=dict(
        labeled=dict(
            data_file=data_file,
            pipeline=[_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled],
        ),
{pool}    ),
)
val_dataloader = dict(dataset=dict(data_file=data_file, pipeline=val_pipeline))
test_dataloader = dict(dataset=dict({test}data_file=data_file, pipeline=val_pipeline))
train_cfg = dict(max_iters=iterations, val_interval=max(1, iterations // {validations}))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iterations, by_epoch=False)
]
default_hooks = dict(checkpoint=dict(interval=max(1, iterations // {validations})))
"""
