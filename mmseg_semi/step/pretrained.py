"""Refuses pretrained weights that do not fit, which MMEngine would only log."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.step.image_kernels import plain_checkpoint

# a norm of its own for each output; a norm inside a backbone has another name (bn1, ln1, stages.0.0.norm)
_OUTPUT_NORM = re.compile(r'norm\d\.(weight|bias)')


@contextmanager
def complete_pretraining(root: nn.Module) -> Iterator[None]:
    """Checks around ``root.init_weights()`` that every ``init_cfg=dict(type='Pretrained')`` fills its module.

    MMEngine loads such checkpoints with ``strict=False`` and only logs what is missing, so with a file of another
    architecture a run trains from random weights. Surplus tensors (an ImageNet classifier) are fine.

    A module with MMEngine's ``init_weights`` must find every tensor in the file but those norms of its outputs that ImageNet
    checkpoints do not have (``norm0`` of ConvNeXt), see :func:`check_pretrained`. A module that
    overrides ``init_weights`` (transformers rename and resize what they load) must have written to every matrix and
    kernel, but not to the norms of its outputs, which no ImageNet checkpoint has.

    Args:
        root: A network that is not initialised yet.

    Raises:
        SetupError: A tensor was not loaded.

    Example:
        >>> class Network(BaseModule):
        ...     pass
        >>> network = Network(init_cfg=None)
        >>> with complete_pretraining(network):
        ...     network.init_weights()
    """
    if getattr(root, 'is_init', False):  # its init_weights does nothing a second time
        yield
        return
    # in-place copies count up a tensor's version
    watched = [
        (
            name,
            module,
            path,
            {k: (p, p._version) for k, p in module.named_parameters() if p.ndim > 1},
        )
        for name, module, path, _, own_way in _pretrained(root)
        if own_way and not getattr(module, 'is_init', False)
    ]
    try:
        yield
    except (
        RuntimeError
    ) as error:  # an overridden init_weights may load with torch, which refuses other shapes
        reasons = str(error).splitlines()[1:]
        culprits = [w for w in watched if f' for {type(w[1]).__name__}:' in str(error)]
        if not culprits or not reasons:
            raise
        name, module, path, _ = culprits[0]
        raise _misfit(name, module, path, reasons[0].strip().rstrip('.')) from error
    for name, module, path, before in watched:
        after = dict(module.named_parameters())
        left = [
            key
            for key, (p, version) in before.items()
            if after.get(key) is p and p._version == version
        ]
        if left:
            found = f'{len(left)} of {len(before)} matrices and kernels (first: {left[0]}) are not in it, or of another shape'
            raise _misfit(name, module, path, found)
    check_pretrained(root)


def check_pretrained(root: nn.Module) -> None:
    """Compares checkpoints with modules after the initialisation, as part of :func:`complete_pretraining`.

    Args:
        root: An initialised network.

    Raises:
        SetupError: A parameter or running statistic of a pretrained module is missing from the file, or has another
            shape. Modules that override ``init_weights`` are not checked.
    """
    for name, module, path, prefix, own_way in _pretrained(root):
        if not own_way:
            _check(name, module, path, prefix)


def _pretrained(root: nn.Module) -> Iterator[tuple[str, nn.Module, str, str | None, bool]]:
    """Modules with pretrained weights: name, module, checkpoint, prefix in it, whether they override ``init_weights``."""
    for name, module in root.named_modules():
        configs = getattr(module, 'init_cfg', None)
        for config in [configs] if isinstance(configs, dict) else configs or []:
            if config.get('type') == 'Pretrained':
                own_way = type(module).init_weights is not BaseModule.init_weights
                yield name, module, config['checkpoint'], config.get('prefix'), own_way


def _misfit(name: str, module: nn.Module, path: str, found: str) -> SetupError:
    key = '.'.join(part for part in ('model.student', name, 'init_cfg.checkpoint') if part)
    return SetupError(
        f"{key}='{plain_checkpoint(path)}' does not fit: {found}; give a checkpoint of this {type(module).__name__}, convert it "
        '(mmseg-semi convert-backbone and the like), or set init_cfg=None to train from scratch'
    )


def _check(name: str, module: nn.Module, path: str, prefix: str | None) -> None:
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger='silent')
    state = loaded.get('state_dict', loaded)
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    if prefix:
        start = prefix.rstrip('.') + '.'
        state = {
            key.removeprefix(start): value for key, value in state.items() if key.startswith(start)
        }
    own = {
        key: value
        for key, value in module.state_dict().items()
        if not key.endswith('num_batches_tracked')
    }
    wrong = [
        key
        for key, value in own.items()
        if not (key not in state and _OUTPUT_NORM.fullmatch(key))
        and (not torch.is_tensor(state.get(key)) or state[key].shape != value.shape)
    ]
    if wrong:
        key = wrong[0]
        found = (
            f'has shape {tuple(state[key].shape)}'
            if torch.is_tensor(state.get(key))
            else 'is missing'
        )
        raise _misfit(
            name,
            module,
            path,
            f'{len(wrong)} of {len(own)} tensors (first: {key}, which {found}, expected {tuple(own[key].shape)})',
        )
