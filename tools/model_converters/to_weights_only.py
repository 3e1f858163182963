"""Rewrite a checkpoint so that it holds weights and nothing else.

python tools/model_converters/to_weights_only.py IN OUT [--trust]

Checkpoints are loaded without running code from them, so files that hold other Python objects are
refused. This tool keeps their tensors, and the class names and colours. With ``--trust`` it reads a
refused file without that protection: whoever made the file can then run any program as you.
"""

import argparse
import sys
from pathlib import Path

import torch

try:
    from mmseg_semi.errors import SetupError
    from mmseg_semi.runtime import launch, stack
    from mmseg_semi.runtime.checkpoints import settle, to_plain
except ValueError as error:  # a SetupError: the OpenMMLab stack is not as it must be
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Rewrite a checkpoint as plain weights.')
    parser.add_argument('source', type=Path, metavar='IN')
    parser.add_argument('target', type=Path, metavar='OUT')
    parser.add_argument(
        '--trust', action='store_true', help='the file may run code on this machine'
    )
    return parser.parse_args()


@launch.tool
def main() -> None:
    args = parse_args()
    if not args.source.is_file():
        raise SetupError(f"checkpoint '{args.source}' does not exist")
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
    temporary = args.target.with_name(f'{args.target.name}.tmp')
    args.target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(plain, temporary)
    settle(temporary, args.target)
    print(f'{len(plain["state_dict"])} tensors written to {args.target}')


if __name__ == '__main__':
    main()
