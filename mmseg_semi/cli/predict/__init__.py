"""Predict masks of images, folders or a video: mmseg-semi predict MODEL INPUT --out DIR.

MODEL is a published .pth, a checkpoint of a run, or the folder of a run or a project. INPUT is an image, a video,
or a folder of images with its subfolders. Masks that INPUT may hold are not looked for. The exit
status is 0; 1 if some files could not be read, the others are done then; 2 for a wrong call.
"""

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from mmseg_semi.cli.common import tool
from mmseg_semi.cli.predict.folder import FolderRun
from mmseg_semi.cli.predict.video import predict_video
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.prediction import sources
from mmseg_semi.runtime.prediction.coco import KINDS
from mmseg_semi.runtime.prediction.geo import is_georeferenced, require_rasterio
from mmseg_semi.runtime.prediction.models import find_model, load_model, names_text
from mmseg_semi.runtime.prediction.outputs import MaskCode
from mmseg_semi.runtime.prediction.predictor import Predictor
from mmseg_semi.runtime.prediction.sources import Inputs, find_images

WHAT = ('masks', 'overlays', 'confidence', 'areas')
MASKS = ('index', 'palette', 'own')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Predict masks of an image, a folder of images, or a video.',
        epilog='Exit status: 0; 1 if files could not be read, the others are done; 2 for a wrong call.',
    )
    add_model_arguments(parser)
    parser.add_argument('input', metavar='INPUT', help='an image, a video or a folder of images')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder to write to')
    parser.add_argument(
        '--overwrite', action='store_true', help='write into a folder that holds files'
    )
    parser.add_argument(
        '--what',
        default=None,
        metavar='KINDS',
        help=f'some of {",".join(WHAT)}; default masks,overlays,areas, of a video overlays,areas',
    )
    parser.add_argument(
        '--masks',
        choices=MASKS,
        default='index',
        help="values of masks: class indices (default), the same with a palette, or the user's own "
        'values or colours, as in the data file',
    )
    parser.add_argument(
        '--data',
        metavar='FILE',
        help="data.yaml for --masks own; default the one of the model's config",
    )
    parser.add_argument(
        '--coco',
        nargs='?',
        const='polygons',
        choices=KINDS,
        help='write coco.json for an annotation tool, with polygons (default) or RLE',
    )
    add_size_arguments(parser)
    parser.add_argument(
        '--drop-georeference', action='store_true', help='read GeoTIFFs as plain images'
    )
    return parser.parse_args(arguments)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, ``--config``, ``--network`` and ``--device``."""
    parser.add_argument(
        'model',
        metavar='MODEL',
        help='a published .pth, a checkpoint, or the folder of a run or a project',
    )
    parser.add_argument('--config', help='config of the model, if it does not stand beside it')
    parser.add_argument(
        '--network',
        choices=('student', 'teacher', 'peer'),
        help="of a run's checkpoint; default: the one that validated better, else the teacher",
    )
    parser.add_argument('--device', help='such as cpu or cuda:0; default a GPU if there is one')


def add_tile_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--tile``."""
    parser.add_argument(
        '--tile',
        type=int,
        metavar='SIZE',
        help='long side of a tile, in pixels of the image; 0 takes every image whole; default by '
        'the size of the image',
    )


def add_size_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--tile``, ``--overlap`` and ``--batch``."""
    add_tile_argument(parser)
    parser.add_argument(
        '--overlap',
        type=float,
        default=0.25,
        metavar='SHARE',
        help='share of a tile that its neighbour repeats, 0 to 0.5; default 0.25',
    )
    parser.add_argument(
        '--batch', type=int, default=1, help='tiles, or images of one size, at once; default 1'
    )


def check_sizes(args: argparse.Namespace) -> None:
    """Refuse sizes that cannot work.

    Raises:
        SetupError: With the option.
    """
    if args.tile is not None and args.tile != 0 and args.tile < 32:
        raise SetupError(f'--tile is {args.tile}, expected 0 or at least 32 pixels')
    if not 0 <= getattr(args, 'overlap', 0) <= 0.5:
        raise SetupError(f'--overlap is {args.overlap:g}, expected a share of 0 to 0.5')
    if getattr(args, 'batch', 1) < 1:
        raise SetupError(f'--batch is {args.batch}, expected at least 1')


def kinds_of_output(args: argparse.Namespace, video: bool) -> list[str]:
    """What is written.

    Raises:
        SetupError: If ``--what`` has an unknown word.
    """
    default = 'overlays,areas' if video else 'masks,overlays,areas'
    kinds = [kind.strip() for kind in (args.what or default).split(',') if kind.strip()]
    unknown = [kind for kind in kinds if kind not in WHAT]
    if unknown or not kinds:
        raise SetupError(
            f"--what is '{args.what}', expected some of {', '.join(WHAT)}, joined by commas"
        )
    return kinds


def check_out(out: Path, source: Path, overwrite: bool) -> None:
    """Refuse a folder that would mix results with other files.

    Raises:
        SetupError: If ``out`` is a file, is the input, or holds files and ``overwrite`` is False.
    """
    if out.exists() and not out.is_dir():
        raise SetupError(f"--out '{out}' is a file; give a folder")
    if out.is_dir() and source.is_dir() and out.resolve() == source.resolve():
        raise SetupError(f"--out '{out}' is the folder of the images; give another one")
    if out.is_dir() and not overwrite and any(out.iterdir()):
        raise SetupError(
            f"--out '{out}' holds files; give a new folder, or --overwrite to write into it"
        )


@contextmanager
def large_images() -> Iterator[None]:
    """Inside the block, Pillow decodes images up to OpenCV's limit without a warning."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = sources.MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            # MMSegmentation's advice about sizes and binary heads, which training has heeded or not
            warnings.filterwarnings('ignore', module=r'mmseg\.models\.')
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def check_georeference(inputs: Inputs, drop: bool) -> None:
    """Refuse GeoTIFFs that nothing here can read, before any image is predicted.

    Raises:
        SetupError: If there is one, rasterio is missing and ``drop`` is False.
    """
    if drop:
        return
    for path in inputs.names.values():
        if is_georeferenced(path):
            require_rasterio(path)
            return


def describe_inputs(inputs: Inputs) -> list[str]:
    """What is unusual about the files of a folder."""
    lines = []
    if inputs.doubled:
        lines.append(
            f'{len(inputs.doubled)} names belong to several files, which differ in their suffix; their outputs keep it '
            f'(NAME.jpg.png): {names_text(inputs.doubled)}'
        )
    if inputs.videos:
        lines.append(
            f'{len(inputs.videos)} videos were left out, each is given by its own name: '
            f'{names_text([path.name for path in inputs.videos])}'
        )
    if inputs.others:
        others = ', '.join(f'{n} x {suffix}' for suffix, n in inputs.others.most_common(5))
        lines.append(f'other files, left out: {others}')
    return lines


@tool
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    check_sizes(args)
    source = Path(args.input)
    video = source.is_file() and source.suffix.lower() in sources.VIDEO_SUFFIXES
    kinds = kinds_of_output(args, video)
    check_out(args.out, source, args.overwrite)
    with large_images():
        inputs = None
        if not video:
            inputs = find_images(source, args.out)
            check_georeference(inputs, args.drop_georeference)
        elif args.coco:
            raise SetupError(
                '--coco: a video has no image files that annotations could name; leave it out'
            )
        model = load_model(find_model(args.model, args.config), args.network, args.device)
        own = OwnData(args.data) if args.data else model.own
        if args.masks == 'own' and own is None and model.missing_data:
            raise SetupError(
                f"--masks own: the data file '{model.missing_data}' of the model's config is not there; name it by --data"
            )
        code = MaskCode(args.masks, model.palette, own)
        predictor = Predictor(model, args.tile, args.overlap, args.batch)
        network = '' if model.name == 'network' else f', {model.name}'
        print(f'{model.files.checkpoint}{network}, {model.num_classes} classes, on {model.device}')
        if model.why:
            print(model.why)
        if video:
            return predict_video(args, predictor, kinds, code)
        run = FolderRun(args, inputs, predictor, kinds, code)
        run.run()
    print('\n'.join([*run.report.lines(), *describe_inputs(inputs)]))
    print(f'written to {args.out}: {", ".join([*kinds, *["coco.json"] * bool(args.coco)])}')
    return 1 if run.report.failed else 0
