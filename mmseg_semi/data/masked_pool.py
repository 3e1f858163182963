"""The unlabelled images of a training with their masks: for evaluation after it, never for training.

A protocol that hides most labels of a labelled data set leaves masks of its unlabelled images on the disk.
:class:`SemiDataset` never opens them. :class:`MaskedPool` does, for ``tools/test.py --pool``.
"""

from __future__ import annotations

import os.path as osp
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from mmseg_semi.data.checks import missing_paths, resolve_source
from mmseg_semi.data.semi_dataset import KEY, OWN_IMAGES, image_names, with_lists
from mmseg_semi.data.splits import find_split
from mmseg_semi.errors import SetupError

NO_CLIP = '(no clip)'
"""Clip of a frame whose name has no underscore, where no folders separate the frames."""


class MaskedPool(BaseDataset):
    """The unlabelled images of a :class:`.SemiDataset` that have a mask.

    The masks are looked up in the folder of the labelled source's masks (``data_prefix.seg_map_path``, below
    the unlabelled source's own ``data_root``), or in the unlabelled source's own one if it names one. A
    training on labelled images alone (``unlabeled=None``) has the unlabelled list of its split.

    Args:
        config: Config of the :class:`.SemiDataset`.
        pipeline: Transforms of the evaluation.

    Attributes:
        names: Name of each image, in the order of the data set: its path below the folder of the images,
            without suffix.
        without_mask: Names of the images without a mask, which are left out.

    Raises:
        SetupError: If there are no unlabelled images, or none of them has a mask.
    """

    def __init__(self, config: Mapping[str, Any], pipeline: Sequence[dict]) -> None:
        self.names: list[str] = []
        self.without_mask: list[str] = []
        labeled, pools = _sources(config)
        self._sources = [DATASETS.build(_with_masks(labeled, pool)) for pool in pools]
        super().__init__(
            metainfo=dict(DATASETS.build(dict(labeled, pipeline=[], lazy_init=True)).metainfo),
            pipeline=list(pipeline),
            test_mode=True,
            max_refetch=0,
        )

    def load_data_list(self) -> list[dict]:
        """Entries of the images that have a mask."""
        entries, looked_for = [], None
        for source in self._sources:
            infos = [source.get_data_info(i) for i in range(len(source))]
            masks = [info['seg_map_path'] for info in infos if 'seg_map_path' in info]
            looked_for = looked_for or next(iter(masks), None)
            missing = set(_missing(masks, getattr(source, 'backend_args', None)))
            for name, info in zip(image_names(source), infos, strict=True):
                if info.get('seg_map_path') is None or info['seg_map_path'] in missing:
                    self.without_mask.append(name)
                else:
                    self.names.append(name)
                    entries.append(info)
        if not entries:
            place = (
                f'looked for {looked_for}' if looked_for else 'its config names no folder of masks'
            )
            raise SetupError(
                f'none of the {len(self.without_mask)} unlabelled images of {KEY} has a mask ({place}), so '
                'they cannot be evaluated; add the masks, or evaluate the test set (without --pool)'
            )
        if self.without_mask:
            print_log(
                f'MaskedPool: {len(self.without_mask)} of {len(self.without_mask) + len(entries)} unlabelled '
                f'images have no mask and are not evaluated, the first is {self.without_mask[0]}',
                logger='current',
            )
        return entries


def _sources(config: Mapping[str, Any]) -> tuple[dict, list[dict]]:
    """Configs of the labelled source and of the unlabelled ones, with their lists."""
    if config.get('type', 'SemiDataset') != 'SemiDataset':
        raise SetupError(
            f"{KEY}.type is {config['type']!r}, which has no unlabelled images; expected 'SemiDataset'"
        )
    split = config.get('split')
    config = dict(config)
    if not config.get('unlabeled') and split is not None:
        unlabeled = find_split(split, KEY)[1]
        config['unlabeled'] = dict(config['labeled'], ann_file=str(unlabeled))
    config = with_lists({key: config.get(key) for key in ('labeled', 'unlabeled', 'split')})
    pools = config['unlabeled']
    if not pools:
        raise SetupError(
            f'{KEY} has neither unlabelled images nor a split with an unlabelled list; name one '
            f'({KEY}.split), or evaluate the test set (without --pool)'
        )
    labeled = resolve_source(config['labeled'], f'{KEY}.labeled')
    return labeled, [pools] if isinstance(pools, Mapping) else list(pools)


def _with_masks(labeled: Mapping[str, Any], pool: Mapping[str, Any]) -> dict:
    """Config of an unlabelled source whose entries name their masks."""
    pool = resolve_source({**pool, 'pipeline': []}, f'{KEY}.unlabeled')
    masks = (labeled.get('data_prefix') or {}).get('seg_map_path')
    if masks is not None and not pool.keys() & (OWN_IMAGES - {'ann_file'}):
        pool['data_prefix'] = {'seg_map_path': masks, **(pool.get('data_prefix') or {})}
        for key in ('seg_map_suffix', 'reduce_zero_label', 'metainfo'):
            if key in labeled:
                pool.setdefault(key, labeled[key])
    return pool


def _missing(paths: Sequence[str], backend_args: Mapping[str, Any] | None) -> list[str]:
    if backend_args:
        return [path for path in paths if not fileio.exists(path, backend_args=dict(backend_args))]
    return missing_paths(paths)


# --------------------------------------------------------------------------------------------- clips


def find_clips(names: Sequence[str], pattern: str | None = None) -> list[str]:
    """Clip of each frame.

    If the frames lie in several folders, a clip is a folder (Cityscapes: a city). Otherwise, it is the part
    of a frame's name before the last underscore (CamVid: 0001TP of 0001TP_006690).

    Args:
        names: Paths below the folder of the images, without suffix.
        pattern: Regular expression with one group, which is the clip wherever it is found in a name; it
            replaces the rule.

    Returns:
        list[str]: In the order of ``names``.

    Raises:
        SetupError: If the pattern is no regular expression with one group, or is not found in a name.

    Example:
        >>> find_clips(['0001TP_006690', '0016E5_00390'])
        ['0001TP', '0016E5']
        >>> find_clips(['aachen/aachen_000000_000019', 'bonn/bonn_000003_000019'])
        ['aachen', 'bonn']
        >>> find_clips(['a/left_1', 'b/left_2'], '([a-z]+)_')
        ['left', 'left']
    """
    if pattern is not None:
        return [_match(pattern, name) for name in names]
    folders = [osp.dirname(name) for name in names]
    if len(set(folders)) > 1:
        return [folder or NO_CLIP for folder in folders]
    stems = [osp.basename(name) for name in names]
    return [stem.rpartition('_')[0] or NO_CLIP for stem in stems]


def _match(pattern: str, name: str) -> str:
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise SetupError(
            f'--clips {pattern!r} is no regular expression ({error}); fix it'
        ) from error
    if regex.groups != 1:
        raise SetupError(
            f"--clips {pattern!r} has {regex.groups} groups, expected one, such as '^([^_]+)_'"
        )
    found = regex.search(name)
    if found is None or found[1] is None:
        raise SetupError(
            f'--clips {pattern!r} is not found in the name {name!r}; every frame must belong to a clip'
        )
    return found[1]
