"""Write a network as ONNX: mmseg-semi export CONFIG CHECKPOINT OUT.onnx ...

CONFIG and CHECKPOINT are those of tools/publish.py, of a run, or of any EncoderDecoder. The graph
normalises `image`, (N, 3, H, W) float32 colours in 0..255 (with bands, (N, bands, H, W) levels), and returns `logits`, (N, K, H, W) at
the size of the image. The file is written only if onnxruntime agrees with PyTorch to 1e-4.
"""

import argparse
import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.cli.common import CONFIG_HELP, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.runtime import configs, devices, stack
from mmseg_semi.runtime.pictures import swaps_channels
from mmseg_semi.step.image_kernels import image_channels

TOLERANCE = 1e-4


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write a network as ONNX.')
    parser.add_argument('config', help=CONFIG_HELP)
    parser.add_argument('checkpoint', help='a checkpoint file')
    parser.add_argument('target', type=Path, metavar='OUT.onnx')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(512, 512),
        metavar=('H', 'W'),
        help='of the images, in pixels; default 512 512',
    )
    parser.add_argument(
        '--dynamic', action='store_true', help='take any number of images of any size'
    )
    parser.add_argument(
        '--network',
        choices=('teacher', 'student', 'peer'),
        help="of a run's checkpoint; default: the teacher where it has weights of its own",
    )
    return parser.parse_args(arguments)


class Deployed(nn.Module):
    """The deployed network: colours in 0..255 to logits at the size of the image.

    Args:
        network: An ``EncoderDecoder``.
        preprocessor: Its ``SegDataPreProcessor``, for mean and standard deviation.
    """

    def __init__(self, network: nn.Module, preprocessor: nn.Module) -> None:
        super().__init__()
        self.network = network
        mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
        self.register_buffer('mean', torch.zeros(1, 1, 1) if mean is None else mean.view(-1, 1, 1))
        self.register_buffer('std', torch.ones(1, 1, 1) if std is None else std.view(-1, 1, 1))
        self.channels = image_channels(network) or 3

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W)."""
        logits = self.network((image - self.mean) / self.std, mode='tensor')
        # whole images, as EncoderDecoder does; the caller cuts windows
        if hasattr(self.network.decode_head, 'fit'):
            return self.network.decode_head.fit(logits, image.shape[2:])
        return nn.functional.interpolate(
            logits,
            size=image.shape[2:],
            mode='bilinear',
            align_corners=self.network.align_corners,
        )


def load(config: str, checkpoint: str, network: str | None) -> tuple[Deployed, bool]:
    """Load the network to export.

    Returns:
        The network, and whether it takes red, green, blue; else it takes blue, green, red.

    Raises:
        SetupError: If ``network`` is given and the model is a plain segmentor.
    """
    cfg = configs.load_config(config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    devices.replace_sync_bn(cfg.model)
    model = MODELS.build(cfg.model)
    with stack.complete_weights():
        load_checkpoint(model, checkpoint, map_location='cpu')
    preprocessor = getattr(model.data_preprocessor, 'data_preprocessor', model.data_preprocessor)
    if hasattr(model, 'network'):
        model = model.network(network)
    elif network is not None:
        raise SetupError(
            f"--network {network}: the model of config '{config}' is a plain segmentor; leave it "
            'out'
        )
    return Deployed(model, preprocessor).eval(), swaps_channels(preprocessor)


def export(module: Deployed, image: Tensor, target: Path, dynamic: bool) -> None:
    """Write the module's graph by PyTorch's dynamo-based exporter.

    Args:
        module: The network.
        image: An example input.
        target: The file.
        dynamic: Export for any number of images of any size.

    Raises:
        SetupError: If ``dynamic`` is set and the network computes with the size of its image.
    """
    shapes = None
    if dynamic:
        dim = torch.export.Dim
        shapes = {'image': {0: dim('images'), 2: dim('height', min=32), 3: dim('width', min=32)}}
    try:
        # Trace first: the conversion alone would silently keep the size where any size fails.
        program = torch.export.export(module, (image,), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        if not dynamic:
            raise
        raise SetupError(
            f'--dynamic: {type(module.network.decode_head).__name__} or '
            f'{type(module.network.backbone).__name__} computes with the size of its image '
            f'({str(error).strip().splitlines()[0][:120]}); export one size with --size H W'
        ) from error
    torch.onnx.export(
        program,
        f=str(target),
        dynamo=True,
        input_names=['image'],
        output_names=['logits'],
        external_data=False,
        verbose=False,
    )


def difference(module: Deployed, target: Path, image: Tensor) -> float:
    """Largest difference of onnxruntime's logits from PyTorch's, relative for logits above 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(target), providers=['CPUExecutionProvider'])
    with torch.no_grad():
        expected = module(image)
    found = torch.from_numpy(session.run(None, {'image': image.numpy()})[0])
    return float(((found - expected).abs() / expected.abs().clamp(min=1)).max())


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SetupError(
            f'{error.name} is not installed; install what the export needs with: pip install '
            "'mmseg_semi[onnx]'"
        ) from error
    module, swapped = load(args.config, args.checkpoint, args.network)
    height, width = args.size
    generator = torch.Generator().manual_seed(0)
    # two images: the exporter takes a size of one for a constant
    count = 2 if args.dynamic else 1
    image = torch.rand(count, module.channels, height, width, generator=generator) * 255
    checks = [image]
    if args.dynamic:
        checks.append(
            torch.rand(1, module.channels, height + 37, width + 18, generator=generator) * 255
        )
    with whole_file(args.target) as draft:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')  # about PyTorch's own code
            logging.getLogger('torch.onnx').setLevel(logging.ERROR)
            export(module, image, draft, args.dynamic)
        worst = max(difference(module, draft, check) for check in checks)
        if not worst <= TOLERANCE:
            raise SetupError(
                f'onnxruntime differs from PyTorch by {worst:.1e}, expected at most '
                f'{TOLERANCE:.0e}; nothing was written, please report this network'
            )
    order = 'red, green, blue' if swapped else 'blue, green, red'
    if module.channels != 3:
        order = f"{module.channels} bands in the data file's order"
    size = 'any size' if args.dynamic else f'{height} x {width} pixels'
    print(
        f'{args.target}: images of {size}, channels {order}, values 0..255; differs by {worst:.1e}'
    )
