"""The settings of a project's training: network, crop, schedule, each with its reason."""

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
        workers: Processes that load images, in training.
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
    workers: int
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
    validating: int = 1,
) -> Settings:
    """Choose network, crop and schedule.

    Args:
        sizes: (width, height) of the annotated images.
        labelled: Number of those that train.
        machine: Where the training runs.
        frame_size: The option ``--frame-size``; None chooses by the images' sizes.
        iterations: The option ``--iterations``; None chooses by ``labelled``.
        validating: Number of annotated images that validate; many of them do so less often.

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
        return _lite(long_side, labelled, machine, frame_size, iterations, validating)
    return _gpu(long_side, labelled, machine, step, frame_size, iterations, validating)


def check_options(frame_size: int | None, iterations: int | None, line_width: float = 0.0) -> None:
    """Refuse options of :func:`choose_settings` that are too small, and a width of lines that is none.

    Raises:
        SetupError: If one is.
    """
    if frame_size is not None and frame_size < 33:
        raise SetupError(f'--frame-size {frame_size}: expected at least 33 pixels')
    if iterations is not None and iterations < 8:
        raise SetupError(f'--iterations {iterations}: expected at least 8')
    if not 0 <= line_width < float('inf'):
        raise SetupError(f'--line-width {line_width:g}: expected a width in pixels of 0 or more')


# GiB of free memory, crop and labelled images of a step; the first that fits. On a CPU a step of own_data/ddfp.py with 2 + 2 crops of
# 193 pixels peaks at 1,025 MiB, with 1 + 1 at 840 (tools/benchmark.py, float32): 2.5 KiB a pixel, 5.8 GiB for 4 + 4 crops of 513. Half as
# much again was added for what a GPU's libraries take, which was not measured.
_GPU_STEPS = ((10, 513, 4), (6, 513, 2), (4, 321, 2))


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
        f'images of {long_side} are made {long_side / largest:.1f} times smaller; if objects become '
        'too thin, --frame-size makes it larger, in the square of the time',
    )


def _lite(
    long_side: int,
    labelled: int,
    machine: Machine,
    frame_size: int | None,
    iterations: int | None,
    validating: int,
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
        validations=_validations(8, validating),
        batch_size=4,
        workers=2,
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
    validating: int,
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
        validations=_validations(20, validating),
        batch_size=batch,
        workers=max(2, min(8, machine.cores // 2)),
        strong='to_both',
        reasons=(
            ('network', 'ResNet-50, DDFP', memory),
            ('long side of images', str(frame), why_frame),
            ('crops', f'{crop} x {crop}', f'{largest_crop} for this memory, at most the image'),
            ('images a step', f'{batch} labelled, {batch} unlabelled', 'likewise'),
            ('steps', f'{steps:,}', why_steps),
        ),
    )


def _validations(usual: int, images: int) -> int:
    """How often a training validates: a half and a quarter as often with hundreds and thousands of images."""
    return usual // (1 if images <= 100 else 2 if images <= 1000 else 4)


def _steps(
    iterations: int | None, labelled: int, few: int, many: int, source: str
) -> tuple[int, str]:
    """Length of the training, and why."""
    if iterations is not None:
        return iterations, 'as --iterations says'
    if labelled < MANY_LABELS:
        return few, f'{labelled} labelled images train; {many:,} from {MANY_LABELS} on ({source})'
    return many, f'{labelled} labelled images train ({source})'
