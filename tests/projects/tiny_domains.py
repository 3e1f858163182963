"""Two small domains, with eleven and with six classes, and whole runs on them."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from tiny_semi import tiny_batch, tiny_data, tiny_recipe

from projects.multi_domain import join
from projects.multi_domain.recipe import Domain

CLASSES = dict(road=11, scenes=6)


def single(folder: Path, name: str, method: str, batch_size: int = 2, **changes) -> Config:
    """The config of one domain's run of its own, with its pictures in ``folder/<name>``."""
    root = folder / name
    root.mkdir(parents=True, exist_ok=True)
    model = {'num_classes': CLASSES[name]} | changes.pop('model', {})
    count = model.pop('num_classes')
    cfg = tiny_data(root, method, batch_size=batch_size, model=model, **changes)
    if count == 11:
        return cfg
    for path in (root / 'data' / 'labels').rglob('*.png'):
        labels = np.array(Image.open(path))
        Image.fromarray(np.where(labels == 255, 255, labels % count).astype(np.uint8)).save(path)
    cfg.model = ConfigDict(tiny_recipe(method, num_classes=count, **model))
    data = cfg.train_dataloader.dataset
    for source in filter(None, (data.labeled, data.get('unlabeled'))):
        source.type = 'QuickstartDataset'
    data.labeled.pipeline[1].num_classes = count
    for key in ('val_dataloader', 'test_dataloader'):
        cfg[key].dataset.type = 'QuickstartDataset'
    cfg.dump(cfg.filename)
    return cfg


def tiny_domains(
    folder: Path,
    methods: tuple[str, str] = ('fixmatch', 'fixmatch'),
    batch_sizes: tuple[int, int] = (2, 2),
    iterations: int = 4,
    options: dict | None = None,
    **changes,
) -> Config:
    """Pictures and the config of a joint run, written to ``folder/joint.py``; ``options`` are those of ``join``."""
    singles = {
        name: single(folder, name, method, size, iterations=iterations, **changes)
        for name, method, size in zip(CLASSES, methods, batch_sizes, strict=True)
    }
    return joined_run(folder, singles, **(options or {}))


def joined_run(folder: Path, singles: dict[str, Config], **options) -> Config:
    """The config of a joint run of single ones, with the hooks of the first, written to ``folder/joint.py``."""
    run = next(iter(singles.values())).to_dict()
    joined = join(*(Domain(*item) for item in singles.items()), **options)
    hooks = run['default_hooks']
    for key, hook in joined.pop('default_hooks').items():
        hooks[key] = hooks[key] | hook
    cfg = Config(run | joined, format_python_code=False)
    cfg.work_dir = str(folder / 'work_dir')
    path = folder / 'joint.py'
    cfg.dump(path)
    return Config.fromfile(path)


def domains_model(
    method: str = 'fixmatch',
    names: tuple[str, ...] = ('road', 'scenes'),
    seed: int = 0,
    recipe: dict | None = None,
    **changes,
):
    """A built and initialised ``MultiDomainSegmentor``, in training mode.

    Args:
        method: Of ``tiny_semi.METHODS``.
        names: Of ``CLASSES``.
        seed: Of the initial weights.
        recipe: Keyword arguments of ``tiny_recipe``.
        changes: Keys of the segmentor.
    """
    init_default_scope('mmseg')
    MMLogger.get_current_instance().setLevel('ERROR')  # five lines a parameter otherwise
    domains = {n: tiny_recipe(method, num_classes=CLASSES[n], **(recipe or {})) for n in names}
    teacher = [domain.pop('teacher', None) for domain in domains.values()][0]
    config = dict(type='MultiDomainSegmentor', domains=domains, teacher=teacher, iters_per_epoch=2)
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(config | changes))
    model.init_weights()
    return model.train()


def domains_batch(
    names: tuple[str, ...] = ('road', 'scenes'), seed: int = 0, semi: bool = True, **changes
) -> dict:
    """A collated batch with the parts of these domains."""
    parts = [
        tiny_batch(
            num_unlabeled=2 if semi else 0,
            num_classes=CLASSES[name],
            seed=seed + 100 * i,
            **changes,
        )
        for i, name in enumerate(names)
    ]
    for name, part in zip(names, parts, strict=True):
        for samples in part['data_samples'].values():
            for sample in filter(None, samples):
                sample.set_metainfo(dict(domain=name))
    return {
        key: {b: sum((part[key][b] for part in parts), []) for b in parts[0][key]}
        for key in parts[0]
    }
