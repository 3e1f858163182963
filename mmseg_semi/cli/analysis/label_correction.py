"""Measure MLLC's label correction: mmseg-semi label-correction CONFIG CHECKPOINT ...

The network that makes pseudo-labels predicts complete images, as in evaluation. Its predictions
pass the rounds of correction as in training, with the class thresholds of the checkpoint. The
command prints, by class, the share of correct pixels before and after every round, and the pixels
that a round made correct or wrong. It writes them as JSON, and a sheet of pictures.

--on val (the default) uses the validation images. --on unlabeled uses the unlabelled training images
that have a mask; only this command and tools/test.py --pool open these masks. --rounds measures
correction without trained layers: GraphCorrection with that many rounds, also for checkpoints of
FixMatch or DDFP.

Example:
    mmseg-semi label-correction mmseg_semi::mllc/camvid_46_small.py \\
        work_dirs/mllc/camvid_46_small/iter_1000.pth
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from rich.progress import track
from torch import Tensor, nn

from mmseg_semi.cli.common import add_config_arguments, tool
from mmseg_semi.data.masked_pool import MaskedPool
from mmseg_semi.errors import SetupError
from mmseg_semi.heads import two_stage
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc import correction_quality
from mmseg_semi.methods.mllc.correction_quality import CorrectionQuality, describe_quality
from mmseg_semi.runtime import configs, stack
from mmseg_semi.runtime import pictures as draw
from mmseg_semi.step.views import TeacherOutputs

SIDE = 320  # pixels of a picture's longer side
RIGHTED, WRONGED, OTHER, SAME = (0, 160, 70), (205, 30, 30), (235, 170, 0), (235, 235, 235)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config of the run')
    parser.add_argument('checkpoint', help='a checkpoint of the run')
    parser.add_argument('--on', choices=('val', 'unlabeled'), default='val', help='which images')
    parser.add_argument(
        '--images', type=int, default=50, help='number of images, evenly spread; default 50'
    )
    parser.add_argument('--rows', type=int, default=8, help='images on the sheet; default 8')
    parser.add_argument(
        '--rounds',
        type=int,
        metavar='K',
        help='correct K times without trained layers, instead of as the config says',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of the two files; default label_correction/ beside the checkpoint',
    )
    add_config_arguments(parser)
    return parser.parse_args(arguments)


def build(args: argparse.Namespace) -> tuple[nn.Module, Config]:
    """Build the segmentor with the checkpoint's weights and counts.

    Raises:
        SetupError: If the config or the checkpoint does not fit, or nothing corrects labels.
    """
    cfg = configs.load_config(args.config, args.cfg_options)
    if cfg.model.type != 'SemiSegmentor':
        raise SetupError(
            f"config '{args.config}' has no SemiSegmentor and no pseudo-labels; give another config"
        )
    if not Path(args.checkpoint).is_file():
        raise SetupError(
            f"checkpoint '{args.checkpoint}' does not exist; give a checkpoint of the run"
        )
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    with stack.complete_weights():
        load_checkpoint(model, args.checkpoint, map_location='cpu', logger='silent')
    if args.rounds is not None:
        counts = getattr(model.pseudo_label, 'thresholds', None)
        model.pseudo_label = MODELS.build(dict(type='GraphCorrection', rounds=args.rounds))
        model.pseudo_label.bind(model.bound, model.objectives)
        if counts is not None:
            model.pseudo_label.thresholds = counts
        else:  # without counts, every class has the highest threshold, as in the authors' code
            model.pseudo_label.thresholds.counts.fill_(1)
    if not hasattr(model.pseudo_label, 'levels'):
        raise SetupError(
            f'model.pseudo_label is {type(model.pseudo_label).__name__}, which corrects nothing: '
            'give --rounds 2 to measure a correction without trained layers'
        )
    return model.eval(), cfg


def build_images(cfg: Config, on: str):
    """Build a data set whose items have an image for the network and a mask.

    Raises:
        SetupError: If ``on`` is 'unlabeled' and there are no unlabelled images with masks.
    """
    dataset = cfg.val_dataloader.dataset
    if on == 'unlabeled':
        return MaskedPool(cfg.train_dataloader.dataset, dataset.pipeline)
    return DATASETS.build(dataset)


@torch.no_grad()
def labels_of(
    model: nn.Module, item: dict, device: torch.device
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Predict one image at every level.

    Returns:
        The normalised image (3, H, W); the labels before correction and after each round, (H, W)
        each; the true labels (H, W).
    """
    data = model.data_preprocessor(pseudo_collate([item]), False)
    image = data['inputs'].to(device)
    truth = data['data_samples'][0].gt_sem_seg.data.squeeze(0).to(device).long()
    size = image.shape[2:]
    head = model.teacher_network.decode_head
    stages = two_stage(head)
    features = model.teacher_network.extract_feat(image)
    features, logits, embedding = stages.finish(stages.lift(stages.embed(features)))
    outputs = TeacherOutputs(logits, features, embedding)
    valid = torch.ones(1, *size, dtype=torch.bool, device=device)
    levels = model.pseudo_label.levels(outputs, valid)
    # a mask that was not resized with its image is compared at its own size
    labels = [
        model.upsample(corrected, truth.shape).argmax(dim=1)[0]
        for corrected in model.pseudo_label.corrected(outputs, levels)
    ]
    return image[0], labels, truth


def change_map(before: Tensor, after: Tensor, truth: Tensor) -> np.ndarray:
    """Paint the pixels that a round changed.

    Green: from wrong to correct. Red: from correct to wrong. Yellow: from one wrong class to
    another.
    """
    picture = np.empty((*truth.shape, 3), np.uint8)
    picture[:] = SAME
    changed = (before != after) & (truth != IGNORE)
    for mask, colour in (
        (changed, OTHER),
        (changed & (after == truth), RIGHTED),
        (changed & (before == truth), WRONGED),
    ):
        picture[mask.cpu().numpy()] = colour
    return picture


def row_of(model: nn.Module, image: Tensor, labels: list[Tensor], truth: Tensor, palette) -> list:
    """Pictures of one image: image, truth, prediction, changes and labels of each round."""
    (photo,) = draw.undo_preprocessing(image[None], model.data_preprocessor)
    pictures = [(photo, True), (draw.paint_labels(truth, palette), False)]
    pictures.append((draw.paint_labels(labels[0], palette), False))
    for before, after in zip(labels, labels[1:], strict=False):
        pictures.append((change_map(before, after, truth), False))
        pictures.append((draw.paint_labels(after, palette), False))
    return [draw.shrink(picture, SIDE, smooth) for picture, smooth in pictures]


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if args.images < 1 or args.rows < 0 or (args.rounds or 0) < 0:
        raise SetupError('--images must be at least 1, --rows and --rounds at least 0')
    model, cfg = build(args)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model.to(device)
    dataset = build_images(cfg, args.on)
    count = min(args.images, len(dataset))
    chosen = sorted({round(i * len(dataset) / count) for i in range(count)})
    classes = dataset.metainfo['classes']
    palette = dataset.metainfo.get('palette') or draw.default_palette(len(classes))
    total: CorrectionQuality | None = None
    rows, captions = [], []
    for index in track(chosen, 'images'):
        item = dataset[index]
        image, labels, truth = labels_of(model, item, device)
        quality = correction_quality(labels, truth, model.num_classes)
        total = quality if total is None else total + quality
        if len(rows) < args.rows:
            rows.append(row_of(model, image, labels, truth, palette))
            name = Path(item['data_samples'].metainfo.get('img_path', str(index))).name
            shares = [
                100 * float(value) for k, value in quality.values().items() if 'accuracy' in k
            ]
            captions.append(f'{name}: right ' + ' -> '.join(f'{s:.1f} %' for s in shares))
    print(describe_quality(args.on, total, classes))
    out = args.out or Path(args.checkpoint).parent / 'label_correction'
    out.mkdir(parents=True, exist_ok=True)
    result = dict(
        config=args.config,
        checkpoint=str(args.checkpoint),
        images=len(chosen),
        on=args.on,
        classes=list(classes),
        thresholds=model.pseudo_label.thresholds().tolist(),
        **{name: getattr(total, name).tolist() for name in total.__dataclass_fields__},
        **{name: float(value) for name, value in total.values().items()},
    )
    (out / f'{args.on}.json').write_text(json.dumps(result, indent=1) + '\n')
    print(f'{out / args.on}.json')
    if rows:
        titles = ['image', 'truth', 'before']
        for k in range(1, len(total.right)):
            titles += [f'round {k}: green right, red wrong', f'after round {k}']
        Image.fromarray(draw.sheet(rows, titles, captions)).save(out / f'{args.on}.png')
        print(f'{out / args.on}.png')
