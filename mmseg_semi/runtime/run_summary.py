"""What a run is going to do, in a few lines before its first iteration."""

import resource
import sys
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mmseg_semi.step.hooks import bare_model


def duration(seconds: float) -> str:
    """A time as a person says it.

    Example:
        >>> duration(42.3), duration(190), duration(7000), duration(200000)
        ('42 s', '3 min', '1 h 57 min', '55 h 33 min')
    """
    if seconds < 100:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 60 else f'{minutes // 60} h {minutes % 60} min'


def memory() -> str:
    """The largest memory so far: of the GPU if there is one, else of the process."""
    if torch.cuda.is_available():
        return f'{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory'
    unit = 1 if sys.platform == 'darwin' else 2**10
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f'{largest / 2**30:.1f} GiB of memory'


def summary(runner: Runner) -> str:
    """What is trained, on what, for how long and where the results go, one line each.

    Args:
        runner: With its loops and model built.

    Example (of a run):
        method      supervised, selftrain; an EMA teacher predicts
        network     ResNetV1c with DeepLabV3PlusHead, 1.2 M parameters, 3 classes: ground, plant, stone
        data        9 labelled and 12 unlabelled images
        validation  3 images, every 100 iterations
        training    600 iterations of 4 labelled and 4 unlabelled images (267 passes over the labelled ones)
        device      CPU
        results     work_dirs/mine
    """
    rows = {
        'method': _method(runner),
        'network': _network(runner),
        'data': _data(runner),
        'validation': _validation(runner),
        'training': _training(runner),
        'device': _device(runner),
        'results': str(runner.work_dir),
    }
    return '\n'.join(f'{name:<10}  {row}' for name, row in rows.items() if row)


def _method(runner: Runner) -> str:
    model = bare_model(runner)
    if not hasattr(model, 'objectives'):
        return type(model).__name__
    said = ', '.join(objective.name for objective in model.objectives)
    recipe = getattr(model, 'recipe', None)
    if recipe is not None:
        teacher = dict(ema='an EMA teacher', student='the student itself').get(
            recipe.weights, f'a teacher ({recipe.weights})'
        )
        said += f'; {teacher} labels'
    return f'{said}; the {model.predicting_network} predicts'


def _network(runner: Runner) -> str:
    model = bare_model(runner)
    network = getattr(model, 'student', model)
    parts = [
        type(part).__name__
        for part in (getattr(network, 'backbone', None), getattr(network, 'decode_head', None))
        if part is not None
    ]
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    said = f'{" with ".join(parts) or type(network).__name__}, {count:.1f} M parameters'
    names = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes') or ()
    if names:
        shown = ', '.join(map(str, names[:8])) + (', …' if len(names) > 8 else '')
        said += f', {len(names)} classes: {shown}'
    return said


def _data(runner: Runner) -> str:
    sizes = getattr(runner.train_dataloader.dataset, 'source_sizes', None)
    if sizes is None:
        return f'{len(runner.train_dataloader.dataset)} images'
    if len(sizes) == 1:
        return f'{sizes[0]} labelled images'
    return f'{sizes[0]} labelled and {sum(sizes[1:])} unlabelled images'


def _validation(runner: Runner) -> str:
    if runner.val_loop is None:
        return 'none'
    interval, last = runner.train_loop.val_interval, runner.max_iters
    when = f'every {interval} iterations' if interval < last else 'at the end'
    return f'{len(runner.val_loop.dataloader.dataset)} images, {when}'


def _training(runner: Runner) -> str:
    done, last = runner.iter, runner.max_iters
    said = f'iterations {done + 1} to {last}' if done else f'{last} iterations'
    loader, ranks = runner.train_dataloader, get_world_size()
    counts = getattr(loader.sampler, 'num_per_source', None)
    if counts is None:
        return f'{said} of {(loader.batch_size or 1) * ranks} images'
    sizes = loader.dataset.source_sizes
    said += f' of {counts[0] * ranks} labelled'
    if len(counts) > 1:
        said += f' and {sum(counts[1:]) * ranks} unlabelled images'
    else:
        said += ' images'
    passes = last * counts[0] * ranks / sizes[0]
    return f'{said} ({passes:.{0 if passes >= 10 else 1}f} passes over the labelled ones)'


def _device(runner: Runner) -> str:
    device: Any = next(runner.model.parameters()).device
    said = torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device.type).upper()
    if get_world_size() > 1:
        said = f'{get_world_size()} processes, each on {said}'
    kind = type(runner.optim_wrapper).__name__
    precision = dict(AmpOptimWrapper='mixed precision', CPUAmpOptimWrapper='bfloat16').get(kind)
    return f'{said}, {precision}' if precision else said
