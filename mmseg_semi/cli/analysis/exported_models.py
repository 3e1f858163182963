"""Compare what tools make of an exported model: mmseg-semi exported-models FILE.onnx IMAGES ...

FILE is of `mmseg-semi export`, IMAGES a folder. The masks of these variants are compared with those of FILE itself in onnxruntime, float32:

    onnxslim, onnxsim     simplified graphs
    int8                  weights and activations of 8 bits (onnxruntime.quantization), with ranges from images that are not compared
    openvino              OpenVINO with its own choice of precision, and with float32

A variant whose package is not installed is told and left out.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.files import walk_images

Run = Callable[[np.ndarray], np.ndarray]
"""(1, 3, H, W) float32 colours in 0..255 -> (1, K, H, W) logits."""


@dataclass(frozen=True)
class Row:
    """What one variant does.

    Attributes:
        name: Of the variant.
        size: Of its file in bytes, 0 where it has none of its own.
        dynamic: Whether it takes images of any size.
        logits: Largest difference from the logits of the original, relative for those above 1.
        pixels: Share of pixels that change class, in [0, 1].
        milliseconds: Median time of an image, by the clock.
    """

    name: str
    size: int
    dynamic: bool
    logits: float
    pixels: float
    milliseconds: float


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Compare what simplifiers, 8 bits and OpenVINO make of an exported model.'
    )
    parser.add_argument('model', type=Path, metavar='FILE.onnx')
    parser.add_argument('images', type=Path, metavar='IMAGES', help='a folder of images')
    parser.add_argument('--number', type=int, default=20, help='images to compare on; default 20')
    parser.add_argument(
        '--calibration', type=int, default=20, help='further images, for 8 bits; default 20'
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="to which images are brought; default that of the graph, or the image's own",
    )
    parser.add_argument('--bgr', action='store_true', help='the model takes blue, green, red')
    parser.add_argument('--threads', type=int, default=1, help='default 1')
    return parser.parse_args(arguments)


def load_images(paths: list[Path], size: tuple[int, int] | None, bgr: bool) -> list[np.ndarray]:
    """Images as (1, 3, H, W) float32 colours in 0..255."""
    arrays = []
    for path in paths:
        with Image.open(path) as image:
            image = image.convert('RGB')
            if size is not None:
                image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            array = np.asarray(image, np.float32)
        arrays.append(
            np.ascontiguousarray(array[..., :: -1 if bgr else 1].transpose(2, 0, 1))[None]
        )
    return arrays


def in_onnxruntime(path: Path, threads: int) -> tuple[Run, bool]:
    """A graph in onnxruntime, and whether it takes images of any size."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    shape = session.get_inputs()[0].shape
    dynamic = not isinstance(shape[2], int) and not isinstance(shape[3], int)
    return lambda image: session.run(None, {'image': image})[0], dynamic


def in_openvino(path: Path, threads: int, precision: str | None) -> tuple[Run, bool]:
    """The same in OpenVINO; ``precision`` such as 'f32', or None for its own choice."""
    import openvino

    options = {'INFERENCE_NUM_THREADS': threads}
    if precision is not None:
        options['INFERENCE_PRECISION_HINT'] = precision
    model = openvino.compile_model(str(path), 'CPU', options)
    return lambda image: next(iter(model({'image': image}).values())), model.input(
        0
    ).partial_shape.is_dynamic


def slim(source: Path, target: Path) -> None:
    """Simplify a graph by onnxslim."""
    import onnx
    import onnxslim

    onnx.save(onnxslim.slim(onnx.load(source)), target)


def simplify(source: Path, target: Path) -> None:
    """Simplify a graph by onnxsim."""
    import onnx
    import onnxsim

    simplified, agrees = onnxsim.simplify(onnx.load(source))
    if not agrees:
        raise SetupError(f"onnxsim's graph of {source} gives other values than the graph itself")
    onnx.save(simplified, target)


def quantise(source: Path, target: Path, images: list[np.ndarray]) -> None:
    """Weights (a scale a channel) and activations of 8 bits by onnxruntime, with ranges from images."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest = iter(images)

        def get_next(self) -> dict | None:
            image = next(self._rest, None)
            return None if image is None else {'image': image}

    prepared = target.with_suffix('.prepared.onnx')
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # its shapes are known
    quantize_static(prepared, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)


def variants(
    model: Path, folder: Path, calibration: list[np.ndarray], threads: int
) -> Iterator[tuple[str, int, Run, bool]]:
    """(name, bytes, run, dynamic) of each variant whose packages are there."""
    makers = {
        'onnxslim': ('onnxslim', slim),
        'onnxsim': ('onnxsim', simplify),
        'int8': ('onnxruntime', lambda source, target: quantise(source, target, calibration)),
    }
    for name, (package, make) in makers.items():
        if find_spec(package) is None:
            print(f'{name}: {package} is not installed, left out')
            continue
        target = folder / f'{name}.onnx'
        make(model, target)
        run, dynamic = in_onnxruntime(target, threads)
        yield name, target.stat().st_size, run, dynamic
    if find_spec('openvino') is None:
        print('openvino: not installed, left out')
        return
    for name, precision in (('OpenVINO', None), ('OpenVINO, float32', 'f32')):
        run, dynamic = in_openvino(model, threads, precision)
        yield name, 0, run, dynamic


def compare(
    name: str,
    size: int,
    run: Run,
    dynamic: bool,
    images: list[np.ndarray],
    expected: list[np.ndarray],
) -> Row:
    """Run a variant on images and compare its logits with ``expected``."""
    run(images[0])  # memory and kernels
    worst, changed, pixels, times = 0.0, 0, 0, []
    for image, logits in zip(images, expected, strict=True):
        start = time.perf_counter()
        found = run(image)
        times.append(1e3 * (time.perf_counter() - start))
        worst = max(worst, float((np.abs(found - logits) / np.maximum(np.abs(logits), 1)).max()))
        differ = found.argmax(1) != logits.argmax(1)
        changed, pixels = changed + int(differ.sum()), pixels + differ.size
    return Row(name, size, dynamic, worst, changed / pixels, statistics.median(times))


@tool
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    if find_spec('onnxruntime') is None:
        raise SetupError("onnxruntime is not installed: pip install 'mmseg_semi[onnx]'")
    if min(args.number, args.calibration, args.threads) < 1:
        raise SetupError('--number, --calibration and --threads must be at least 1')
    if not args.model.is_file():
        raise SetupError(f"'{args.model}' does not exist; write it by mmseg-semi export")
    if not args.images.is_dir():
        raise SetupError(f"'{args.images}' is no folder; give a folder of images")
    paths = sorted(walk_images(args.images))
    if len(paths) < args.number + args.calibration:
        raise SetupError(
            f'{args.images} holds {len(paths)} images, expected --number {args.number} and --calibration {args.calibration} others'
        )
    original, dynamic = in_onnxruntime(args.model, args.threads)
    size = args.size if dynamic or args.size else _size_of(args.model)
    step = len(paths) // (args.number + args.calibration)
    chosen = load_images(paths[::step][: args.number + args.calibration], size, args.bgr)
    images, calibration = chosen[: args.number], chosen[args.number :]
    expected = [original(image) for image in images]
    first = compare('onnxruntime', args.model.stat().st_size, original, dynamic, images, expected)
    print(row(first))
    with TemporaryDirectory() as folder:
        for found in variants(args.model, Path(folder), calibration, args.threads):
            print(row(compare(*found, images, expected)), flush=True)
    return 0


def row(found: Row) -> str:
    """A line of the table."""
    size = f'{found.size / 1e6:7.1f} MB' if found.size else ' ' * 10
    shape = 'any size' if found.dynamic else 'one size'
    return (
        f'{found.name:18s} {size}  {shape}  logits {found.logits:.1e}  pixels {found.pixels:8.4%}  '
        f'{found.milliseconds:7.1f} ms'
    )


def _size_of(model: Path) -> tuple[int, int]:
    """Height and width that a graph of one size takes."""
    import onnxruntime

    shape = onnxruntime.InferenceSession(str(model)).get_inputs()[0].shape
    return shape[2], shape[3]
