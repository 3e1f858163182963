"""Turn a ResNet checkpoint with a deep stem into one of MMSegmentation's ResNetV1c.

mmseg-semi convert-ddfp-resnet IN OUT

IN is an ImageNet checkpoint of one of two layouts. DDFP (github.com/Gavinwxy/DDFP) and DGCL have
the stem's convolutions in a sequence (conv1.0, conv1.1, conv1.3, conv1.4, conv1.6, bn1); CCT
(github.com/yassouali/CCT) uses a checkpoint of torchcv, which numbers them (conv1, bn1, conv2, bn2,
conv3, bn3). The command reads depth and widths from the tensors and leaves the classifier out. Give
OUT as ``backbone.init_cfg.checkpoint`` of a ResNetV1c with the printed ``stem_channels``.

The max-pooling of the stem rounds up in the authors' networks and down in MMSegmentation. The
feature grid is the same for crops such as 513, 769 or 801, and has one row and one column less
where the stem's output has an even side (crops such as 512 or 800).
"""

import argparse
from pathlib import Path

import torch
from mmseg.models.backbones import ResNetV1c

from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.runtime import stack

# Modules of the stem in the authors' layouts and in ResNetV1c, in the order of the forward pass.
LAYOUTS = {
    'sequence': ('conv1.0', 'conv1.1', 'conv1.3', 'conv1.4', 'conv1.6', 'bn1'),
    'numbered': ('conv1', 'bn1', 'conv2', 'bn2', 'conv3', 'bn3'),
}
STEM = ('stem.0', 'stem.1', 'stem.3', 'stem.4', 'stem.6', 'stem.7')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a ResNet with a deep stem.')
    parser.add_argument('source', type=Path, metavar='IN')
    parser.add_argument('target', type=Path, metavar='OUT')
    return parser.parse_args(arguments)


def convert(weights: dict, name: str = '(none)') -> tuple[dict[str, torch.Tensor], dict]:
    """Rename the tensors of a deep-stem ResNet to those of ``ResNetV1c``.

    Args:
        weights: Tensors by name, in either layout; ``module.`` before the names is removed.
        name: The file's name, for errors.

    Returns:
        The renamed tensors, and the arguments of the ``ResNetV1c`` that they fill: ``depth``,
        ``stem_channels``, ``base_channels``.

    Raises:
        SetupError: If the layout is another one; the message names the first missing key.
    """
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    weights = {key: value for key, value in weights.items() if not key.startswith('fc.')}
    numbered = 'conv2.weight' in weights
    theirs = dict(zip(STEM, LAYOUTS['numbered' if numbered else 'sequence'], strict=True))
    if not numbered and 'conv1.0.weight' not in weights:
        found = ', '.join(list(weights)[:3]) or 'no tensors'
        raise SetupError(
            f"checkpoint '{name}' is no ResNet with a deep stem: it has no key conv1.0.weight "
            '(the stem '
            f'as a sequence) and no conv2.weight (the stem numbered), but begins with {found}; '
            'give a '
            "checkpoint of one of these layouts, or MMSegmentation's own, which needs no conversion"
        )

    def their_name(key: str) -> str:
        module, _, tensor = key.rpartition('.')
        return f'{theirs[module]}.{tensor}' if module in theirs else key

    arguments = _arguments(weights, their_name, name)
    expected = _expected(arguments)
    # checkpoints older than PyTorch 1.0 have no count of batches, and nothing reads it
    wanted = [key for key in expected if not key.endswith('num_batches_tracked')]
    for key in wanted:
        if their_name(key) not in weights:
            _missing(their_name(key), name, _describe(arguments))
        shape, found = expected[key], tuple(weights[their_name(key)].shape)
        if found != shape:
            raise SetupError(
                f"checkpoint '{name}': {their_name(key)} has shape {found}, expected {shape} in a "
                f'{_describe(arguments)}; give a checkpoint of such a network'
            )
    surplus = sorted(weights.keys() - {their_name(key) for key in expected})
    if surplus:
        raise SetupError(
            f"checkpoint '{name}' holds {surplus[0]} and {len(surplus) - 1} other keys that a "
            f'{_describe(arguments)} does not have: it is another network; give a plain ResNet '
            'with a deep stem'
        )
    return {
        key: weights[their_name(key)] for key in expected if their_name(key) in weights
    }, arguments


def _arguments(weights: dict, their_name, name: str) -> dict:
    """Depth and widths, read from the keys and shapes of the file."""
    blocks = []
    for stage in (1, 2, 3, 4):
        prefix = f'layer{stage}.'
        indices = {key.split('.')[1] for key in weights if key.startswith(prefix)}
        if '0' not in indices:
            _missing(f'{prefix}0.conv1.weight', name, 'ResNet')
        blocks.append(len(indices))
    for key in (their_name('stem.6.weight'), 'layer1.0.conv1.weight'):
        if key not in weights:
            _missing(key, name, 'ResNet')
    kind = 'Bottleneck' if 'layer1.0.conv3.weight' in weights else 'BasicBlock'
    depths = [
        depth
        for depth, (block, counts) in ResNetV1c.arch_settings.items()
        if block.__name__ == kind and counts == tuple(blocks)
    ]
    if not depths:
        raise SetupError(
            f"checkpoint '{name}' has {', '.join(map(str, blocks))} blocks of type {kind} in its "
            f'stages, expected those of a ResNet-{", ".join(map(str, ResNetV1c.arch_settings))}; give '
            'such a checkpoint'
        )
    return dict(
        depth=depths[0],
        stem_channels=weights[their_name('stem.6.weight')].shape[0],
        base_channels=weights['layer1.0.conv1.weight'].shape[0],
    )


def _expected(arguments: dict) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of the network that the file must fill."""
    with torch.device('meta'):
        network = ResNetV1c(norm_cfg=dict(type='BN'), **arguments)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def _describe(arguments: dict) -> str:
    return f'ResNet-{arguments["depth"]} with a {arguments["stem_channels"]}-channel stem'


def _missing(key: str, name: str, network: str) -> None:
    raise SetupError(
        f"checkpoint '{name}' has no key {key}, which a {network} has; give a complete checkpoint "
        'of a '
        'ResNet with a deep stem'
    )


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if not args.source.is_file():
        raise SetupError(f"checkpoint '{args.source}' does not exist; give the downloaded file")
    checkpoint = stack.safe_load(args.source, 'cpu')
    weights = checkpoint
    for key in ('state_dict', 'model'):
        if isinstance(weights, dict) and isinstance(weights.get(key), dict):
            weights = weights[key]
    if not isinstance(weights, dict) or not all(torch.is_tensor(v) for v in weights.values()):
        raise SetupError(
            f"checkpoint '{args.source}' is no dict of tensors; give the weights of a ResNet with "
            'a deep '
            'stem'
        )
    state, arguments = convert(weights, str(args.source))
    with whole_file(args.target) as draft:
        torch.save({'state_dict': state}, draft)
    settings = ', '.join(f'{key}={value}' for key, value in arguments.items())
    print(f'{args.target}: {len(state)} tensors for ResNetV1c({settings})')
