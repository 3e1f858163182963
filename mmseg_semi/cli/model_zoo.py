"""Write docs/model_zoo.md, the table of all configs of a checkout.

Everything but the published numbers is read from the configs. Those numbers and their sources stand in
``published_results.json`` beside this file, by the path of the config.

    python tools/model_zoo.py
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_semi.cli.common import CHECKOUT, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.runtime import configs as runtime_configs

PUBLISHED = Path(__file__).with_name('published_results.json')
OUT = CHECKOUT / 'docs/model_zoo.md'

SECTIONS = {
    'configs/supervised': 'Labels only: the baseline of FixMatch, DDFP and DGCL',
    'configs/fixmatch': 'FixMatch',
    'configs/mean_teacher': 'Mean Teacher',
    'configs/ddfp': 'DDFP',
    'configs/dgcl': 'DGCL',
    'configs/cct': 'CCT',
    'configs/mllc': 'MLLC',
    'configs/stpp': 'ST++: selective re-training',
    'configs/augseg': 'AugSeg',
    'configs/cps': 'CPS: cross pseudo supervision',
    'configs/u2pl': 'U2PL',
    'configs/unimatch': 'UniMatch',
    'configs/unimatch_v2': 'UniMatch V2',
    'configs/combined': 'DDFP and DGCL together',
    'configs/own_data': 'Images of your own ([custom_data.md](custom_data.md))',
    'configs/quickstart': "The demo's scenes",
    'projects/multi_domain': 'Several data sets at once (projects/multi_domain)',
    'projects/weak_labels': 'Image-level labels (projects/weak_labels)',
}
VARIANTS = {
    'reference': "what the authors' code computes",
    'ablations': 'ablation',
    'supervised': 'labels only',
    'single': 'one data set',
    'no_cutmix': 'without CutMix',
    'published': "the method's published frame",
    'crop_321': 'crops of 321 pixels',
    'dgcl': 'DGCL with these negatives',
    'weak_cct': 'CCT',
    'weak_ddfp': 'DDFP',
    'weak_fixmatch': 'FixMatch',
}
HEADS = {
    'DeepLabV3PlusHead': 'DeepLabV3+',
    'DDFPHead': 'DeepLabV3+',
    'DGCLHead': 'DeepLabV3+',
    'MLLCPlusHead': 'DeepLabV3+',
    'DeepLabV2Head': 'DeepLabV2',
    'MLLCHead': 'DeepLabV2',
    'CCTHead': 'PSPNet',
    'SegformerHead': 'SegFormer',
    'UPerHead': 'UPerNet',
    'DPTMapHead': 'DPT',
}
BACKBONES = {
    'MixVisionTransformer': 'MiT-B0',
}
ARCHS = {
    ('mmpretrain.VisionTransformer', 'dinov2-small'): 'DINOv2 ViT-S/14',
    ('mmpretrain.VisionTransformer', 'base'): 'DINOv2 ViT-B/14',
    ('mmpretrain.ConvNeXt', 'tiny'): 'ConvNeXt-T',
}
UNNAMED = {'QuickstartDataset': 'generated scenes', 'FolderDataset': 'own folders'}
COLUMNS = (
    'Images labelled (config)',
    'Lists',
    'Network',
    'Crop',
    'Iterations',
    'GPUs × (labelled + unlabelled)',
    'Published mIoU',
)
INTRODUCTION = """# Model zoo

All configs that train a segmentor. This page is generated: `python tools/model_zoo.py` writes it, and a
test compares it with the configs.

A row has the configs that differ in their lists alone; its numbers stand in the order of its links. "Lists"
is the family of the split ([splits.md](splits.md)). GPUs are those for which a recipe's iterations are
counted: on another number of GPUs change batch sizes or iterations. Crops are height × width in pixels.

The published numbers are those of the papers, in percent, mostly of the best epoch on the validation
images. They are no results of this code; [results.md](results.md) has those. An empty cell means that no
number is known for this config's data, lists and network.
"""


@dataclass(frozen=True)
class Row:
    """What the table says of one config."""

    path: str
    section: str
    variant: str
    lists: str
    label: str
    network: str
    crop: str
    iterations: str
    batch: str
    published: str = ''

    @property
    def group(self) -> tuple:
        """Configs of one group make one row of the page."""
        return self.variant, self.lists, self.network, self.crop, self.batch


def model_zoo(root: Path = CHECKOUT, load: Callable[[Path], Config] = Config.fromfile) -> str:
    """Text of docs/model_zoo.md.

    Args:
        root: A checkout.
        load: Reads a config.

    Raises:
        SetupError: A folder of configs has no title in :data:`SECTIONS`.
    """
    published, sources = read_published()
    rows = defaultdict(list)
    for path in config_paths(root):
        name = path.relative_to(root).as_posix()
        row = describe(name, load(path), published.get(name, ''))
        if row is not None:
            rows[row.section].append(row)
    parts = [INTRODUCTION]
    unknown = sorted(rows.keys() - SECTIONS.keys())
    if unknown:
        raise SetupError(
            f'SECTIONS in {Path(__file__).name} has no title for {unknown[0]}: add one'
        )
    for section, title in SECTIONS.items():
        parts.append(f'## {title}\n\n{table(rows[section])}')
    notes = [f'[{number}]: {source}.' for number, source in enumerate(sources, 1)]
    parts.append(
        '## Sources of the published numbers\n\n' + '\n'.join(f'- {note}' for note in notes)
    )
    return '\n'.join(part.rstrip('\n') + '\n' for part in parts)


def config_paths(root: Path) -> list[Path]:
    """All configs of a checkout that train something, in the order of their names."""
    folders = ['configs', *(path / 'configs' for path in sorted((root / 'projects').glob('*/')))]
    paths = [path for folder in folders for path in (root / folder).rglob('*.py')]
    return sorted(
        # a file of configs/ itself is a user's, and a study only lists configs
        (
            p
            for p in paths
            if not {'_base_', 'studies'} & {*p.parts} and p.parent != root / 'configs'
        ),
        key=lambda path: [int(t) if t.isdigit() else t for t in re.split(r'(\d+)', str(path))],
    )


def read_published() -> tuple[dict[str, str], list[str]]:
    """Published numbers by the path of their config, with the number of their source; and the sources."""
    records = json.loads(PUBLISHED.read_text(encoding='utf-8'))
    values = {
        path: f'{value} [{number}]'
        for number, record in enumerate(records, 1)
        for path, value in record['values'].items()
    }
    return values, [record['source'] for record in records]


def describe(path: str, cfg: Config, published: str = '') -> Row | None:
    """The row of one config, None if it trains no segmentor.

    Args:
        path: Of the config, relative to the checkout.
        cfg: Its content.
        published: The published number, with a mark of its source.
    """
    if cfg.model.type == 'SemiSegmentor':
        peer = cfg.model.get('peer')
        students = [cfg.model.student, *([peer] if isinstance(peer, dict) else [])]
        loaders = [cfg.train_dataloader]
    elif cfg.model.type == 'MultiDomainSegmentor':
        students = [model.student for model in cfg.model.domains.values()][:1]
        loaders = _domain_loaders(cfg.train_dataloader)
    else:
        return None
    parts = Path(path).parts
    below = [part for part in parts[2:-1] if part != 'configs']
    names = [_lists(loader.dataset) for loader in loaders]
    return Row(
        path=path,
        section='/'.join(parts[:2]),
        variant=VARIANTS.get(below[0], below[0]) if below else '',
        lists=' + '.join(family for family, _ in names),
        label=' + '.join(dict.fromkeys(number for _, number in names if number)),
        network=' and '.join(map(_network, students)),
        crop=' + '.join(dict.fromkeys(_crops(cfg.crop_size))),
        iterations=f'{cfg.train_cfg.max_iters:,}',
        batch=f'{cfg.get("gpus", 1)} × ' + ' and '.join(_batch(loader) for loader in loaders),
        published=published,
    )


def table(rows: list[Row]) -> str:
    """The rows of a section as a Markdown table."""
    groups = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.variant):  # recipes first, then their variants
        groups[row.group].append(row)
    lines = [f'| {" | ".join(COLUMNS)} |', '|---' * len(COLUMNS) + '|']
    for group in groups.values():
        first = group[0]
        labels = [row.label for row in group]
        if '' in labels or len(set(labels)) < len(labels):  # told apart by their names alone
            labels = [Path(row.path).stem for row in group]
        links = [f'[{label}](../{row.path})' for label, row in zip(labels, group, strict=True)]
        variant = f'{first.variant}: ' if first.variant else ''
        iterations = list(dict.fromkeys(row.iterations for row in group))
        cells = [
            variant + ', '.join(links),
            first.lists,
            first.network,
            first.crop,
            iterations[0] if len(iterations) == 1 else _each(row.iterations for row in group),
            first.batch,
            _published([row.published for row in group]),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _each(values) -> str:
    return ' · '.join(value or '–' for value in values)


def _published(values: list[str]) -> str:
    """Numbers of a group; a source that all share stands once after them."""
    marks = {value.partition(' [')[2] for value in values if value}
    if not marks:
        return ''
    if len(marks) == 1:
        return f'{_each(value.partition(" [")[0] for value in values)} [{marks.pop()}'
    return _each(values)


def _lists(dataset: Any) -> tuple[str, str]:
    """Family of a data set's lists, and the number of labelled images as the split's name says it."""
    split = dataset.get('split')
    if split is None:
        return UNNAMED[dataset.labeled.type], ''
    words = re.sub(r'^.*/splits/', '', split).replace('/', ' ').split()
    number = next(word for word in words if word.isdigit() or word == 'all')
    words.remove(number)
    return ' '.join(words), number


def _network(student: Any) -> str:
    backbone = student.backbone
    name = BACKBONES.get(backbone.type) or ARCHS.get((backbone.type, backbone.get('arch')))
    if backbone.type == 'EfficientNetLite':
        name = f'EfficientNet-{backbone.arch.capitalize()}'
    elif name is None:
        width = {64: '', 32: ', half width'}[backbone.get('base_channels', 64)]
        stem = ', 128-channel stem' if backbone.get('stem_channels') == 128 else ''
        kind = ', Caffe' if backbone.get('style') == 'caffe' else ''
        name = f'ResNet-{backbone.depth}{width}{stem}{kind}'
    return f'{HEADS[student.decode_head.type]}, {name}'


def _crops(crop_size: Any) -> list[str]:
    sizes = crop_size.values() if isinstance(crop_size, dict) else [crop_size]
    return [f'{height} × {width}' for height, width in sizes]


def _batch(loader: Any) -> str:
    """Images of each source in a batch."""
    ratio = loader.sampler.source_ratio
    images = [loader.batch_size * share // sum(ratio) for share in ratio]
    return str(images[0]) if len(images) == 1 else f'({" + ".join(map(str, images))})'


def _domain_loaders(loader: Any) -> list[Any]:
    """Each domain's data set and batches, as the loader of one data set has them."""
    return [
        Config(
            dict(
                dataset=dataset,
                sampler=dict(loader.sampler.samplers[name]),
                batch_size=loader.sampler.samplers[name].batch_size,
            )
        )
        for name, dataset in loader.dataset.domains.items()
    ]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the table of all configs of this checkout (docs/model_zoo.md).'
    )
    parser.add_argument('--out', type=Path, default=OUT, help='default docs/model_zoo.md')
    return parser.parse_args(argv)


@tool
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    runtime_configs.find_projects()
    write_whole(args.out, model_zoo())
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
