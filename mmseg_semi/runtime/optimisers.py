"""The optimiser of the student, and mixed precision on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.runner.amp import autocast
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.fused_optimisers import fuse_by_default, prepare

# MMSegmentation's, of MiT and ViT, BEiT and MAE, Swin
_BLOCKS = (
    'TransformerEncoderLayer',
    'BEiTTransformerEncoderLayer',
    'MAETransformerEncoderLayer',
    'SwinBlock',
)


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

    ``paramwise_cfg=dict(layer_decay_rate=0.9)`` lowers the learning rate of a backbone layer by layer
    (:func:`layer_scales`), as MMSegmentation's and mmpretrain's own constructors do, which look for the
    backbone at the model itself. It multiplies what ``custom_keys`` give.

    ``torch.optim.SGD``, ``Adam`` and ``AdamW`` are fused (:mod:`mmseg_semi.runtime.fused_optimisers`);
    ``optimizer=dict(fused=False)`` turns this off.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        rate = self.paramwise_cfg.get('layer_decay_rate')
        self._scales = {}
        if rate is not None:
            for network in (model, getattr(model, 'peer', None)):
                if network is not None:
                    backbone = getattr(network, 'student', network).backbone
                    scales = layer_scales(backbone, rate)
                    named = dict(backbone.named_parameters())
                    self._scales |= {id(named[key]): scale for key, scale in scales.items()}
        if not hasattr(model, 'student'):
            return self._build(model)
        trained = nn.ModuleDict({'student': model.student, 'objectives': model.objectives})
        peer = getattr(model, 'peer', None)
        if peer is not None:
            trained['peer'] = nn.ModuleDict(
                {'student': peer.student, 'objectives': peer.objectives}
            )
        wrapper = self._build(trained)
        optimizer = wrapper.optimizer
        for group in optimizer.param_groups:
            group['params'] = [
                parameter for parameter in group['params'] if parameter.requires_grad
            ]
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group['params']]
        return wrapper

    def _build(self, trained: nn.Module) -> OptimWrapper:
        """The base class's wrapper around an optimiser that is fused where it can be."""
        self.optimizer_cfg = fuse_by_default(self.optimizer_cfg, trained.parameters())
        wrapper = super().__call__(trained)
        prepare(wrapper.optimizer)
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
            for group in params:
                scale = self._scales.get(id(group['params'][0]), 1.0)
                if scale != 1.0:
                    group['lr'] = group.get('lr', self.base_lr) * scale


def layer_scales(backbone: nn.Module, rate: float) -> dict[str, float]:
    """Factor of each parameter's learning rate: ``rate`` to the power of its distance from the backbone's end.

    The distance counts blocks. It is 0 behind the last one, 1 in it, and greatest before the first one. Backbones
    of mmpretrain say the depth of their parameters (``get_layer_depth``; ConvNeXt's counts groups of blocks, as its
    authors' code). Those of MMSegmentation are counted by their blocks, and what stands between two blocks
    belongs to the one before it.

    Args:
        backbone: Of mmpretrain, or MMSegmentation's MiT, ViT, BEiT, MAE or Swin.
        rate: Greater than 0, at most 1.

    Returns:
        dict[str, float]: By the parameter's name in the backbone.

    Raises:
        SetupError: If the rate is out of range, or nothing says how deep the backbone's parameters are.

    Example:
        >>> class Tokens(nn.Linear):
        ...     def get_layer_depth(self, name, prefix=''):
        ...         return (0, 3) if name == 'weight' else (1, 3)
        >>> layer_scales(Tokens(1, 1), 0.5)
        {'weight': 0.25, 'bias': 0.5}
    """
    key = 'optim_wrapper.paramwise_cfg.layer_decay_rate'
    if not isinstance(rate, int | float) or not 0 < rate <= 1:
        raise SetupError(
            f'{key}={rate!r}, expected a number greater than 0, at most 1 (1: no decay)'
        )
    names = [name for name, _ in backbone.named_parameters()]
    if hasattr(backbone, 'get_layer_depth'):
        depths = {name: backbone.get_layer_depth(name, '') for name in names}
        return {name: float(rate ** (end - depth - 1)) for name, (depth, end) in depths.items()}
    blocks = [name for name, module in backbone.named_modules() if type(module).__name__ in _BLOCKS]
    if not blocks:
        raise SetupError(
            f'{key}={rate}: {type(backbone).__name__} has no get_layer_depth (as those of mmpretrain) and none of '
            f'the blocks {", ".join(_BLOCKS)}; remove the key, or give the backbone such a method'
        )
    passed, depths = 0, {}
    for name in names:
        inside = next((i for i, block in enumerate(blocks) if name.startswith(f'{block}.')), None)
        passed = passed if inside is None else inside + 1
        depths[name] = passed
    after = names[max(i for i, name in enumerate(names) if name.startswith(f'{blocks[-1]}.')) + 1 :]
    depths |= dict.fromkeys(after, len(blocks) + 1)
    return {name: float(rate ** (len(blocks) + 1 - depth)) for name, depth in depths.items()}
