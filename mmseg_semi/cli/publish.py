"""Turn a semi-supervised checkpoint into a plain one: mmseg-semi publish CONFIG CHECKPOINT.

Writes <name>_<network>-<sha256>.pth with the weights of one network and the class names, and beside
it a config of a plain EncoderDecoder for mmseg's init_model, inference_model and test runner. For a
model of several domains (projects/multi_domain) it writes these two files for each domain. The
files are written only if the logits of the plain model equal those of the chosen network bit for
bit.
"""

import argparse
import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg import registry
from torch import nn

from mmseg_semi.cli.common import add_run_arguments, complete_run, tool
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.runtime import configs, stack
from mmseg_semi.runtime.checkpoints import to_plain
from mmseg_semi.runtime.prediction.models import own_data, training_size
from mmseg_semi.runtime.results import choose_network
from mmseg_semi.step.image_kernels import image_channels
from mmseg_semi.step.networks import complete_auxiliary_heads

# Heads with parts for training only -> the deployed head, and the arguments that it does not have.
GRAPHS = ('embedding_channels', 'rounds', 'graph_pool', 'class_layer', 'graph')
PLAIN_HEADS = {
    'DDFPHead': ('DeepLabV3PlusHead', ('split_norms',)),
    'DGCLHead': ('DeepLabV3PlusHead', ('projection', 'projection_channels')),
    'MLLCHead': ('DeepLabV2Head', GRAPHS),
    'MLLCPlusHead': ('DeepLabV3PlusHead', GRAPHS),
}

# Keys of the training config that testing and inference read.
KEPT_KEYS = (
    'default_scope',
    'env_cfg',
    'vis_backends',
    'visualizer',
    'log_processor',
    'log_level',
    'test_dataloader',
    'test_evaluator',
    'test_pipeline',
    'tta_model',
    'tta_pipeline',
)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write a plain checkpoint and config.')
    add_run_arguments(parser, 'the config of the run', 'a checkpoint of the run')
    parser.add_argument(
        '--network',
        choices=('teacher', 'student', 'peer'),
        help="default: the one with the higher mIoU in the checkpoint's validation; without one, the teacher if it has "
        'its own weights, else the student',
    )
    parser.add_argument(
        '--domain', help='for a model of several domains, the one to write; default all of them'
    )
    parser.add_argument(
        '--out', type=Path, help="folder for the two files; default the checkpoint's"
    )
    return complete_run(parser.parse_args(arguments))


def without_pretraining(node: Any) -> Any:
    """Remove ``init_cfg`` and ``pretrained`` from a config; a checkpoint has the weights."""
    if isinstance(node, dict):
        return {
            k: without_pretraining(v)
            for k, v in node.items()
            if k not in ('init_cfg', 'pretrained')
        }
    if isinstance(node, list | tuple):
        return type(node)(without_pretraining(item) for item in node)
    return node


def plain_model(model: dict) -> dict:
    """The config of the EncoderDecoder that computes the same as a network of this model config."""
    plain = model
    if 'student' in model:
        plain = dict(complete_auxiliary_heads(model['student']))
        if model.get('test_cfg') is not None:
            plain['test_cfg'] = model['test_cfg']
        preprocessor = model['data_preprocessor']
        plain['data_preprocessor'] = preprocessor.get('data_preprocessor', preprocessor)
    for key in ('decode_head', 'auxiliary_head'):
        heads = plain.get(key)
        if isinstance(heads, list | tuple):
            plain[key] = type(heads)(plain_head(head) for head in heads)
        elif heads is not None:
            plain[key] = plain_head(heads)
    return plain


def plain_head(head: dict) -> dict:
    """The head's config without the parts for training only."""
    kind, dropped = PLAIN_HEADS.get(head['type'], (head['type'], ()))
    return {'type': kind} | {k: v for k, v in head.items() if k != 'type' and k not in dropped}


def plain_config(cfg: Config, model: dict) -> Config:
    """A complete config for the plain model, with the imports that it needs."""
    plain = {key: cfg[key] for key in KEPT_KEYS if cfg.get(key) is not None}
    plain['model'] = model
    plain['test_cfg'] = dict(type='TestLoop')
    plain['default_hooks'] = {
        name: hook
        for name, hook in cfg.get('default_hooks', {}).items()
        if name in ('timer', 'logger', 'visualization')
    }
    plain['load_from'], plain['resume'] = None, False
    imports = cfg.get('custom_imports', {}).get('imports', [])
    needed = {}
    for module in dict.fromkeys(
        ['mmseg_semi', *([imports] if isinstance(imports, str) else imports)]
    ):
        kinds = sorted(kind for kind in set(configs.config_types(plain)) if is_of(kind, module))
        if kinds:
            needed[module] = kinds
            print(f'The config imports {module} for {", ".join(kinds)}.')
    if needed:
        plain = {'custom_imports': dict(imports=list(needed), allow_failed_imports=False)} | plain
    return Config(plain)


def keep_value_range(plain: Config, own: OwnData | None) -> None:
    """Write the value range of own data into the loader of the test pipeline, which then needs no data file."""
    value_range = own.value_range if own is not None else None
    for step in plain.get('test_pipeline') or []:
        if value_range is not None and step.get('type') == 'LoadAnyImage':
            step.setdefault('value_range', value_range)


def is_of(kind: str, module: str) -> bool:
    """Whether a registered type is defined in a module or in one of its submodules."""
    found = (
        getattr(registry, name).get(kind)
        for name in (
            'MODELS',
            'DATASETS',
            'TRANSFORMS',
            'METRICS',
            'HOOKS',
            'VISUALIZERS',
            'DATA_SAMPLERS',
        )
    )
    return any(
        thing is not None and f'{thing.__module__}.'.startswith(f'{module}.') for thing in found
    )


@torch.no_grad()
def check_equal(network: nn.Module, plain: nn.Module, size: tuple[int, int]) -> None:
    """Compare two networks on random images.

    Raises:
        RuntimeError: If their logits are not equal bit for bit.
    """
    channels = image_channels(network) or 3
    image = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))
    expected, found = network.eval()(image), plain.eval()(image)
    pairs = (
        zip(expected, found, strict=True)
        if isinstance(expected, list | tuple)
        else [(expected, found)]
    )
    if not all(torch.equal(*pair) for pair in pairs):
        raise RuntimeError('the logits of the plain model differ from those of the network')


def find_domains(cfg: Config, model: nn.Module, wanted: str | None) -> list[str | None]:
    """Names of the domains to write; [None] for a model without domains.

    Raises:
        SetupError: If the model has no domain of the name ``wanted``.
    """
    names = list(getattr(model, 'domains', []))
    if wanted is None:
        return names or [None]
    if wanted not in names:
        raise SetupError(
            f"--domain {wanted}: the model of config '{cfg.filename}' "
            + (f'has the domains {names}' if names else 'has no domains; leave the option out')
        )
    return [wanted]


def config_of(cfg: Config, domain: str) -> Config:
    """The config of one domain as of a run on this domain alone."""
    own = {
        key: cfg[key][domain]
        for key in ('test_dataloader', 'test_evaluator', 'crop_size')
        if cfg.get(key)
    }
    rest = {key: value for key, value in cfg.items() if key not in own}
    return Config(rest | own | {'model': cfg.model.domains[domain]}, filename=cfg.filename)


def publish(cfg: Config, segmentor: nn.Module, checkpoint: dict, args: argparse.Namespace) -> None:
    """Write checkpoint and config of one network.

    Args:
        cfg: The segmentor's config.
        segmentor: The segmentor with its weights.
        checkpoint: The checkpoint that they come from, for its ``meta``.
        args: The command's options; ``name`` begins the names of the files.

    Raises:
        SetupError: If ``--network teacher`` or ``peer`` is given for a plain segmentor.
    """
    if hasattr(segmentor, 'network'):
        name = args.network
        if name is None:
            name, reason = choose_network(segmentor, checkpoint)
            print(reason)
        network = segmentor.network(name)
    else:
        name, network = 'student', segmentor
        if args.network in ('teacher', 'peer'):
            raise SetupError(
                f"--network {args.network}: the model of config '{args.config}' is a plain segmentor"
            )

    model = cfg.model.to_dict()
    if name == 'peer' and isinstance(
        model['peer'], dict
    ):  # True is a second student of the same config
        model['student'] = model['peer']
    plain_cfg = plain_config(cfg, plain_model(without_pretraining(model)))
    own, _ = own_data(cfg)
    keep_value_range(plain_cfg, own)
    plain = registry.MODELS.build(plain_cfg.model)
    # the format of any other published model; the two networks then also sum in one order
    network.to(memory_format=torch.contiguous_format)
    weights = {
        key: value.clone()
        for key, value in network.state_dict().items()
        if key in plain.state_dict()
    }
    plain.load_state_dict(weights)
    check_equal(network, plain, tuple(cfg.get('crop_size') or (128, 128)))

    meta = {key: checkpoint.get('meta', {}).get(key) for key in ('dataset_meta', 'iter', 'seed')}
    meta['image_size'] = training_size(cfg, own)
    file = io.BytesIO()
    torch.save({'meta': to_plain(meta, 'meta') | {'network': name}, 'state_dict': weights}, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:8]
    folder = args.out or Path(args.checkpoint).parent
    target = folder / f'{args.name}_{name}-{digest}.pth'
    write_whole(target, file.getvalue())
    plain_cfg.dump(target.with_suffix('.py'))
    print(f'{target}\n{target.with_suffix(".py")}')


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    args.name = Path(args.config).stem
    cfg = configs.load_config(args.config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = registry.MODELS.build(without_pretraining(cfg.model.to_dict()))
    with stack.complete_weights():
        checkpoint = load_checkpoint(model, args.checkpoint, map_location='cpu')
    for domain in find_domains(cfg, model, args.domain):
        if domain is None:
            publish(cfg, model, checkpoint, args)
            continue
        meta = dict(checkpoint.get('meta', {}))
        meta['dataset_meta'] = (meta.get('dataset_meta') or {}).get(domain)
        own = argparse.Namespace(**(vars(args) | {'name': f'{args.name}_{domain}'}))
        publish(config_of(cfg, domain), model.domains[domain], {'meta': meta}, own)
