"""Rename the tensors of a published backbone to those of mmpretrain or MMSegmentation.

mmseg-semi convert-backbone IN OUT

IN is a checkpoint of one of these layouts, which the command recognises by its keys:

- DINOv2 (github.com/facebookresearch/dinov2), for ``mmpretrain.VisionTransformer``;
- ConvNeXt of its authors (github.com/facebookresearch/ConvNeXt) or of timm, for ``mmpretrain.ConvNeXt``;
- MiT (github.com/NVlabs/SegFormer), for MMSegmentation's ``MixVisionTransformer``.

Classifiers and DINOv2's mask token are left out. Give OUT as ``backbone.init_cfg.checkpoint``; the names of
mmpretrain's backbones begin with ``backbone.``, so they need ``prefix='backbone'``.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.runtime import stack

# Of each layout: a key by which it is known, keys that are left out, and their names with ours.
LAYOUTS: dict[str, tuple[str, str, dict[str, str]]] = {
    'DINOv2': (
        r'blocks\.0\.ls1\.gamma',
        r'mask_token',
        {
            r'(cls_token|pos_embed)': r'\1',
            r'patch_embed\.proj\.(\w+)': r'patch_embed.projection.\1',
            r'blocks\.(\d+)\.norm([12])\.(\w+)': r'layers.\1.ln\2.\3',
            r'blocks\.(\d+)\.attn\.(qkv|proj)\.(\w+)': r'layers.\1.attn.\2.\3',
            r'blocks\.(\d+)\.ls1\.gamma': r'layers.\1.attn.gamma1.weight',
            r'blocks\.(\d+)\.mlp\.fc1\.(\w+)': r'layers.\1.ffn.layers.0.0.\2',
            r'blocks\.(\d+)\.mlp\.fc2\.(\w+)': r'layers.\1.ffn.layers.1.\2',
            r'blocks\.(\d+)\.ls2\.gamma': r'layers.\1.ffn.gamma2.weight',
            r'norm\.(\w+)': r'ln1.\1',
        },
    ),
    'ConvNeXt': (
        r'stages\.0\.0\.dwconv\.weight',
        r'head\..*',
        {
            r'(downsample_layers\.\d\.\d\.\w+)': r'\1',
            r'stages\.(\d\.\d+)\.dwconv\.(\w+)': r'stages.\1.depthwise_conv.\2',
            r'stages\.(\d\.\d+)\.pwconv([12])\.(\w+)': r'stages.\1.pointwise_conv\2.\3',
            r'(stages\.\d\.\d+\.(?:norm\.\w+|gamma))': r'\1',
            r'norm\.(\w+)': r'norm3.\1',
        },
    ),
    'ConvNeXt of timm': (
        r'stages\.0\.blocks\.0\.conv_dw\.weight',
        r'head\.fc\..*',
        {
            r'stem\.(\d\.\w+)': r'downsample_layers.0.\1',
            r'stages\.(\d)\.downsample\.(\d\.\w+)': r'downsample_layers.\1.\2',
            r'stages\.(\d)\.blocks\.(\d+)\.conv_dw\.(\w+)': r'stages.\1.\2.depthwise_conv.\3',
            r'stages\.(\d)\.blocks\.(\d+)\.mlp\.fc([12])\.(\w+)': r'stages.\1.\2.pointwise_conv\3.\4',
            r'stages\.(\d)\.blocks\.(\d+)\.(norm\.\w+|gamma)': r'stages.\1.\2.\3',
            r'head\.norm\.(\w+)': r'norm3.\1',
        },
    ),
    'MiT': (
        r'patch_embed1\.proj\.weight',
        r'head\..*',
        {  # stages are counted from 1 there
            r'patch_embed(\d)\.proj\.(\w+)': r'layers.#\1.0.projection.\2',
            r'patch_embed(\d)\.norm\.(\w+)': r'layers.#\1.0.norm.\2',
            r'block(\d)\.(\d+)\.(norm[12]\.\w+)': r'layers.#\1.1.\2.\3',
            # queries, keys and values are one matrix here
            r'block(\d)\.(\d+)\.attn\.(q|kv)\.(\w+)': r'layers.#\1.1.\2.attn.attn.in_proj_\4',
            r'block(\d)\.(\d+)\.attn\.proj\.(\w+)': r'layers.#\1.1.\2.attn.attn.out_proj.\3',
            r'block(\d)\.(\d+)\.attn\.((?:sr|norm)\.\w+)': r'layers.#\1.1.\2.attn.\3',
            r'block(\d)\.(\d+)\.mlp\.fc1\.(\w+)': r'layers.#\1.1.\2.ffn.layers.0.\3',
            r'block(\d)\.(\d+)\.mlp\.dwconv\.dwconv\.(\w+)': r'layers.#\1.1.\2.ffn.layers.1.\3',
            r'block(\d)\.(\d+)\.mlp\.fc2\.(\w+)': r'layers.#\1.1.\2.ffn.layers.4.\3',
            r'norm(\d)\.(\w+)': r'layers.#\1.2.\2',
        },
    ),
}


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Rename the tensors of DINOv2, ConvNeXt or MiT to those of mmpretrain or MMSegmentation.'
    )
    parser.add_argument('source', type=Path, metavar='IN')
    parser.add_argument('target', type=Path, metavar='OUT')
    return parser.parse_args(arguments)


def convert(weights: Mapping[str, Tensor], name: str = '(none)') -> tuple[dict[str, Tensor], str]:
    """Rename the tensors of a published backbone.

    Args:
        weights: Tensors by name.
        name: The file's name, for errors.

    Returns:
        The renamed tensors, and the name of the layout.

    Raises:
        SetupError: If the layout is none of the known ones, or a key of it is not; the message names the key.

    Example:
        >>> gamma = torch.ones(4)
        >>> state, layout = convert({'blocks.0.ls1.gamma': gamma, 'norm.bias': torch.zeros(4)})
        >>> layout, list(state)
        ('DINOv2', ['backbone.layers.0.attn.gamma1.weight', 'backbone.ln1.bias'])
    """
    layout = _layout(weights, name)
    _, surplus, _ = LAYOUTS[layout]
    state: dict[str, Tensor] = {}
    for key in sorted(
        weights, key=lambda key: '.attn.kv.' in key
    ):  # queries before keys and values
        if re.fullmatch(surplus, key):
            continue
        own, tensor = _own_name(key, layout, name), weights[key]
        if layout == 'MiT' and '.mlp.fc' in key and key.endswith('weight'):
            tensor = tensor[..., None, None]  # convolutions of 1 x 1 here
        state[own] = torch.cat([state[own], tensor]) if '.attn.kv.' in key else tensor
    if layout != 'MiT':
        state = {f'backbone.{key}': tensor for key, tensor in state.items()}
    return state, layout


def _layout(weights: Mapping[str, Tensor], name: str) -> str:
    for layout, (known_by, _, _) in LAYOUTS.items():
        if any(re.fullmatch(known_by, key) for key in weights):
            return layout
    found = ', '.join(list(weights)[:3]) or 'no tensors'
    raise SetupError(
        f"checkpoint '{name}' has none of the layouts {', '.join(LAYOUTS)}: it begins with {found}; give a "
        'published file of one of them, or one of mmpretrain or MMSegmentation, which needs no conversion'
    )


def _own_name(key: str, layout: str, name: str) -> str:
    for theirs, ours in LAYOUTS[layout][2].items():
        match = re.fullmatch(theirs, key)
        if match:
            return re.sub(r'#(\d)', lambda stage: str(int(stage[1]) - 1), match.expand(ours))
    raise SetupError(
        f"checkpoint '{name}' is of the layout {layout} but holds {key}, which the backbone of mmpretrain or "
        'MMSegmentation does not have (as with registers or gated layers); give a checkpoint of the plain network'
    )


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if not args.source.is_file():
        raise SetupError(f"checkpoint '{args.source}' does not exist; give the downloaded file")
    weights = stack.safe_load(args.source, 'cpu')
    for key in ('state_dict', 'model'):
        if isinstance(weights, dict) and isinstance(weights.get(key), dict):
            weights = weights[key]
    if not isinstance(weights, dict) or not all(torch.is_tensor(v) for v in weights.values()):
        raise SetupError(
            f"checkpoint '{args.source}' is no dict of tensors; give the weights of a backbone"
        )
    state, layout = convert(weights, str(args.source))
    with whole_file(args.target) as draft:
        torch.save({'state_dict': state}, draft)
    print(f'{args.target}: {len(state)} tensors of the layout {layout}, renamed')
