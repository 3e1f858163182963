"""The settings of a project's training: network, crop, schedule, each with its reason; and the configs that hold them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from mmseg_semi.errors import SetupError

GIB = 2**30

LITE_FRAME = 257
LITE_CROP = 161
GPU_FRAME = 1025
MANY_LABELS = 24
"""Labelled images from which the longer schedule is taken."""


@dataclass(frozen=True)
class Machine:
    """Where the training will run.

    Attributes:
        gpu: Name of the GPU, or None.
        memory: Its free memory in bytes, 0 without one.
        cores: Of the processor.
    """

    gpu: str | None = None
    memory: int = 0
    cores: int = 1


@dataclass(frozen=True)
class Settings:
    """What the configs of a project say.

    Attributes:
        base: Config of the package to begin with, below ``configs/``.
        supervised: The same for labelled images alone.
        frame_size: Long side of images in pixels, to which training and inference bring them.
        crop_size: Side of training crops in pixels.
        ratio_range: Scales of training crops, relative to the frame.
        iterations: Length of the training.
        epochs: In how many parts the recipe divides it; its phases begin at these.
        validations: How often it validates.
        batch_size: Labelled images of a step, and as many unlabelled ones.
        strong: Name of the views of unlabelled images in the base.
        reasons: (what, value, why) for the table.
    """

    base: str
    supervised: str
    frame_size: int
    crop_size: int
    ratio_range: tuple[float, float]
    iterations: int
    epochs: int
    validations: int
    batch_size: int
    strong: str
    reasons: tuple[tuple[str, str, str], ...]


def this_machine() -> Machine:
    """The machine that this process runs on."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    )
    if not torch.cuda.is_available():
        return Machine(cores=cores)
    return Machine(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0], cores)


def choose_settings(
    sizes: Sequence[tuple[int, int]],
    labelled: int,
    machine: Machine,
    frame_size: int | None = None,
    iterations: int | None = None,
) -> Settings:
    """Choose network, crop and schedule.

    Args:
        sizes: (width, height) of the annotated images.
        labelled: Number of those that train.
        machine: Where the training runs.
        frame_size: The option ``--frame-size``; None chooses by the images' sizes.
        iterations: The option ``--iterations``; None chooses by ``labelled``.

    Raises:
        SetupError: If an option is too small.

    Example:
        >>> chosen = choose_settings([(640, 480)] * 12, 10, Machine(cores=2))
        >>> chosen.base, chosen.frame_size, chosen.crop_size, chosen.iterations
        ('own_data/fixmatch_lite0.py', 257, 161, 600)
    """
    check_options(frame_size, iterations)
    long_side = int(median(max(size) for size in sizes))
    step = next((row for row in _GPU_STEPS if machine.memory >= row[0] * GIB), None)
    if machine.gpu is None or step is None:
        return _lite(long_side, labelled, machine, frame_size, iterations)
    return _gpu(long_side, labelled, machine, step, frame_size, iterations)


def check_options(frame_size: int | None, iterations: int | None) -> None:
    """Refuse options of :func:`choose_settings` that are too small.

    Raises:
        SetupError: If one is.
    """
    if frame_size is not None and frame_size < 33:
        raise SetupError(f'--frame-size {frame_size}: expected at least 33 pixels')
    if iterations is not None and iterations < 8:
        raise SetupError(f'--iterations {iterations}: expected at least 8')


# GiB of free memory, crop and labelled images of a step; the first that fits. A step of own_data/ddfp.py keeps about 0.17 GiB for each image
# of 193 x 193 (tools/benchmark.py, float32), which is 1.2 GiB for one of 513 x 513; a third was added for what a GPU's libraries take.
_GPU_STEPS = ((14, 513, 4), (8, 513, 2), (5, 321, 2))


def _side(pixels: float) -> int:
    """The nearest side 16 m + 1, on which the pixels of the network's maps lie exactly."""
    return max(2, round((pixels - 1) / 16)) * 16 + 1


def _frame(long_side: int, largest: int, frame_size: int | None) -> tuple[int, str]:
    """The long side of images in training, and why."""
    if frame_size is not None:
        return _side(
            frame_size
        ), f'as --frame-size says, rounded to 16 m + 1; images have a long side of {long_side}'
    if long_side <= largest:
        return _side(long_side), f'the long side of the images is {long_side}'
    return (
        largest,
        f'images of {long_side} are made {long_side / largest:.1f} times smaller; if objects become too thin, --frame-size makes it larger, in the square of the time',
    )


def _lite(
    long_side: int, labelled: int, machine: Machine, frame_size: int | None, iterations: int | None
) -> Settings:
    """A network that trains on a CPU."""
    frame, why_frame = _frame(long_side, LITE_FRAME, frame_size)
    crop = _side((frame - 1) * (LITE_CROP - 1) / (LITE_FRAME - 1) + 1)
    steps, why_steps = _steps(
        iterations,
        labelled,
        600,
        1200,
        'docs/results.md: with 46 labels, 1,200 steps in place of 600 added six points',
    )
    if machine.gpu is None:
        why = f'there is no GPU; it trains on {machine.cores} CPU cores'
    else:
        why = f'{machine.gpu} has {machine.memory / GIB:.1f} GiB free, and a ResNet-50 needs {_GPU_STEPS[-1][0]}'
    return Settings(
        base='own_data/fixmatch_lite0.py',
        supervised='own_data/supervised_lite0.py',
        frame_size=frame,
        crop_size=crop,
        ratio_range=(0.75, 1.5),
        iterations=steps,
        epochs=8,
        validations=8,
        batch_size=4,
        strong='to_both_lite',
        reasons=(
            ('network', 'EfficientNet-Lite0, FixMatch', why),
            ('long side of images', str(frame), why_frame),
            (
                'crops',
                f'{crop} x {crop}',
                'five eighths of it, the share that was measured on CamVid',
            ),
            ('steps', f'{steps:,}', why_steps),
        ),
    )


def _gpu(
    long_side: int,
    labelled: int,
    machine: Machine,
    step: tuple[int, int, int],
    frame_size: int | None,
    iterations: int | None,
) -> Settings:
    """A ResNet-50, with as large a step as the GPU's memory takes."""
    least, largest_crop, batch = step
    frame, why_frame = _frame(long_side, GPU_FRAME, frame_size)
    crop = min(largest_crop, frame)
    steps, why_steps = _steps(iterations, labelled, 10000, 20000, "the package's recipe has 20,000")
    memory = f'{machine.gpu} has {machine.memory / GIB:.1f} GiB free, at least {least}'
    return Settings(
        base='own_data/ddfp.py',
        supervised='own_data/supervised.py',
        frame_size=frame,
        crop_size=crop,
        ratio_range=(0.5, 2.0),
        iterations=steps,
        epochs=40,
        validations=20,
        batch_size=batch,
        strong='to_both',
        reasons=(
            ('network', 'ResNet-50, DDFP', memory),
            ('long side of images', str(frame), why_frame),
            ('crops', f'{crop} x {crop}', f'{largest_crop} for this memory, at most the image'),
            ('images a step', f'{batch} labelled, {batch} unlabelled', 'likewise'),
            ('steps', f'{steps:,}', why_steps),
        ),
    )


def _steps(
    iterations: int | None, labelled: int, few: int, many: int, source: str
) -> tuple[int, str]:
    """Length of the training, and why."""
    if iterations is not None:
        return iterations, 'as --iterations says'
    if labelled < MANY_LABELS:
        return few, f'{labelled} labelled images train; {many:,} from {MANY_LABELS} on ({source})'
    return many, f'{labelled} labelled images train ({source})'


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
    dict(type='Resize', scale=(side, side), keep_ratio=True, backend='pillow')
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
