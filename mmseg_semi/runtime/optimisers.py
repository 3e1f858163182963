"""The optimiser of the student, and mixed precision on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.runner.amp import autocast
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """An optimiser wrapper whose forward passes run under bfloat16 autocast on the CPU.

    MMEngine's ``AmpOptimWrapper`` needs an accelerator. bfloat16 has the exponent range of float32,
    so no loss scale is needed; parameters, gradients and the optimiser's step stay float32.

    Args:
        kwargs: See ``mmengine.optim.OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast inside the gradient accumulation context of the base class."""
        with (
            super().optim_context(model),
            autocast(device_type='cpu', dtype=torch.bfloat16),
        ):
            yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StudentOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's default constructor, restricted to the parameters of student, peer and objectives.

    The default constructor also lists the frozen tensors of the teacher and of the estimators, and
    raises an error for a teacher that shares the student's parameters. Names in ``custom_keys``
    match below ``student.`` and ``objectives.``. A parameter with two names counts once, under the
    first one. For a model without a ``student`` this is the default constructor.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        if not hasattr(model, 'student'):
            return super().__call__(model)
        trained = nn.ModuleDict({'student': model.student, 'objectives': model.objectives})
        peer = getattr(model, 'peer', None)
        if peer is not None:
            trained['peer'] = nn.ModuleDict(
                {'student': peer.student, 'objectives': peer.objectives}
            )
        wrapper = super().__call__(trained)
        optimizer = wrapper.optimizer
        for group in optimizer.param_groups:
            group['params'] = [
                parameter for parameter in group['params'] if parameter.requires_grad
            ]
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group['params']]
        return wrapper

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Adds groups as the base class does, but only one for a shared parameter."""
        super().add_params(params, module, prefix=prefix, is_dcn_module=is_dcn_module)
        if not prefix:
            first = {id(group['params'][0]): group for group in reversed(params)}
            params[:] = [group for group in params if first[id(group['params'][0])] is group]
