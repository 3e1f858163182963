"""Measure what MLLC's label correction does: python tools/analysis/label_correction.py CONFIG CHECKPOINT [--on unlabeled] ...

The network that labels passes whole images as in evaluation; its answer goes through the rounds of correction as in training,
with the checkpoint's class thresholds. Prints the share of pixels that are right before and after every round, and those that
a round made right or wrong, by class; writes them as JSON, and a sheet of pictures.

--on val (the default) takes the validation images, --on unlabeled the training list of unlabelled ones, whose masks, where
there are any, are opened here and nowhere else. --rounds repeats the measurement without trained layers: GraphCorrection with
as many rounds on the same network, also for checkpoints of FixMatch or DDFP.

Example:
    python tools/analysis/label_correction.py configs/mllc/camvid_46_small.py work_dirs/mllc/camvid_46_small/iter_1000.pth
"""

import argparse
import json
import sys
from pathlib import Path

try:
    from mmseg_semi.runtime import launch, stack
except ValueError as error:  # none or both of the distributions of mmsegmentation are installed
    sys.exit(f'error: {error}')

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

from mmseg_semi.errors import SetupError
from mmseg_semi.heads import two_stage
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc import correction_quality
from mmseg_semi.methods.mllc.correction_quality import CorrectionQuality, describe_quality
from mmseg_semi.runtime import pictures as draw
from mmseg_semi.step.views import TeacherOutputs

SIDE = 320  # pixels of a picture's longer side
RIGHTED, WRONGED, OTHER, SAME = (0, 160, 70), (205, 30, 30), (235, 170, 0), (235, 235, 235)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config of the run')
    parser.add_argument('checkpoint', help='a checkpoint of the run')
    parser.add_argument('--on', choices=('val', 'unlabeled'), default='val', help='images')
    parser.add_argument(
        '--images', type=int, default=50, help='how many, evenly spread; default 50'
    )
    parser.add_argument('--rows', type=int, default=8, help='images on the sheet; default 8')
    parser.add_argument(
        '--rounds',
        type=int,
        metavar='K',
        help='correct without trained layers, K times, whatever the config says',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of the two files; default label_correction/ beside the checkpoint',
    )
    launch.add_config_arguments(parser)
    return parser.parse_args()


def build(args: argparse.Namespace) -> tuple[nn.Module, Config]:
    """The segmentor with the checkpoint's weights and counts."""
    cfg = launch.load_config(args.config, args.cfg_options)
    if cfg.model.type != 'SemiSegmentor':
        raise SetupError(
            f"config '{args.config}' is of no SemiSegmentor: there are no pseudo-labels"
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
        else:  # without counts all classes have the highest threshold, as in the authors' evaluation
            model.pseudo_label.thresholds.counts.fill_(1)
    if not hasattr(model.pseudo_label, 'levels'):
        raise SetupError(
            f'model.pseudo_label is {type(model.pseudo_label).__name__}, which corrects nothing: give --rounds 2 to see what '
            'correction would do'
        )
    return model.eval(), cfg


def build_images(cfg: Config, on: str):
    """A data set whose items have an image for the network and a mask."""
    dataset = dict(cfg.val_dataloader.dataset)
    if on == 'unlabeled':
        sources = cfg.train_dataloader.dataset
        if not sources.get('unlabeled') or isinstance(sources.unlabeled, list | tuple):
            raise SetupError(
                "--on unlabeled: train_dataloader.dataset.unlabeled must be one data set of the labelled one's kind"
            )
        prefix = dict(sources.labeled.data_prefix)
        # SemiDataset takes a list's path from the working folder, MMSegmentation from data_root
        lines = Path(sources.unlabeled.get('ann_file') or '')
        own = dict(ann_file=str(lines.resolve())) if lines.is_file() else {}
        dataset = dict(sources.unlabeled, data_prefix=prefix, pipeline=dataset['pipeline']) | own
    return DATASETS.build(dataset)


@torch.no_grad()
def answers_of(
    model: nn.Module, item: dict, device: torch.device
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Normalised image (3, H, W), labels of every level (H, W), and truth (H, W), at the size of the network's input."""
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
    # masks that were not resized with their image are compared at their own size
    labels = [
        model.upsample(corrected, truth.shape).argmax(dim=1)[0]
        for corrected in model.pseudo_label.corrected(outputs, levels)
    ]
    return image[0], labels, truth


def change_map(before: Tensor, after: Tensor, truth: Tensor) -> np.ndarray:
    """Green where a round made a pixel right, red where wrong, yellow from one wrong class to another."""
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
    """Image, truth, answer of level 0, then what each round changed and its answer."""
    inner = model.data_preprocessor.data_preprocessor
    swapped = getattr(inner, '_channel_conversion', getattr(inner, 'channel_conversion', False))
    (photo,) = draw.undo_normalization(
        image[None], getattr(inner, 'mean', None), getattr(inner, 'std', None), not swapped
    )
    pictures = [(photo, True), (draw.paint_labels(truth, palette), False)]
    pictures.append((draw.paint_labels(labels[0], palette), False))
    for before, after in zip(labels, labels[1:], strict=False):
        pictures.append((change_map(before, after, truth), False))
        pictures.append((draw.paint_labels(after, palette), False))
    return [draw.shrink(picture, SIDE, smooth) for picture, smooth in pictures]


@launch.tool
def main() -> None:
    args = parse_args()
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
        image, labels, truth = answers_of(model, item, device)
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


if __name__ == '__main__':
    main()
