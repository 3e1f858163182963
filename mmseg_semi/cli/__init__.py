"""The installed command: ``mmseg-semi COMMAND ...`` runs a command of this package; ``tools/`` has a script for each.

A command's module is imported when the command is used. Each module has a ``main`` that takes the
arguments as a list; the files in ``tools/`` call the same function.
"""

import importlib
import sys

COMMANDS: dict[str, tuple[str, str]] = {
    'train': ('cli.train', 'train a model'),
    'selective-retraining': ('cli.selective_retraining', 'train by ST or ST++, in stages'),
    'test': ('cli.test', 'evaluate a checkpoint'),
    'publish': ('cli.publish', 'turn a checkpoint of a run into a plain one with its config'),
    'export-onnx': ('cli.export_onnx', 'write a network as ONNX'),
    'splits': ('cli.splits', 'import, make, check, describe or export lists of images'),
    'shards': ('cli.shards', 'pack unlabelled images into tar shards'),
    'convert-camvid': ('preparing.converters.camvid', 'prepare CamVid'),
    'convert-cityscapes': ('preparing.converters.cityscapes', 'prepare Cityscapes'),
    'convert-sun-rgbd': ('preparing.converters.sun_rgbd', 'prepare SUN RGB-D'),
    'convert-voc': ('preparing.converters.voc', 'prepare PASCAL VOC 2012 with SBD'),
    'band-statistics': (
        'cli.band_statistics',
        'measure the bands of own images and write them into data.yaml',
    ),
    'check-dataset': ('cli.check_dataset', 'check all images and masks before training'),
    'browse-dataset': ('cli.browse_dataset', 'draw the first batches of a training'),
    'benchmark': ('cli.benchmark', 'measure time and memory of training and inference'),
    'compare': ('cli.analysis.compare', 'compare runs by method, list and seed'),
    'study': ('cli.analysis.study', 'train and test configs x splits x seeds'),
    'feature-map': ('cli.analysis.feature_map', 'draw densities and a t-SNE of pixel features'),
    'label-correction': ('cli.analysis.label_correction', "measure MLLC's label correction"),
    'authors-ddfp': ('cli.analysis.authors_ddfp', "time DDFP beside its authors' code"),
    'authors-cct': ('cli.analysis.authors_cct', "time CCT beside its authors' code"),
    'authors-dgcl': ('cli.analysis.authors_dgcl', "time DGCL beside its authors' code"),
    'data-speed': ('cli.analysis.data_speed', 'measure speed and memory of the input pipeline'),
    'crash-test': ('cli.analysis.crash_test', 'kill a training at random moments and resume it'),
    'to-weights-only': (
        'cli.model_converters.to_weights_only',
        'reduce a checkpoint to its weights',
    ),
    'convert-ddfp-resnet': (
        'cli.model_converters.ddfp_resnet',
        'convert an ImageNet ResNet with a deep stem',
    ),
    'convert-backbone': (
        'cli.model_converters.backbone_keys',
        'rename the tensors of DINOv2, ConvNeXt or MiT',
    ),
    'convert-coco-resnet': (
        'cli.model_converters.deeplab_coco_resnet',
        'convert the COCO-pretrained ResNet of AdvSemiSeg',
    ),
    'model-zoo': ('cli.model_zoo', 'write the table of all configs (needs a checkout)'),
    'quickstart': ('cli.quickstart', 'train and compare on generated scenes (needs a checkout)'),
}
"""Command -> its module below ``mmseg_semi`` and one line for ``mmseg-semi --help``."""


def main(arguments: list[str] | None = None) -> int | None:
    """Run one command.

    Args:
        arguments: The command's name and its own arguments; ``sys.argv`` when None.

    Returns:
        The command's exit status.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ('-h', '--help'):
        print(usage())
        return 0 if arguments else 2
    name, *rest = arguments
    name = name.replace('_', '-')
    if name not in COMMANDS:
        print(f"error: '{arguments[0]}' is no command\n\n{usage()}", file=sys.stderr)
        return 2
    sys.argv = [f'mmseg-semi {name}', *rest]  # argparse takes the name in its messages from here
    return importlib.import_module(f'mmseg_semi.{COMMANDS[name][0]}').main(rest)


def usage() -> str:
    """All commands with one line each."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {line}' for name, (_, line) in COMMANDS.items()]
    return '\n'.join(
        ['usage: mmseg-semi COMMAND ...', '', *lines, '', 'options: mmseg-semi COMMAND --help']
    )
