"""PyTorch's fused optimisers: weight decay, momentum and the step in one pass over the parameters.

A fused optimiser computes what the unfused one does, in other kernels (``fused=True`` of ``torch.optim.SGD``, ``Adam`` and
``AdamW``, https://docs.pytorch.org/docs/stable/optim.html). Three things of PyTorch's own do not hold for them as of 2.13, so
:func:`prepare` sees to them:

- A first step that the loss scaler skips leaves SGD's momentum without a value: whatever the memory held before.
- SGD refuses a parameter that gets its first gradient later than others.
- On a CPU gradients and states are read in the order of the memory, not of the elements: those of another memory format
  than their parameter's, such as of a checkpoint, would be applied to other elements.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.config_errors import unregistered

FUSED = (SGD, Adam, AdamW)
"""Optimisers that are fused by default. Subclasses are not: their steps are their own."""

_DEVICES = ('cpu', 'cuda')


def fuse_by_default(config: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> dict:
    """The config of an optimiser with ``fused=True`` where that is possible and nothing says otherwise.

    Args:
        config: ``optim_wrapper.optimizer``. ``fused=False`` in it, as well as another implementation of the same step
            (``foreach``, ``capturable``, ``differentiable``), stays.
        parameters: What is optimised.

    Returns:
        dict: A copy.

    Raises:
        SetupError: There is no optimiser of this type.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> fuse_by_default(dict(type='SGD', lr=0.1), layer.parameters())
        {'type': 'SGD', 'lr': 0.1, 'fused': True}
        >>> fuse_by_default(dict(type='SGD', lr=0.1, fused=False), layer.parameters())
        {'type': 'SGD', 'lr': 0.1, 'fused': False}
    """
    config = dict(config)
    name = config.get('type')
    kind = OPTIMIZERS.get(name) if isinstance(name, str) else name
    if kind is None or not callable(kind):
        raise SetupError(
            unregistered(str(name), OPTIMIZERS, 'optim_wrapper.optimizer')
            if name
            else "config: optim_wrapper.optimizer has no 'type'; add one, such as type='SGD'"
        )
    # dampening: PyTorch does not dampen the first gradient, momentum that begins at zero does
    other = ('foreach', 'capturable', 'differentiable', 'dampening')
    if kind not in FUSED or config.get('fused') is not None or any(map(config.get, other)):
        return config
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if trained and all(p.is_floating_point() and p.device.type in _DEVICES for p in trained):
        config['fused'] = True
    return config


def prepare(optimizer: Optimizer) -> None:
    """Let an optimiser step correctly if it is fused, and load checkpoints of fused and unfused runs.

    Args:
        optimizer: Of a type in :data:`FUSED`; another one stays as it is.
    """
    if type(optimizer) not in FUSED:
        return
    optimizer.register_load_state_dict_pre_hook(_keep_implementation)
    optimizer.register_load_state_dict_post_hook(_match_states)
    optimizer.register_state_dict_post_hook(_leave_implementation_out)
    if optimizer.defaults['fused']:
        optimizer.register_step_pre_hook(_complete)


def _leave_implementation_out(optimizer: Optimizer, state: dict) -> None:
    """Checkpoints of fused runs have what those of unfused ones have, for earlier versions and for PyTorch alone."""
    for group in state['param_groups']:  # a copy of the optimiser's own
        group['fused'] = None if group['fused'] else group['fused']


def _keep_implementation(optimizer: Optimizer, state: dict) -> dict | None:
    """How a step is computed is the matter of the run, not of the checkpoint that it continues."""
    own, loaded = optimizer.param_groups, state['param_groups']
    if len(own) != len(loaded):
        return None  # PyTorch says what differs
    names = ('fused', 'foreach')
    groups = [
        {**theirs, **{name: mine[name] for name in names}}
        for theirs, mine in zip(loaded, own, strict=True)
    ]
    return {**state, 'param_groups': groups}


@torch.no_grad()
def _match_states(optimizer: Optimizer) -> None:
    """Bring loaded states to the memory format of their parameters, and counts of steps to where they are read."""
    for group in optimizer.param_groups:
        for parameter in group['params']:
            state = optimizer.state.get(parameter, {})
            for key, value in state.items():
                if not isinstance(value, Tensor):
                    continue
                if key == 'step':  # on the device it would be waited for at every unfused step
                    on_device = group['fused'] or group.get('capturable')
                    state[key] = value.to(parameter.device if on_device else 'cpu')
                elif value.shape == parameter.shape and value.stride() != parameter.stride():
                    state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


@torch.no_grad()
def _complete(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    """Before a fused step: gradients in the memory format of their parameters, and a momentum for each of them."""
    for group in optimizer.param_groups:
        momentum = group.get('momentum', 0) != 0
        for parameter in group['params']:
            grad = parameter.grad
            if grad is None:
                continue
            if grad.stride() != parameter.stride():
                parameter.grad = torch.empty_like(parameter, dtype=grad.dtype).copy_(grad)
            if momentum and optimizer.state[parameter].get('momentum_buffer') is None:
                # momentum * 0 + gradient is the gradient, with which PyTorch begins
                optimizer.state[parameter]['momentum_buffer'] = torch.zeros_like(parameter)
