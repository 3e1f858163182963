"""Reduce a checkpoint to its weights.

mmseg-semi to-weights-only IN OUT [--trust]

This package loads checkpoints without running code from them, and so refuses files with other
Python objects. This command keeps the tensors, the class names and the colours. With ``--trust`` it
reads a refused file without that protection: the author of the file can then run any program as
you.
"""

import argparse
from pathlib import Path

import torch

from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.runtime import stack
from mmseg_semi.runtime.checkpoints import to_plain


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Rewrite a checkpoint as plain weights.')
    parser.add_argument('source', type=Path, metavar='IN')
    parser.add_argument('target', type=Path, metavar='OUT')
    parser.add_argument(
        '--trust', action='store_true', help='the file may run code on this machine'
    )
    return parser.parse_args(arguments)


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if not args.source.is_file():
        raise SetupError(f"checkpoint '{args.source}' does not exist; give the path of a file")
    if args.trust:
        checkpoint = torch.load(args.source, map_location='cpu', weights_only=False)
    else:
        checkpoint = stack.safe_load(args.source, 'cpu')
    weights = checkpoint
    for key in ('state_dict', 'model'):  # mmengine's, and what others call it
        if isinstance(weights, dict) and isinstance(weights.get(key), dict):
            weights = weights[key]
    if not isinstance(weights, dict) or not any(
        isinstance(v, torch.Tensor) for v in weights.values()
    ):
        raise SetupError(
            f"checkpoint '{args.source}' holds no weights by name, found {type(weights).__name__}"
        )
    plain = {
        'state_dict': {
            k: v.detach().cpu() for k, v in weights.items() if isinstance(v, torch.Tensor)
        }
    }
    meta = checkpoint.get('meta')
    if isinstance(meta, dict) and 'dataset_meta' in meta:
        plain['meta'] = {'dataset_meta': to_plain(meta['dataset_meta'], 'meta.dataset_meta')}
    with whole_file(args.target) as draft:
        torch.save(plain, draft)
    print(f'{len(plain["state_dict"])} tensors written to {args.target}')
