"""Share modules between networks, and store a shared tensor once in the state dict."""

import copy
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_semi.errors import SetupError

KEY = 'model.share'


def check_paths(networks: dict[str, nn.Module], paths: Sequence[str]) -> None:
    """Check that the networks can share the modules at these paths.

    Args:
        networks: Student of each domain.
        paths: Dotted names of modules in them.

    Raises:
        SetupError: If a network has no such module, a path lies inside another one, or the modules
            are built differently.
    """
    if not paths:
        raise SetupError(
            f"{KEY} is empty, but the domains share at least 'backbone'; train them apart otherwise"
        )
    for path in paths:
        if any(path.startswith(f'{other}.') or paths.count(path) > 1 for other in paths):
            raise SetupError(f"{KEY}: '{path}' is shared already; name each part once")
        (first, network), *others = networks.items()
        for name in networks:
            if not has_part(networks[name], path):
                kind = type(networks[name]).__name__
                raise SetupError(
                    f"{KEY}: the student of domain '{name}' has no '{path}'; give a dotted name of a module in this {kind}"
                )
        for name, other in others:
            mine, theirs = (describe(n.get_submodule(path)) for n in (network, other))
            if mine != theirs:
                lines = zip(mine, theirs, strict=False)
                one, two = next((a, b) for a, b in lines if a != b)
                raise SetupError(
                    f"domains '{first}' and '{name}' share '{path}', but their configs make different ones (first: "
                    f'{one} against {two}); give both the same config of it, or take it out of {KEY}'
                )


def describe(module: nn.Module) -> list[str]:
    """Describe a module, a line per submodule and per setting (kernel, stride, frozen stages).

    Settings whose name begins with an underscore, and initial weights, are left out: those of the
    first domain hold for all.
    """
    lines = []
    for name, part in module.named_modules():
        lines.append(f'{name or type(part).__name__}: {type(part).__name__}')
        lines += [
            f'{name or type(part).__name__}.{key}={value}'
            for key, value in sorted(vars(part).items())
            if isinstance(value, bool | int | float | str | tuple | list)
            and not key.startswith('_')
            and key != 'init_cfg'
        ]
        lines += [f'{name}.{k}: {tuple(p.shape)}' for k, p in part.named_parameters(recurse=False)]
    return [*lines, 'its end']


def has_part(network: nn.Module, path: str) -> bool:
    """Whether a network has a module of this name."""
    try:
        network.get_submodule(path)
    except AttributeError:
        return False
    return True


def give_part(network: nn.Module, path: str, source: nn.Module, own_buffers: bool) -> None:
    """Replace a module of a network by that of another network.

    Args:
        network: Network whose module is replaced.
        path: Dotted name of the module in both networks.
        source: Network whose module is used.
        own_buffers: Keep the network's own buffers (running statistics of norms) and share only the
            parameters.
    """
    theirs = source.get_submodule(path)
    if own_buffers:
        point_parameters(network.get_submodule(path), theirs)
        return
    parent, _, name = path.rpartition('.')
    setattr(network.get_submodule(parent), name, theirs)


def point_parameters(module: nn.Module, source: nn.Module) -> None:
    """Let a module use the parameters of another one with the same structure."""
    for mine, theirs in zip(module.modules(), source.modules(), strict=True):
        for name, parameter in theirs.named_parameters(recurse=False):
            setattr(mine, name, parameter)


def collect(network: nn.Module, paths: Sequence[str], own_buffers: bool) -> nn.Module:
    """Collect the shared modules of a network in one module, under their names in the network.

    With ``own_buffers`` they are copies with the shared parameters and without buffers.
    """
    root = nn.Module()
    for path in paths:
        *parents, name = path.split('.')
        node = root
        for parent in parents:
            if parent not in node._modules:
                node.add_module(parent, nn.Module())
            node = node._modules[parent]
        part = network.get_submodule(path)
        if own_buffers:
            shell = copy.deepcopy(part)
            point_parameters(shell, part)
            for module in shell.modules():
                for buffer in module._buffers:
                    module._buffers[buffer] = None
                if isinstance(module, _NormBase):
                    module.track_running_stats = False
            part = shell
        node.add_module(name, part)
    return root


def find_aliases(module: nn.Module) -> dict[str, str]:
    """Map every further name of a tensor to its first name."""
    first: dict[int, str] = {}
    aliases = {}
    for tensors in (module.named_parameters, module.named_buffers):
        for name, tensor in tensors(remove_duplicate=False):
            original = first.setdefault(id(tensor), name)
            if original != name:
                aliases[name] = original
    return aliases


def drop_aliases(module: nn.Module, state: dict, prefix: str, _: dict) -> None:
    """State dict hook: keep a shared tensor under its first name only."""
    for alias in module.aliases:
        state.pop(prefix + alias, None)


def restore_aliases(module: nn.Module, state: dict, prefix: str, *_: object) -> None:
    """Hook before loading: add the names that :func:`drop_aliases` removed."""
    for alias, original in module.aliases.items():
        if prefix + original in state:
            state.setdefault(prefix + alias, state[prefix + original])
