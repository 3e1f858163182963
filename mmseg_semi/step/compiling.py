"""Compiling the parts of a step that are plain networks: backbone and decode head of student and teacher.

The rest of a step (labels, mixing, objectives, the log) depends on the data or is cheap; compiled as a whole, a step would break into
pieces there. So each of the functions below is compiled by itself, without breaks, for the sizes that training has.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import HeadOutput, PlainHead, two_stage

_KEYS = ('backend', 'mode', 'options')
_MODES = (None, 'default', 'max-autotune-no-cudagraphs')
_VARIANTS = 64
"""Graphs of a function: batch sizes x training, evaluation x with or without a gradient; PyTorch's default is 8."""


class Stages(NamedTuple):
    """The functions that pass images through a network, as a step calls them."""

    extract_feat: Callable[[Tensor], Sequence[Tensor]]
    """(N, 3, H, W) images to the backbone's outputs."""
    embed: Callable[[Sequence[Tensor]], Tensor]
    """Stage 1 of the head, see :mod:`mmseg_semi.heads.two_stage`."""
    lift: Callable[[Tensor], Tensor]
    """Its first affine layer, never compiled: one convolution."""
    finish: Callable[..., HeadOutput]
    """Stage 2 behind that layer."""


class StepCompiler:
    """Gives a network's :class:`Stages`, compiled if the config says so.

    The networks themselves stay as they are: names in checkpoints, averages of weights, evaluation and export know nothing of it.

    Args:
        options: False, True, or a dict of ``torch.compile``'s ``backend``, ``mode`` and ``options``. Graphs are complete
            (``fullgraph=True``) and have fixed sizes (``dynamic=False``) in any case.

    Raises:
        SetupError: Other keys, an unknown backend, or a mode with CUDA graphs, whose outputs do not outlive the next call.

    Example:
        >>> StepCompiler(dict(fullgraph=False))
        Traceback (most recent call last):
        mmseg_semi.errors.SetupError: model.compile.fullgraph: expected only the keys backend, mode, options
    """

    def __init__(self, options: bool | Mapping[str, Any] = False) -> None:
        if not isinstance(options, bool | Mapping):
            raise SetupError(
                f'model.compile={options!r}: expected True, False or a dict of {", ".join(_KEYS)}'
            )
        self.active = options is not False
        self.options = dict(options) if isinstance(options, Mapping) else {}
        for key in self.options.keys() - set(_KEYS):
            raise SetupError(f'model.compile.{key}: expected only the keys {", ".join(_KEYS)}')
        if self.options.get('mode') not in _MODES:
            raise SetupError(
                f"model.compile.mode='{self.options['mode']}': expected one of {_MODES[1:]}, which do without CUDA graphs: "
                'their outputs would be overwritten while the step still reads them'
            )
        self._stages: dict[nn.Module, Stages] = {}
        self._left: set[str] = set()
        if not self.active:
            return
        known = torch._dynamo.list_backends(exclude_tags=())
        backend = self.options.get('backend', 'inductor')
        if isinstance(backend, str) and backend not in known:
            raise SetupError(f"model.compile.backend='{backend}': expected one of {known}")
        config = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, _VARIANTS)

    def __reduce__(self):
        # compiled functions belong to the networks of this process, not to a copy
        return StepCompiler, (self.options if self.options else self.active,)

    def stages(self, network: nn.Module) -> Stages:
        """The functions of a network: an ``EncoderDecoder`` with a head of two stages."""
        if not self.active:
            return _stages(network)
        if network not in self._stages:
            self._stages[network] = self._compile(network, self.options, self._left)
        return self._stages[network]

    @staticmethod
    def _compile(network: nn.Module, options: Mapping[str, Any], left: set[str]) -> Stages:
        def build(function: Callable) -> Callable:
            return torch.compile(function, fullgraph=True, dynamic=False, **options)

        plain = _stages(network)
        functions = {}
        if 'extract_feat' not in left:
            functions['extract_feat'] = build(network.extract_feat)
        if 'embed' not in left:
            head = two_stage(network.decode_head)
            functions['embed'] = (
                _embed_plain(head.head, build(head.head.forward))
                if isinstance(head, PlainHead)
                else build(head.embed)
            )
        if 'finish' not in left:
            functions['finish'] = build(plain.finish)
        return plain._replace(**functions)

    @torch.no_grad()
    def check(
        self, networks: Mapping[str, nn.Module], size: int = 128, channels: int = 3
    ) -> list[str]:
        """Finds out what can be compiled, before training; the rest then runs as it is.

        Args:
            networks: The networks by name, in evaluation mode.
            size: Side of a probing image in pixels.
            channels: Its channels.

        Returns:
            A sentence for each function that is left as it is.

        Raises:
            SetupError: The backend cannot compile anything here.
        """
        if not self.active:
            return []
        device = next(next(iter(networks.values())).parameters()).device
        try:
            torch.compile(_shift, fullgraph=True, dynamic=False, **self.options)(
                torch.zeros(8, device=device)
            )
        except Exception as error:
            raise SetupError(
                f'model.compile: {_reason(error)}; the backend {self.options.get("backend", "inductor")!r} cannot compile on '
                f'{device.type} here (the default one needs a C++ compiler, on a GPU Triton): set model.compile=False'
            ) from error
        self._stages.clear()
        self._left, said = set(), []
        for name, network in networks.items():
            plain = _stages(network)
            # only whether a graph can be had: no backend's time is spent on this size
            compiled = self._compile(network, dict(backend='eager'), set())
            image = torch.zeros(1, channels, size, size, device=device)
            levels = plain.extract_feat(image)
            fused = plain.embed(levels)
            inputs = dict(extract_feat=image, embed=levels, finish=plain.lift(fused))
            for part, value in inputs.items():
                if part in self._left:
                    continue
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter('ignore')
                        getattr(compiled, part)(value)
                except Exception as error:
                    self._left.add(part)
                    owner = network.backbone if part == 'extract_feat' else network.decode_head
                    said.append(
                        f'model.compile: {part} of the {name} ({type(owner).__name__}) cannot be compiled as one graph and '
                        f'runs as it is ({_reason(error)})'
                    )
        return said


def _stages(network: nn.Module) -> Stages:
    head = two_stage(network.decode_head)
    return Stages(network.extract_feat, head.embed, head.lift, head.finish)


def _same(features: Tensor) -> Tensor:
    return features


def _shift(x: Tensor) -> Tensor:
    return x + 1


def _embed_plain(head: nn.Module, forward: Callable) -> Callable[[Sequence[Tensor]], Tensor]:
    """:meth:`PlainHead.embed` around a compiled ``forward``.

    It shadows ``cls_seg`` by one function for all calls, because a graph is compiled anew for another one. That ``forward`` ends
    in one call of ``cls_seg`` was checked before.
    """

    def embed(inputs: Sequence[Tensor]) -> Tensor:
        head.cls_seg = _same
        try:
            return forward(inputs)
        finally:
            del head.cls_seg

    return embed


def _reason(error: Exception) -> str:
    """The first line of an error, of a backend's own one if it failed."""
    error = getattr(error, 'inner_exception', error)
    return str(error).strip().partition('\n')[0] or type(error).__name__
