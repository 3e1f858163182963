"""Turn AdvSemiSeg's COCO-pretrained DeepLab ResNet into a checkpoint of MMSegmentation's ResNet.

mmseg-semi convert-coco-resnet IN OUT

ClassMix and MLLC start from resnet101COCO-41f33a49.pth of AdvSemiSeg
(github.com/hfslyc/AdvSemiSeg). They copy the tensors of equal name and shape: the encoder with the
statistics of its norms, and no head. The names are those of MMSegmentation, except for a prefix
(``Scale.`` or ``module.``) in some copies. Give OUT as ``backbone.init_cfg.checkpoint`` of a
CeilResNet with ``style='caffe'``. The weights expect BGR values minus (104.007, 116.669, 122.679)
without division: set ``data_preprocessor.mean`` to these.
"""

import argparse
from pathlib import Path

import torch
from mmseg.models.backbones import ResNet

from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.runtime import stack

PREFIXES = ('module.', 'Scale.')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a COCO-pretrained DeepLab ResNet.')
    parser.add_argument('source', type=Path, metavar='IN')
    parser.add_argument('target', type=Path, metavar='OUT')
    return parser.parse_args(arguments)


def convert(weights: dict, name: str = '(none)') -> tuple[dict[str, torch.Tensor], dict]:
    """Rename the encoder's tensors to those of MMSegmentation's ``ResNet``.

    Args:
        weights: Tensors by name; the classifier and other tensors that no ResNet has are left out.
        name: The file's name, for errors.

    Returns:
        The tensors, and the arguments of the ``ResNet`` that they fill: ``depth``,
        ``base_channels``.

    Raises:
        SetupError: If it is another network; the message names the first tensor that is missing or
            has another shape.
    """
    for prefix in PREFIXES:
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    blocks = tuple(
        len({key.split('.')[1] for key in weights if key.startswith(f'layer{stage}.')})
        for stage in (1, 2, 3, 4)
    )
    depths = [
        depth
        for depth, (block, counts) in ResNet.arch_settings.items()
        if counts == blocks
        and (block.__name__ == 'Bottleneck') == ('layer1.0.conv3.weight' in weights)
    ]
    if not depths or 'conv1.weight' not in weights:
        found = ', '.join(list(weights)[:3]) or 'no tensors'
        raise SetupError(
            f"checkpoint '{name}' is no ResNet with a 7x7 stem: its stages have {blocks} blocks, "
            'its first '
            f'keys are {found}; give resnet101COCO-41f33a49.pth or another ResNet-50, -101 or '
            '-152 of this layout'
        )
    arguments = dict(depth=depths[0], base_channels=weights['conv1.weight'].shape[0])
    with torch.device('meta'):
        network = ResNet(
            stem_channels=arguments['base_channels'], norm_cfg=dict(type='BN'), **arguments
        )
    state = {}
    for key, expected in network.state_dict().items():
        if key not in weights and key.endswith('num_batches_tracked'):
            continue  # checkpoints older than PyTorch 1.0 have no count, and nothing reads it
        found = tuple(weights[key].shape) if key in weights else None
        if found != tuple(expected.shape):
            raise SetupError(
                f"checkpoint '{name}': {key} has shape {found}, expected {tuple(expected.shape)} "
                'in a '
                f'ResNet-{arguments["depth"]}; give a complete checkpoint of one'
            )
        state[key] = weights[key]
    return state, arguments


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if not args.source.is_file():
        raise SetupError(f"checkpoint '{args.source}' does not exist; give the downloaded file")
    weights = stack.safe_load(args.source, 'cpu')
    if isinstance(weights, dict) and isinstance(weights.get('state_dict'), dict):
        weights = weights['state_dict']
    if not isinstance(weights, dict) or not all(torch.is_tensor(v) for v in weights.values()):
        raise SetupError(
            f"checkpoint '{args.source}' is no dict of tensors; give the weights of a DeepLab "
            'ResNet'
        )
    state, arguments = convert(weights, str(args.source))
    with whole_file(args.target) as draft:
        torch.save({'state_dict': state}, draft)
    settings = ', '.join(f'{key}={value}' for key, value in arguments.items())
    print(f"{args.target}: {len(state)} tensors for CeilResNet({settings}, style='caffe')")
