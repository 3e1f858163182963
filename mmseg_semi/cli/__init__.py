"""The installed command: ``mmseg-semi COMMAND ...``, or ``python -m mmseg_semi COMMAND ...``, from any folder.

A command's module is imported when the command is used. Each module has a ``main`` that takes the
arguments as a list; the files in ``tools/`` of a checkout call the same function.
"""

import difflib
import importlib
import sys
from collections.abc import Iterable

COMMANDS: dict[str, tuple[str, str]] = {
    'init': ('cli.init', "make a project folder from an annotation tool's export"),
    'check': (
        'cli.check_dataset',
        'check images and masks of a project, with the share of each class',
    ),
    'train': ('cli.train', 'train a model'),
    'selective-retraining': ('cli.selective_retraining', 'train by ST or ST++, in stages'),
    'test': ('cli.test', 'evaluate a checkpoint'),
    'predict': ('cli.predict', 'predict masks of images, folders or a video'),
    'rank': ('cli.rank', 'rank unlabelled images: which to annotate next'),
    'report': ('cli.report', 'make the report of a run, with other runs beside it'),
    'publish': ('cli.publish', 'turn a checkpoint of a run into a plain one with its config'),
    'export': ('cli.export_onnx', 'write a network as ONNX'),
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
    'exported-models': (
        'cli.analysis.exported_models',
        'compare simplified, 8-bit and OpenVINO forms of an exported model',
    ),
    'data-speed': ('cli.analysis.data_speed', 'measure speed and memory of the input pipeline'),
    'crash-test': ('cli.analysis.crash_test', 'kill a training at random moments and resume it'),
    'long-run': (
        'cli.analysis.long_run',
        'observe memory, files and the time of an iteration of a long training',
    ),
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
    'reproduction': (
        'cli.reproduction',
        'write the ledger of constants: papers, released code, configs',
    ),
    'demo': ('cli.quickstart', 'train and compare on generated scenes'),
}
"""Command -> its module below ``mmseg_semi`` and one line for ``mmseg-semi --help``."""

FIRST = (
    'init',
    'check',
    'train',
    'test',
    'predict',
    'rank',
    'report',
    'publish',
    'export',
    'demo',
)
"""Names of the commands that a user needs first, in this order; ``--help`` shows those of them that there are above."""

ALIASES = {'export-onnx': 'export', 'quickstart': 'demo'}
"""Another name of a command, that of its file in ``tools/`` -> its name in :data:`COMMANDS`."""


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
    module, _ = COMMANDS.get(ALIASES.get(name, name), (None, None))
    if module is None:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f'; did you mean {near[0]}?' if near else ''
        print(f"error: '{arguments[0]}' is no command{hint}\n\n{usage()}", file=sys.stderr)
        return 2
    sys.argv = [f'mmseg-semi {name}', *rest]  # argparse takes the name in its messages from here
    return importlib.import_module(f'mmseg_semi.{module}').main(rest)


def usage() -> str:
    """All commands with one line each, those needed first above."""
    width = max(map(len, COMMANDS))

    def lines(names: Iterable[str]) -> list[str]:
        return [f'  {name:{width}}  {COMMANDS[name][1]}' for name in names]

    first = [name for name in FIRST if name in COMMANDS]
    rest = [name for name in COMMANDS if name not in FIRST]
    return '\n'.join(
        [
            'usage: mmseg-semi COMMAND ...',
            '',
            *lines(first),
            '',
            'for data, measurements and studies:',
            *lines(rest),
            '',
            'options: mmseg-semi COMMAND --help',
            'a config is a file, or one of the package: mmseg-semi train mmseg_semi::ddfp/voc_732.py',
        ]
    )
