"""Draw pixel features: their density over an image, and their t-SNE.

mmseg-semi feature-map CONFIG CHECKPOINT [CHECKPOINT ...] --out FOLDER

density.png has one row per image and one column per checkpoint. Dark pixels have rare features. The
density is the method's own: the mean similarity to the nearest neighbours in the bank of the
pixel's class (DGCL), or the flow's log-density (DDFP). For other methods it is DGCL's density
against the pixels of the same class in the other images.

features.png has one panel per checkpoint, such as an early and a late one: the t-SNE of a sample of
pixels, coloured by their true class. A black ring marks the sparsest pixels of a class (DGCL's
anchors), a white ring the densest ones (its positives), a star the centre of the densest. With
DDFP, red points are the perturbed features of the same pixels.

The images are those of the config's validation set. The command works with every config of this
package.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_semi.cli.common import add_options_argument, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.heads import two_stage
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.ddfp.objective import DDFPObjective
from mmseg_semi.methods.dgcl import DGCLObjective, at_size
from mmseg_semi.methods.dgcl.knn import SCALES, knn_density
from mmseg_semi.runtime import configs, stack
from mmseg_semi.runtime import pictures as draw
from mmseg_semi.step.pixels import nearest


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config of the run')
    parser.add_argument('checkpoints', nargs='+', help='checkpoints of the run, one column each')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    parser.add_argument(
        '--network',
        choices=('teacher', 'student', 'peer'),
        help="default: the deployed one; perturbed features are always the student's",
    )
    parser.add_argument('--images', type=int, default=6, help='validation images; default 6')
    parser.add_argument(
        '--points', type=int, default=2000, help='pixels in the t-SNE; default 2000'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the sample and of the t-SNE')
    add_options_argument(parser)
    args = parser.parse_args(arguments)
    if args.images < 2 or args.points < 10:
        parser.error('--images must be at least 2, --points at least 10')
    return args


WIDTH = 320
"""Least width of an image on a sheet, in pixels."""


# -- features --------------------------------------------------------------------------------------


@dataclass
class Pixels:
    """Features and predictions of one image by one network."""

    image: np.ndarray
    """(H, W, 3) RGB."""
    size: tuple[int, int]
    """(h, w) of the feature map."""
    features: Tensor
    """(h w, C) penultimate features."""
    classes: Tensor
    """(h w,) predicted classes."""
    prediction: Tensor
    """(H', W') predicted classes at the size of the head's logits."""
    truth: Tensor
    """(h w,) true classes or IGNORE."""
    moved: Tensor | None = None
    """(h w, C) features after DDFP's perturbation; ``features`` then come from the same norms."""


@torch.no_grad()
def read_pixels(model: nn.Module, network: nn.Module, sample: dict) -> Pixels:
    """Features of one validation sample."""
    data = model.data_preprocessor(
        {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}, False
    )
    truth = sample['data_samples'].gt_sem_seg.data.long()
    image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
    head = two_stage(network.decode_head)
    fused = head.embed(network.extract_feat(data['inputs']))
    lifted = head.lift(fused)
    features, logits, _ = head.finish(lifted)
    moved = None
    ddfp = find(model, DDFPObjective)
    if ddfp is not None and network is model.student:
        everywhere = torch.ones(1, *lifted.shape[2:], dtype=torch.bool, device=lifted.device)
        with torch.enable_grad():
            delta = ddfp.perturbation(fused, lifted, everywhere)
        # both through the norms of perturbed features, so that only the perturbation differs
        moved = as_rows(head.features(lifted + head.lift_delta(delta), (0, 1)))
        features = head.features(lifted, (0, 1))
    return Pixels(
        image,
        tuple(features.shape[2:]),
        as_rows(features),
        at_size(logits, features.shape[2:]).argmax(dim=1).flatten(),
        logits.argmax(dim=1)[0],
        nearest(truth, features.shape[2:]).flatten(),
        moved,
    )


def as_rows(maps: Tensor) -> Tensor:
    """(1, C, h, w) -> (h w, C)."""
    return maps[0].flatten(1).T


def find(model: nn.Module, kind: type) -> nn.Module | None:
    """The model's first objective of a kind, or None."""
    return next((one for one in getattr(model, 'objectives', []) if isinstance(one, kind)), None)


Density = Callable[[Tensor, Tensor, int], Tensor]
"""Features (n, C), classes (n,), index of their image -> (n,) densities, NaN where unknown."""


def density_of(model: nn.Module, pixels: list[Pixels], limit: int = 2000) -> tuple[str, Density]:
    """The method's own density, or DGCL's density against the other images.

    Args:
        model: A trained model.
        pixels: The images.
        limit: Largest number of neighbours from one class of one image.

    Returns:
        Name of the density, and the density.
    """
    dgcl, ddfp = find(model, DGCLObjective), find(model, DDFPObjective)
    if dgcl is not None and bool((dgcl.bank.counts > 0).any()):
        bank = dgcl.bank

        def own_bank(features: Tensor, classes: Tensor, _: int) -> Tensor:
            return by_class(
                features,
                classes,
                lambda rows, c: (
                    knn_density(rows, bank.features[c], bank.scales, bank.counts[c : c + 1])
                    if bank.counts[c] >= max(bank.scales)
                    else None
                ),
            )

        return "similarity to the class's bank", own_bank
    if ddfp is not None:
        return "the flow's log-density", lambda features, *_: ddfp.density.log_prob(features)

    generator = torch.Generator().manual_seed(0)

    def draw_rows(one: Pixels, c: int) -> Tensor:
        index = (one.classes == c).nonzero().flatten()
        index = index[torch.randperm(len(index), generator=generator)[:limit]]
        return F.normalize(one.features[index].float(), dim=1)

    present = sorted({int(c) for one in pixels for c in one.classes.unique()})
    rows_of = [{c: draw_rows(one, c) for c in present} for one in pixels]

    def others(features: Tensor, classes: Tensor, image: int) -> Tensor:
        def of_class(rows: Tensor, c: int) -> Tensor | None:
            around = torch.cat(
                [own.get(c, rows[:0].float()) for i, own in enumerate(rows_of) if i != image]
            )
            return knn_density(rows, around, SCALES) if len(around) >= max(SCALES) else None

        return by_class(features, classes, of_class)

    return 'similarity to the class in other images', others


def by_class(
    features: Tensor, classes: Tensor, density: Callable[[Tensor, int], Tensor | None]
) -> Tensor:
    """Densities class by class; NaN for a class without a density."""
    result = torch.full((len(features),), torch.nan)
    for c in classes.unique().tolist():
        own = classes == c
        values = density(features[own], c) if c != IGNORE else None
        if values is not None:
            result[own] = values.cpu()
    return result


# -- the two pictures ------------------------------------------------------------------------------


def density_picture(columns: list[tuple[str, list[Pixels], Density]], palette) -> np.ndarray:
    """Images, predictions of the last checkpoint, and densities with one scale per checkpoint."""
    maps = []
    for _, pixels, density in columns:
        values = [
            density(one.features, one.classes, index).float() for index, one in enumerate(pixels)
        ]
        known = torch.cat(values)
        known = known[known.isfinite()].numpy()
        ends = np.percentile(known, [2, 98]) if len(known) else (0.0, 1.0)
        maps.append((values, ends))
    rows = []
    for index, one in enumerate(columns[-1][1]):
        times = -(-WIDTH // one.image.shape[1])  # small images are enlarged
        side = tuple(times * length for length in one.image.shape[:2])
        image = enlarge_picture(one.image, side)
        row = [image, draw.paint_labels(nearest(one.prediction[None], side)[0], palette)]
        for values, (low, high) in maps:
            painted = draw.paint_values(values[index].nan_to_num(low).view(one.size), low, high)
            painted[values[index].isnan().view(one.size).numpy()] = 0
            row.append(over(image, enlarge_picture(painted, side)))
        rows.append(row)
    titles = [
        f'density {low:.3g} to {high:.3g}, {name}'
        for (name, _, _), (_, (low, high)) in zip(columns, maps, strict=True)
    ]
    return draw.sheet(rows, ['image', 'prediction', *titles])


def over(image: np.ndarray, colours: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """Lay colours over the image in grey."""
    grey = image.mean(axis=2, keepdims=True)
    return ((1 - opacity) * grey + opacity * colours).round().astype(np.uint8)


def enlarge_picture(picture: np.ndarray, side: tuple[int, int]) -> np.ndarray:
    """Resize a picture to (height, width) by nearest neighbours."""
    return np.asarray(Image.fromarray(picture).resize(side[::-1], Image.Resampling.NEAREST))


@dataclass
class Sample:
    """Pixels of one panel of the t-SNE."""

    features: Tensor
    """(n, C)."""
    classes: Tensor
    """(n,) true classes."""
    sparse: Tensor
    """(n,) bool, the sparsest pixels of each class."""
    dense: Tensor
    """(n,) bool, the densest pixels of each class."""
    centres: Tensor
    """(k, C), the mean of the densest features of each class."""
    centre_classes: Tensor
    """(k,) class of each centre."""
    moved: Tensor | None
    """(n, C) perturbed features, if the method is DDFP."""


def draw_sample(
    pixels: list[Pixels], density: Density, points: int, seed: int, share: float = 0.05
) -> Sample:
    """Draw pixels for the t-SNE, the same number of every class if there are as many.

    Args:
        pixels: The images.
        density: Density of features in their true class.
        points: Largest number of pixels.
        seed: Seed of the draw.
        share: Share of a class's pixels to mark as sparse, and as dense; at least one pixel.

    Raises:
        SetupError: If no pixel has a label.
    """
    generator = torch.Generator().manual_seed(seed)
    truth = torch.cat([one.truth for one in pixels])
    image = torch.cat([torch.full_like(one.truth, i) for i, one in enumerate(pixels)])
    present = [c for c in truth.unique().tolist() if c != IGNORE]
    if not present:
        raise SetupError('the validation images have no labelled pixel: give others (--images)')
    chosen = []
    for c in present:
        own = (truth == c).nonzero().flatten()
        count = max(1, points // len(present))
        chosen.append(own[torch.randperm(len(own), generator=generator)[:count]])
    index = torch.cat(chosen)
    features = torch.cat([one.features for one in pixels])[index].float()
    classes, image = truth[index], image[index]
    values = torch.full((len(index),), torch.nan)
    for number in image.unique().tolist():
        own = image == number
        values[own] = density(features[own], classes[own], number).float()
    sparse, dense = (torch.zeros(len(index), dtype=torch.bool) for _ in range(2))
    centres, centre_classes = [], []
    for c in present:
        own = ((classes == c) & values.isfinite()).nonzero().flatten()
        if not len(own):
            continue
        ranked = own[values[own].argsort()]
        count = max(1, round(share * len(own)))
        sparse[ranked[:count]], dense[ranked[-count:]] = True, True
        centres.append(features[ranked[-count:]].mean(dim=0))
        centre_classes.append(c)
    moved = None
    if pixels[0].moved is not None:
        moved = torch.cat([one.moved for one in pixels])[index].float()
    return Sample(
        features,
        classes,
        sparse,
        dense,
        torch.stack(centres) if centres else features[:0],
        torch.tensor(centre_classes, dtype=torch.int64),
        moved,
    )


def embed(rows: np.ndarray, seed: int) -> np.ndarray:
    """(n, C) -> (n, 2) by t-SNE on cosine distances.

    Raises:
        SetupError: If scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise SetupError(
            f"features.png needs scikit-learn's t-SNE, which cannot be imported ({error}): "
            'pip install scikit-learn'
        ) from error
    perplexity = min(30.0, max(2.0, (len(rows) - 1) / 4))
    return TSNE(
        metric='cosine', init='random', perplexity=perplexity, random_state=seed
    ).fit_transform(rows)


def feature_picture(
    panels: list[tuple[str, Sample]], names: list[str], palette, seed: int, path: Path
) -> None:
    """Draw the panels side by side."""
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(6.4 * len(panels), 6.8), squeeze=False)
    colours = np.asarray(palette) / 255
    for axis, (title, sample) in zip(axes[0], panels, strict=True):
        parts = [sample.features, sample.centres]
        parts += [] if sample.moved is None else [sample.moved]
        at = np.split(
            embed(torch.cat(parts).numpy(), seed), np.cumsum([len(part) for part in parts])[:-1]
        )
        x, y = at[0].T
        for c in sample.classes.unique().tolist():
            own = (sample.classes == c).numpy()
            axis.scatter(x[own], y[own], s=7, color=colours[c], linewidths=0, label=names[c])
        if sample.moved is not None:
            axis.scatter(*at[2].T, s=5, color='red', linewidths=0, label='moved')
        for mark, edge, label in (
            (sample.sparse, 'black', 'sparsest'),
            (sample.dense, 'white', 'densest'),
        ):
            own = mark.numpy()
            axis.scatter(
                x[own],
                y[own],
                s=26,
                c=colours[sample.classes.numpy()[own]],
                edgecolors=edge,
                linewidths=1.1,
                label=label,
            )
        axis.scatter(
            *at[1].T,
            s=170,
            marker='*',
            c=colours[sample.centre_classes.numpy()],
            edgecolors='black',
            linewidths=0.9,
            label='centre',
        )
        axis.set(title=title, xticks=[], yticks=[], facecolor='0.85')
    handles, labels = axes[0][-1].get_legend_handles_labels()
    # the background of the panels, so that white rings are visible
    legend = dict(facecolor='0.85', markerscale=1.3, fontsize=9)
    columns = min(8, 5 * len(panels), len(labels))
    figure.legend(handles, labels, loc='lower center', ncols=columns, **legend)
    figure.tight_layout(rect=(0, 0.03 * -(-len(labels) // columns) + 0.03, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


# -- main ------------------------------------------------------------------------------------------


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    cfg = configs.load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    numbers = np.unique(np.linspace(0, len(dataset) - 1, args.images).round().astype(int))
    samples = [dataset[int(number)] for number in numbers]
    names = list(dataset.metainfo['classes'])
    palette = dataset.metainfo.get('palette') or draw.default_palette(len(names))
    columns, panels = [], []
    for path in args.checkpoints:
        with stack.quiet_imports():
            model = MODELS.build(cfg.model)
            if not hasattr(model, 'network'):
                raise SetupError(
                    f"config '{args.config}' has a {cfg.model.type}: give the config of a run, "
                    "with type='SemiSegmentor'"
                )
            with stack.complete_weights():
                load_checkpoint(model, path, map_location='cpu', logger='silent')
        model.eval()
        pixels = [read_pixels(model, model.network(args.network), sample) for sample in samples]
        what, density = density_of(model, pixels)
        name = Path(path).stem
        print(f'{path}: density is {what}')
        columns.append((name, pixels, density))
        shown = pixels
        if find(model, DDFPObjective) is not None and pixels[0].moved is None:
            shown = [read_pixels(model, model.student, sample) for sample in samples]
        panels.append((name, draw_sample(shown, density, args.points, args.seed)))
    args.out.mkdir(parents=True, exist_ok=True)
    target = args.out / 'density.png'
    Image.fromarray(density_picture(columns, palette)).save(target)
    print(target)
    target = args.out / 'features.png'
    feature_picture(panels, names, palette, args.seed, target)
    print(target)
