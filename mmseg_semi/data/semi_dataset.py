"""Labelled and unlabelled images as one data set."""

from __future__ import annotations

import logging
import os.path as osp
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from mmseg_semi.data.checks import (
    check_disjoint,
    check_files,
    check_label_values,
    check_repeated,
    read_names,
    resolve_source,
)
from mmseg_semi.data.image_checks import check_not_exchanged, check_readable, check_value_range
from mmseg_semi.data.names import ListedPaths
from mmseg_semi.data.pools import ImageList
from mmseg_semi.data.randomness import derive_seed, seeded_rng
from mmseg_semi.data.remarks import remarks_on_images
from mmseg_semi.data.samplers import SampleKey
from mmseg_semi.data.splits import KINDS, find_split, identify, published_protocols
from mmseg_semi.data.transforms import LoadAnyImage, LoadSegLabels
from mmseg_semi.errors import SetupError, UnreadableFileError

KEY = 'train_dataloader.dataset'
OF_SPLIT = 'that of the split'
"""Default of ``protocol``: the split's name, if the split is published."""
MAX_SKIPPED = 10
"""Number of unreadable images in a row that stops a run."""
OWN_IMAGES = frozenset({'ann_file', 'shards', 'data_file'})
"""Keys by which a source names its images without a split."""
_REPLACEMENT = 3  # first part of a derived seed; the sampler has 1 and 2


@DATASETS.register_module()
class SemiDataset(ConcatDataset):
    """Labelled images, then unlabelled ones, with checks of both before training.

    It has one source of labelled and one of unlabelled images (several unlabelled data sets make
    one pool, or with ``separate`` a source each), which :class:`.MultiSourceSampler` mixes. A
    relative ``ann_file`` is looked up from the working directory first, then under ``data_root``.

    It never opens masks of unlabelled images: it drops a ``seg_map_path`` in their ``data_prefix``,
    so that the config of labelled images serves for them, too.

    Args:
        labeled: Config of a MMSegmentation data set.
        unlabeled: The same, or a list of them, or None to train on labelled images alone.
        split: Name of the split that both lists belong to: a published one ('voc classic 732'), a folder
            of lists, or that folder below ``data/splits`` or ``configs/splits`` ('camvid 46 seed0').
            A source with an ``ann_file`` reads that list instead. See :func:`with_lists`. Defaults to
            None.
        protocol: Name of the protocol that the lists must be, such as 'voc classic 732': they are
            compared with the published hashes, or with the manifest beside them. None compares them
            with the manifest beside the labelled list, if there is one. Defaults to the split's name
            if it is a published one, else to None.
        separate: Whether each unlabelled data set is a separate source, with its own entry in the
            sampler's ``source_ratio``: a step then has a fixed number of images of each. Defaults
            to False.
        allow_overlap: Whether an image may be labelled and unlabelled. Some published lists overlap.
            Defaults to False.
        check_masks: Number of labelled masks whose values are checked at the start, spread evenly;
            0 for none (each is checked again when it is loaded). Defaults to 2000.
        on_unreadable: What happens if an image cannot be read during training. 'stop' ends the run
            with the file's name. 'skip' replaces it by another image of the same source, which
            follows from the sample's seed; ``SemiStepHook`` writes every such case to the log and
            to ``skipped_images.txt`` in the work folder, and counts them at the end. Defaults to
            'stop'.
        lazy_init: Whether to read lists and check files later, in ``full_init``. Defaults to False.

    Attributes:
        protocol: After ``full_init``: name, counts and hashes of the lists (:func:`.splits.identify`).

    Raises:
        SetupError: If lists, folders, images or masks are missing, lists are empty, repeat or
            share an image, are not those of the protocol, labels are no classes, or the sources
            disagree on the classes.
    """

    def __init__(
        self,
        labeled: dict,
        unlabeled: dict | Sequence[dict] | None = None,
        protocol: str | None = OF_SPLIT,
        separate: bool = False,
        allow_overlap: bool = False,
        check_masks: int = 2000,
        on_unreadable: str = 'stop',
        lazy_init: bool = False,
        split: str | None = None,
    ) -> None:
        if on_unreadable not in ('stop', 'skip'):
            raise SetupError(f"{KEY}.on_unreadable={on_unreadable!r}, expected 'stop' or 'skip'")
        config = with_lists(
            dict(labeled=labeled, unlabeled=unlabeled, protocol=protocol, split=split)
        )
        datasets = build_sources(config['labeled'], config['unlabeled'])
        named = protocol not in (None, OF_SPLIT)
        protocol = config['protocol']
        self.split = split
        self._named_by = 'protocol' if split is None or named else 'split'
        self.protocol: str | dict | None = protocol
        self.separate = separate
        self.allow_overlap = allow_overlap
        self.check_masks = check_masks
        self.on_unreadable = on_unreadable
        self._check_classes(datasets)
        # classes were compared above; a palette or a label map of an unlabelled source means nothing
        ignore_keys = sorted({name for dataset in datasets for name in dataset.metainfo})
        super().__init__(datasets, lazy_init=lazy_init, ignore_keys=ignore_keys)

    @property
    def source_sizes(self) -> list[int]:
        """Images of each source: [labelled] or [labelled, unlabelled], or of each data set if ``separate``."""
        sizes = [len(dataset) for dataset in self.datasets]
        if self.separate:
            return sizes
        return sizes[:1] + ([sum(sizes[1:])] if len(sizes) > 1 else [])

    @property
    def source_shards(self) -> list[np.ndarray | None]:
        """Images of each shard of each source, None for a source without shards.

        A data set without shards counts as one.
        """
        labeled, *pools = self.datasets
        if not any(hasattr(pool, 'shard_sizes') for pool in pools):
            return [None] * len(self.source_sizes)
        sizes = [getattr(pool, 'shard_sizes', np.array([len(pool)])) for pool in pools]
        if self.separate:
            return [None, *sizes]
        return [None, np.concatenate(sizes)]

    def full_init(self) -> None:
        """Read the lists and check them, once."""
        if self._fully_initialized:
            return
        start = time.perf_counter()
        labeled, *pools = self.datasets
        read_names(labeled, f'{KEY}.labeled')
        self.identify_protocol()
        labeled_paths = check_files(labeled, f'{KEY}.labeled')
        check_files(labeled, f'{KEY}.labeled', 'seg_map_path')
        unlabeled_paths = []
        for i, pool in enumerate(pools):
            read_names(pool, _pool_key(i, len(pools)))
            unlabeled_paths.append(check_files(pool, _pool_key(i, len(pools))))
            for step in pool.pipeline.transforms:
                if hasattr(step, 'check_paths'):
                    step.check_paths(unlabeled_paths[-1], _pool_key(i, len(pools)))
        super().full_init()
        for source in self.datasets:
            if hasattr(source, 'own'):
                try_images(source)
        check_repeated(unlabeled_paths, KEY)
        both = check_disjoint(labeled_paths, unlabeled_paths, KEY, allow=self.allow_overlap)
        for paths in unlabeled_paths:
            if isinstance(paths, ListedPaths):
                paths.forget_hashes()
        own = getattr(labeled, 'own', None)
        local = own is not None and not getattr(labeled, 'backend_args', None)
        if local:
            infos = [labeled.get_data_info(i) for i in range(len(labeled))]
            check_not_exchanged(labeled_paths, [i['seg_map_path'] for i in infos], own.source)
        masks = 0
        classes = labeled.metainfo.get('classes')
        if self.check_masks and classes:
            masks = check_label_values(labeled, len(classes), self.check_masks, note=warn)
        if local and is_main_process():
            pool_paths = [path for pool in unlabeled_paths for path in pool]
            looks = dict(look=check_readable) if self.on_unreadable == 'stop' else {}
            for remark in remarks_on_images(labeled_paths, pool_paths, **looks):
                warn(remark.text)
        print_log(
            f'SemiDataset: {len(labeled_paths)} labelled and {sum(map(len, pools))} unlabelled '
            f'images; values of {masks} masks checked ({time.perf_counter() - start:.1f} s)',
            logger='current',
        )
        for pool in pools:
            for text in getattr(getattr(pool, 'own', None), 'left_out', ()):
                print_log(f'SemiDataset: {text} are left out of the unlabelled images', 'current')
        hashes = [
            f'{KINDS[kind]} SHA-256 {self.protocol[kind]["sha256"]}'
            for kind in KINDS
            if self.protocol[kind]
        ]
        name = self.protocol['protocol']
        print_log(
            f'SemiDataset: {f"protocol {name!r}" if name else "lists of no named protocol"}; '
            + ', '.join(hashes)
            + (f'; {both} images are labelled and unlabelled (allow_overlap=True)' if both else ''),
            logger='current',
        )

    def identify_protocol(self) -> None:
        """Set ``protocol`` to name, counts and hashes of the lists, once the labelled one is read.

        Raises:
            SetupError: If the lists are not those of the protocol.
        """
        labeled, *pools = self.datasets
        self.protocol = identify(
            self.protocol,
            _list_file(labeled) or image_names(labeled),
            [_list_file(pool) for pool in pools],
            KEY,
            self._named_by,
        )

    def __getitem__(self, key: int | SampleKey) -> dict:
        """Load and augment one image.

        Args:
            key: An index (draws then come from the process's generators), or a :class:`.SampleKey`,
                whose seed decides every draw.

        Returns:
            dict: What the pipeline of the image's data set returns.

        Raises:
            UnreadableFileError: If the image cannot be read and ``on_unreadable`` is 'stop'.
            SetupError: If it is 'skip' and 10 images in a row cannot be read.
        """
        if isinstance(key, SampleKey):
            with seeded_rng(key.seed):
                return self._load(key.index, key.seed)
        index = key if key >= 0 else len(self) + key
        return self._load(index, index)

    def _load(self, index: int, seed: int) -> dict:
        """Load an image; if it cannot be read and may be skipped, load another one instead."""
        skipped: list[str] = []
        wanted = index
        while True:
            try:
                sample = super().__getitem__(index)
            except UnreadableFileError as error:
                if self.on_unreadable == 'stop':
                    raise
                skipped.append(str(error))
                if len(skipped) == MAX_SKIPPED:
                    raise SetupError(
                        f'{MAX_SKIPPED} images in a row cannot be read, the last: {error}'
                    ) from error
            else:
                if skipped:
                    note_skipped(sample, skipped)
                return sample
            index = self._replacement(wanted, seed, len(skipped))

    def _replacement(self, index: int, seed: int, attempt: int) -> int:
        """Index of another image of the same source, derived from the sample's seed."""
        first = 0
        for size in self.source_sizes:
            if index < first + size:
                break
            first += size
        return first + derive_seed(_REPLACEMENT, seed, attempt) % size

    def _check_classes(self, datasets: Sequence[BaseDataset]) -> None:
        labeled, *pools = datasets
        classes = labeled.metainfo.get('classes')
        if classes is None:
            raise SetupError(
                f'{KEY}.labeled: {type(labeled).__name__} has no classes; set '
                "metainfo=dict(classes=(...)), the labels' names in the order of their indices"
            )
        for step in labeled.pipeline.transforms:
            if isinstance(step, LoadSegLabels) and step.num_classes != len(classes):
                raise SetupError(
                    f'{KEY}.labeled.pipeline: LoadSegLabels.num_classes={step.num_classes}, but '
                    f'{type(labeled).__name__} has {len(classes)} classes; set them equal'
                )
        for pool in pools:
            other = pool.metainfo.get('classes')
            if other and tuple(other) != tuple(classes):
                raise SetupError(
                    f'{KEY}: labelled images have the classes {tuple(classes)}, unlabelled ones '
                    f'{tuple(other)}; use the same data set type or metainfo for both'
                )
            for step in pool.pipeline.transforms:
                if isinstance(step, LoadAnnotations):
                    raise SetupError(
                        f'{KEY}.unlabeled.pipeline: {type(step).__name__} loads labels, which '
                        'unlabelled images do not have; remove it'
                    )


def try_images(dataset: BaseDataset, count: int = 4) -> None:
    """Load a few images of own data now, which training would refuse at some later time.

    Args:
        dataset: A :class:`.FolderDataset`.
        count: Number of images, spread evenly.

    Raises:
        SetupError: If an image has other bands than the data file says, needs a range or a package, or none of
            them lies in the range. A file that cannot be read is left to training, which may skip it.
    """
    load = next((s for s in dataset.pipeline.transforms if isinstance(s, LoadAnyImage)), None)
    if load is None:
        return
    count = min(count, len(dataset))
    infos = [dataset.get_data_info(place * len(dataset) // count) for place in range(count)]
    if dataset.own.value_range is not None:
        paths = [info['img_path'] for info in infos]
        check_value_range(paths, dataset.own.value_range, dataset.own.source)
    for info in infos:
        try:
            load.transform(dict(info))
        except UnreadableFileError:
            continue


def warn(text: str) -> None:
    """Log a remark on the data as a warning."""
    print_log(f'SemiDataset: {text}', 'current', logging.WARNING)


def note_skipped(sample: dict, skipped: Sequence[str]) -> None:
    """Write into a sample which images it replaces.

    Args:
        sample: Packed sample; ``skipped`` is added to the metainfo of its data samples.
        skipped: Errors of the images that could not be read.
    """
    samples = sample['data_samples']
    for data in samples.values() if isinstance(samples, dict) else [samples]:
        if data is not None:
            data.set_metainfo(dict(skipped=list(skipped)))


def with_lists(config: dict) -> dict:
    """A :class:`SemiDataset`'s config whose sources name their lists, in place of its ``split``.

    The split gives both lists. A source that names images itself keeps them: by an ``ann_file``
    (``''`` is the complete folder), shards or a data file. So a config that inherits a split from its base
    may replace one list or both.

    Args:
        config: Has ``labeled``, and optionally ``unlabeled``, ``protocol`` and ``split``.

    Returns:
        dict: Copy without ``split``, with an ``ann_file`` in each source. ``protocol`` is the one of
        ``config``; if it has none, the split's name if that is a published one and all unlabelled images
        come from lists, else None.

    Raises:
        SetupError: If the split does not exist, or more than one unlabelled source needs its list.
    """
    config = dict(config)
    split = config.pop('split', None)
    protocol = config.pop('protocol', OF_SPLIT)
    if split is None:
        return dict(config, protocol=None if protocol == OF_SPLIT else protocol)
    labeled, unlabeled = config.get('labeled'), config.get('unlabeled')
    pools = [unlabeled] if isinstance(unlabeled, dict) else list(unlabeled or [])
    open_pools = [
        i for i, pool in enumerate(pools) if isinstance(pool, dict) and not pool.keys() & OWN_IMAGES
    ]
    if len(open_pools) > 1:
        raise SetupError(
            f'{KEY}.split={split!r} names one unlabelled list, but {len(open_pools)} unlabelled data sets '
            "have no images of their own; give the others an ann_file, '' for a complete folder"
        )
    open_labeled = isinstance(labeled, dict) and not labeled.keys() & OWN_IMAGES
    if open_labeled or open_pools:
        lists = find_split(split, KEY, unlabeled=bool(open_pools))
        if open_labeled:
            config['labeled'] = {**labeled, 'ann_file': str(lists[0])}
        for i in open_pools:
            pools[i] = {**pools[i], 'ann_file': str(lists[1])}
    if pools:
        config['unlabeled'] = pools[0] if isinstance(unlabeled, dict) else pools
    if protocol == OF_SPLIT:
        listed = all(isinstance(pool, dict) and pool.get('ann_file') for pool in pools)
        protocol = split if split in published_protocols() and listed else None
    return dict(config, protocol=protocol)


def build_sources(labeled: dict, unlabeled: dict | Sequence[dict] | None) -> list[BaseDataset]:
    """The labelled data set and the unlabelled ones, not yet read.

    Raises:
        SetupError: If a config, a list or a folder is not as it must be.
    """
    if unlabeled is None:
        pools = []
    else:
        pools = [unlabeled] if isinstance(unlabeled, dict) else list(unlabeled)
        if not pools:
            raise SetupError(
                f'{KEY}.unlabeled is an empty list; name a data set, or set it to None to '
                'train on labelled images alone'
            )
    datasets = [_build(labeled, f'{KEY}.labeled')]
    for i, pool in enumerate(pools):
        datasets.append(ImageList.of(_build(_without_masks(pool), _pool_key(i, len(pools)))))
    return datasets


def image_names(dataset: BaseDataset) -> list[str]:
    """Names of a data set's images as lists write them: paths below its folder, without their end."""
    folder = (getattr(dataset, 'data_prefix', None) or {}).get('img_path') or ''
    suffix = getattr(dataset, 'img_suffix', '')
    names = []
    for i in range(len(dataset)):
        path = dataset.get_data_info(i)['img_path']
        name = Path(osp.relpath(path, folder) if folder else path).as_posix()
        names.append(name.removesuffix(suffix) if suffix else osp.splitext(name)[0])
    return names


def _list_file(dataset: BaseDataset) -> Path | None:
    ann_file = getattr(dataset, 'ann_file', None)
    return Path(ann_file) if ann_file and osp.isfile(ann_file) else None


def _pool_key(index: int, count: int) -> str:
    return f'{KEY}.unlabeled' + (f'[{index}]' if count > 1 else '')


def _build(cfg: dict, key: str) -> BaseDataset:
    cfg = resolve_source(cfg, key)
    kind = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if isinstance(kind, type) and not issubclass(kind, BaseDataset):
        raise SetupError(
            f'{key}.type={cfg["type"]} is no BaseDataset; wrappers cannot stand here (several '
            'unlabelled data sets go into a list)'
        )
    # MMEngine must not draw another image if a transform returns None
    cfg.setdefault('max_refetch', 0)
    cfg['lazy_init'] = True  # full_init reads the lists, with better errors
    return DATASETS.build(cfg)


def _without_masks(cfg: dict) -> dict:
    """Config of an unlabelled source, without its masks."""
    if not isinstance(cfg, dict):
        return cfg
    cfg = dict(cfg)
    prefix = dict(cfg.get('data_prefix') or dict(img_path=''))
    prefix.pop('seg_map_path', None)
    cfg['data_prefix'] = prefix
    return cfg
