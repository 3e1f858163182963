"""Draw the first batches of a training: labelled crops with masks, and all views of the others.

Each batch gives one sheet: labelled crops with their masks, and weak, strong and mixed views of
unlabelled images, for each strong view that the config has. The batches are those of a run of one process with the same seed. The command
needs no GPU, builds no network and opens no mask of an unlabelled image.

Example:
    mmseg-semi browse-dataset mmseg_semi::fixmatch/camvid_46_small.py --count 2
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from PIL import Image
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmseg_semi.cli.common import add_config_argument, add_options_argument, check_seed, tool
from mmseg_semi.data.randomness import derive_seed
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.runtime import configs
from mmseg_semi.runtime import pictures as draw
from mmseg_semi.step.mixing import Mixing, RandomMixing, mixing_keywords
from mmseg_semi.step.view_plan import ViewPlan
from mmseg_semi.step.views import STRONG, Batch, MixedView, PseudoLabels, UnlabeledBatch, is_strong

SIDE = 320  # pixels of a picture's longer side
ROWS = 8  # images of a kind on one sheet
VALID = (205, 235, 205)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_argument(parser)
    parser.add_argument(
        '--out', type=Path, help="default work_dirs/<the config's path below configs/>/browse"
    )
    parser.add_argument('--count', type=int, default=4, help='batches, one sheet each; default 4')
    parser.add_argument('--seed', type=int, help="default the config's, else 0")
    add_options_argument(parser)
    return parser.parse_args(arguments)


# -- batches, as in training ---------------------------------------------------------------------


def build_loader(cfg: Config, seed: int) -> DataLoader:
    """The config's training loader, without workers."""
    loader = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    built = Runner.build_dataloader(loader, seed=seed)
    if hasattr(built.sampler, 'check_loader'):
        built.sampler.check_loader(built)
    return built


def build_preprocessor(cfg: Config) -> nn.Module:
    """The config's data preprocessor; in a plain MMSegmentation config all images are labelled."""
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    if hasattr(preprocessor, 'stack_valid'):
        return preprocessor
    return MODELS.build(
        dict(type='SemiDataPreprocessor', data_preprocessor=cfg.model.data_preprocessor)
    )


def batch_of(data: dict, preprocessor: nn.Module, seed: int, iteration: int) -> Batch:
    """The batch of a step, with the generator that training gives it."""
    inputs, samples = data['inputs'], data['data_samples']
    labels = [sample.gt_sem_seg.data.squeeze(0) for sample in samples['labeled']]
    unlabeled = None
    if 'weak' in inputs:
        weak = inputs['weak']
        valid = preprocessor.stack_valid(samples['weak'], weak.device)
        more = {view: images for view, images in inputs.items() if is_strong(view)}
        strong = more.pop(STRONG, weak)
        unlabeled = UnlabeledBatch(weak, strong, valid, more_u_s=more)
    return Batch(
        img_l=inputs['labeled'],
        label_l=torch.stack(labels),
        unlabeled=unlabeled,
        samples_l=samples['labeled'],
        iteration=iteration,
        generator=torch.Generator().manual_seed(derive_seed(seed, 0, iteration)),
    )


def build_mixings(cfg: Config) -> dict[str, Mixing]:
    """The mixing of each strong view that the config's objectives learn from."""
    config = cfg.model.get('mixing')
    if not config:
        return {}
    plan = ViewPlan('joint', map(MODELS.build, cfg.model.get('feature_views', ())))
    learned = {objective.get('view', STRONG) for objective in cfg.model.get('objectives', ())}
    views = plan.strong(learned)
    shared = MODELS.build(config) if 'type' in config else None
    mixings = {
        view: shared or MODELS.build(config[view]) for view in views if shared or view in config
    }
    for mixing in mixings.values():
        mixing.bind(cfg.model.student.decode_head.num_classes)
    return mixings


def mix(mixing: Mixing, batch: Batch, strong: str = STRONG) -> tuple[MixedView, Tensor, str]:
    """Mix a strong view of a batch by the config's mixing, before there are pseudo-labels.

    A mixing that cuts along pseudo-labels gets nine squares instead. A batch that training leaves
    unmixed is mixed all the same, and the note says so.

    Returns:
        The mixed view; (N, H, W) int64, the index of the image that a pixel comes from, N if it was
        pasted from a labelled image, -1 where it was erased; and a note about the mixing.
    """
    images, valid = batch.unlabeled.image(strong), batch.unlabeled.valid_u
    count, _, height, width = images.shape
    note = f'Mixed by {type(mixing).__name__}'
    # before there is a teacher: as if it knew nothing of any image
    extra = mixing_keywords(
        mixing, labeled=(batch.img_l, batch.label_l), certainty=torch.zeros(count)
    )
    if getattr(mixing, 'num_classes', None):
        rows, columns = (torch.arange(side) * 3 // side for side in (height, width))
        labels = ((3 * rows[:, None] + columns) % mixing.num_classes).repeat(count, 1, 1)
        if mixing.needs_labeled:
            note += ', labelled images along their labels, others'
        note += ' along squares, in place of the pseudo-labels of training.'
    else:
        labels = torch.full((count, height, width), IGNORE)
        note += '; in training the pseudo-labels move with the pixels.'
    own = torch.arange(count).view(-1, 1, 1).expand(count, height, width)
    # the confidence moves with the image, so it shows which image a pixel comes from; that of a
    # pasted labelled pixel is 1
    pseudo = PseudoLabels(labels, (own + 1) / (count + 1))
    mixed = MixedView(*mixing(images, pseudo, valid, batch.generator, **extra))
    if torch.equal(mixed.pseudo_m.confidence, pseudo.confidence):
        if isinstance(mixing, RandomMixing):
            mixed = MixedView(*mixing.apply_to(images, pseudo, valid, batch.generator, **extra))
        note += f' Training leaves this batch unmixed (prob={getattr(mixing, "prob", None)}).'
    return mixed, (mixed.pseudo_m.confidence * (count + 1)).round().long() - 1, note


# -- pictures ------------------------------------------------------------------------------------


def fit(picture: np.ndarray, smooth: bool = True) -> np.ndarray:
    """Resize a picture to about SIDE pixels; enlarge small ones by a whole factor."""
    times = SIDE // max(picture.shape[:2])
    if times > 1:
        return np.repeat(np.repeat(picture, times, 0), times, 1)
    return draw.shrink(picture, SIDE, smooth)


def fit_mask(mask: Tensor) -> np.ndarray:
    """A bool mask, resized as :func:`fit` does."""
    return fit(mask.numpy().astype(np.uint8), smooth=False).astype(bool)


def pictures(images: Tensor, preprocessor: nn.Module) -> list[np.ndarray]:
    """Normalised images as resized pictures."""
    return [fit(picture) for picture in draw.undo_preprocessing(images, preprocessor)]


def labeled_part(batch: Batch, preprocessor: nn.Module, palette: Sequence) -> np.ndarray:
    """Labelled crops, with and without their masks."""
    rows = []
    for picture, label in zip(pictures(batch.img_l, preprocessor), batch.label_l, strict=True):
        label = fit(label.numpy().astype(np.uint8), smooth=False)
        mask = draw.paint_labels(label, palette)
        rows.append([picture, draw.overlay_labels(picture, label, palette), mask])
    captions = [caption(sample) for sample in batch.samples_l]
    titles = ['labelled crop', 'its mask laid over', 'its mask']
    return draw.sheet(rows[:ROWS], titles, captions[:ROWS])


def unlabeled_part(
    batch: Batch, samples: Sequence, preprocessor: nn.Module, mixings: Mapping[str, Mixing]
) -> tuple[np.ndarray, str]:
    """Weak, strong and mixed views of the unlabelled crops; and a note about the mixing."""
    weak, strong = batch.unlabeled.img_u_w, batch.unlabeled.img_u_s
    valid = [fit_mask(v) for v in batch.unlabeled.valid_u]
    titles, columns = ['weak view (teacher)', 'strong view'], []
    note = 'No mixing: the student learns from the strong view.'
    shown_views = [weak, strong]
    if strong is weak:
        titles, shown_views = ['weak view'], [weak]
        note = 'There is one view of an unlabelled image: its pipeline makes no strong one.'
    for view, images in batch.unlabeled.more_u_s.items():
        titles.append(f'view {view}')
        shown_views.append(images)
    for images in shown_views:
        shown = zip(pictures(images, preprocessor), valid, strict=True)
        columns.append([draw.mark_padding(p, v) for p, v in shown])
    captions = [caption(sample) for sample in samples]
    notes = []
    for strong, mixing in mixings.items():
        of_view = '' if len(mixings) == 1 else f' of {strong}'
        titles += [f'mixed view{of_view} (student)', 'valid in it (green)']
        view, owners, note = mix(mixing, batch, strong)
        notes.append(note if len(mixings) == 1 else f'{strong}: {note}')
        mixed = pictures(view.img_u_m, preprocessor)
        mixed_column, valid_column = [], []
        columns += [mixed_column, valid_column]
        for i, (picture, v, owner) in enumerate(zip(mixed, view.valid_m, owners, strict=True)):
            foreign, v = fit_mask(owner != i), fit_mask(v)
            plain = np.broadcast_to(np.uint8(VALID), picture.shape)
            mixed_column.append(draw.outline(draw.mark_padding(picture, v), foreign))
            valid_column.append(draw.outline(draw.mark_padding(plain, v), foreign))
            partners = [n for n in owner.unique().tolist() if n not in (i, -1)]
            sources = [*samples, batch.samples_l[i % len(batch.samples_l)]]
            names = [Path(sources[n].metainfo['img_path']).name for n in partners]
            new = [name for name in names if name not in captions[i]]
            captions[i] += f'   + {", ".join(new)}' if new else ''
    note = ' '.join(notes) or note
    rows = list(zip(*columns, strict=True))
    return draw.sheet(rows[:ROWS], titles, captions[:ROWS]), note


def caption(sample) -> str:
    """File and flip of a sample."""
    meta = sample.metainfo
    name = '/'.join(Path(meta.get('img_path', '?')).parts[-2:])
    return f'{name} (flipped)' if meta.get('flip') else name


def swatches(classes: Sequence[str], palette: Sequence, semi: bool) -> list:
    """Names and colours of the legend."""
    labels = [np.full((12, 18), k) for k in range(len(classes))]
    shown = [(n, draw.paint_labels(k, palette)) for n, k in zip(classes, labels, strict=True)]
    shown.append(('void or padding (255)', draw.paint_labels(np.full((12, 18), IGNORE), palette)))
    if semi:
        plain, region = np.full((12, 18, 3), VALID, np.uint8), np.zeros((12, 18), bool)
        shown.append(('padding', draw.mark_padding(plain, region)))
        region[1:-1, 1:-1] = True
        shown.append(('from another image', draw.outline(plain, region)))
    return shown


def stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Stack pictures vertically on white."""
    width = max(part.shape[1] for part in parts)
    pad = [((0, 0), (0, width - part.shape[1]), (0, 0)) for part in parts]
    return np.concatenate(
        [np.pad(part, p, constant_values=255) for part, p in zip(parts, pad, strict=True)]
    )


def sheet(
    batch: Batch,
    samples: Sequence,
    preprocessor: nn.Module,
    mixings: Mapping[str, Mixing],
    metainfo: dict,
    title: str,
) -> np.ndarray:
    """The picture of one batch.

    Args:
        batch: The batch.
        samples: The data samples of its weak views; not read without unlabelled images.
        preprocessor: The data preprocessor of the batch.
        mixings: The config's mixing of each strong view.
        metainfo: Of the data set: ``classes`` and ``palette``.
        title: The first line of text.
    """
    classes = metainfo['classes']
    palette = metainfo.get('palette') or draw.default_palette(len(classes))
    parts, note = [labeled_part(batch, preprocessor, palette)], 'Labelled images only.'
    if batch.unlabeled is not None:
        part, note = unlabeled_part(batch, samples, preprocessor, mixings)
        parts.append(part)
    width = max(part.shape[1] for part in parts)
    lines = draw.lines_of_text([title, note], width)
    legend = draw.legend(swatches(classes, palette, batch.unlabeled is not None), width)
    return stack([lines, legend, *parts])


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if args.count < 1:
        raise SetupError(f'--count {args.count}: expected 1 or more batches')
    check_seed(args.seed)
    cfg = configs.load_config(args.config, args.cfg_options, with_model=False)
    configs.set_work_dir(cfg, None, args.config)
    out = args.out or Path(cfg.work_dir, 'browse')
    seed = args.seed if args.seed is not None else (cfg.get('randomness') or {}).get('seed') or 0
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    loader, preprocessor = build_loader(cfg, seed), build_preprocessor(cfg)
    mixings = build_mixings(cfg)
    # a SemiDataset's classes are those of its labelled images
    metainfo = getattr(loader.dataset, 'datasets', [loader.dataset])[0].metainfo
    out.mkdir(parents=True, exist_ok=True)
    for number, loaded in track(
        enumerate(itertools.islice(loader, args.count)), 'drawing', total=args.count
    ):
        data = preprocessor(loaded, training=True)
        batch = batch_of(data, preprocessor, seed, number)
        samples = data['data_samples'].get('weak', ())
        title = f'{args.config}: batch {number} of seed {seed}'
        picture = sheet(batch, samples, preprocessor, mixings, metainfo, title)
        Image.fromarray(picture).save(out / f'batch_{number:03d}.png')
    print(f'{args.count} sheets of {len(metainfo["classes"])} classes: {out}')
