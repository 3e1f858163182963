"""Images a second of the deployed network."""

import argparse
import copy
from dataclasses import asdict

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmseg_semi.cli.benchmark.training_step import RandomImages, find_crop, untrained
from mmseg_semi.runtime.measuring import MIB, measure_calls, trace_memory


def measure_inference(cfgs: list[Config], args: argparse.Namespace) -> dict:
    """Images a second of the deployed network of each config, pre- and postprocessing included."""
    device = torch.device(get_device())
    steps, about = [], []
    for cfg in cfgs:
        cfg = copy.deepcopy(cfg)
        untrained(cfg.model)
        init_default_scope('mmseg')
        model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(device).eval()
        crop = (args.crop, args.crop) if args.crop else find_crop(cfg)
        count = args.batch_size[0] if args.batch_size else 1
        items = RandomImages([count], crop, model.num_classes, plain=True).items
        batch = {key: [item[key] for item in items] for key in ('inputs', 'data_samples')}

        def predict(model: nn.Module = model, batch: dict = batch) -> None:
            with torch.no_grad():
                model.test_step(copy.copy(batch))

        steps.append(predict)
        about.append(f'{cfg.filename}; batch {count}, {crop[0]} x {crop[1]}')
    calls = dict(zip('AB', steps, strict=False))
    result = measure_calls(calls, device, args.iters, args.warmup, args.cpu_time)
    result['about'] = about
    result['images_per_second'] = {
        name: count / seconds for name, seconds in result['seconds'].items()
    }
    result['memory'] = [asdict(trace_memory(step, device)) for step in steps]
    return result


def print_inference(result: dict) -> None:
    """Print the result of :func:`measure_inference`."""
    for (letter, speed), about, memory in zip(
        result['images_per_second'].items(), result['about'], result['memory'], strict=True
    ):
        print(
            f'{letter}: {about}: {speed:.3f} images a second, '
            f'{memory["rise"] / MIB:.1f} MiB above the weights'
        )
    if 'ratio' in result:
        print(f'A / B: time {result["ratio_text"]}')
