"""Pretrained weights that do not fit are an error, not a warning in the log."""

import torch
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmseg_semi.errors import SetupError


def check_pretrained(root: nn.Module) -> None:
    """Checks that every module with ``init_cfg=dict(type='Pretrained')`` was filled completely.

    MMEngine loads such checkpoints with ``strict=False`` and only logs what is missing, so a file of another architecture
    trains from random weights. Surplus tensors (an ImageNet classifier) are fine. Modules with an ``init_weights`` of
    their own, which may rename or resize tensors, are left to it.

    Args:
        root: An initialised network.

    Raises:
        SetupError: A parameter or running statistic of such a module is missing from the file, or has another shape.
    """
    for name, module in root.named_modules():
        configs = getattr(module, 'init_cfg', None)
        for config in [configs] if isinstance(configs, dict) else configs or []:
            own_way = type(module).init_weights is not BaseModule.init_weights
            if config.get('type') == 'Pretrained' and not own_way:
                _check(name, module, config['checkpoint'], config.get('prefix'))


def _check(name: str, module: nn.Module, path: str, prefix: str | None) -> None:
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger='silent')
    state = loaded.get('state_dict', loaded)
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    if prefix:
        start = prefix.rstrip('.') + '.'
        state = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
    own = {key: value for key, value in module.state_dict().items() if not key.endswith('num_batches_tracked')}
    wrong = [
        key for key, value in own.items() if not torch.is_tensor(state.get(key)) or state[key].shape != value.shape
    ]
    if wrong:
        key = wrong[0]
        found = f'has shape {tuple(state[key].shape)}' if torch.is_tensor(state.get(key)) else 'is missing'
        raise SetupError(
            f"model.student.{name}.init_cfg.checkpoint='{path}' does not fit: {len(wrong)} of {len(own)} tensors (first: "
            f'{key}, which {found}, expected {tuple(own[key].shape)}); give a checkpoint of this {type(module).__name__}, '
            'convert it (tools/model_converters), or set init_cfg=None to train from scratch'
        )
