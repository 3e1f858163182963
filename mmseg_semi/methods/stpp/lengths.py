"""Iterations of the published stages, which are counted in epochs of different lists."""

import math
from collections.abc import Mapping
from typing import Any

from mmseg_semi.data.splits import published_protocols
from mmseg_semi.errors import SetupError


def stage_lengths(labeled: int, unlabeled: int, batch: int = 16) -> dict[str, int]:
    """Iterations of an epoch in each training, as the released code counts them.

    The first training passes the labelled list, twice if it has less than 200 images. The others pass the
    pseudo-labelled list and the labelled one, repeated until it is not the shorter one. Batches that are not full are
    left out.

    Args:
        labeled: Number of labelled images.
        unlabeled: Number of unlabelled images; the more reliable half of them are trained on first.
        batch: Images of an iteration, on all GPUs.

    Example:
        >>> stage_lengths(732, 9850)
        {'labels': 45, 'reliable': 628, 'all': 1256}
    """

    def joined(count: int) -> int:
        return (labeled * math.ceil(count / labeled) + count) // batch

    repeated = 2 * labeled if labeled < 200 else labeled
    return dict(labels=repeated // batch, reliable=joined(unlabeled // 2), all=joined(unlabeled))


def lengths_on_split(base: Mapping[str, Any], split: str, epochs: int = 80) -> dict[str, Any]:
    """Keys of a config that train ST++ on a published split, for as many epochs in each stage.

    A config file puts the keys in place: ``globals().update(lengths_on_split(_base_, split='voc classic 92'))``.

    Args:
        base: The base config, with ``gpus``, ``batch_size_labeled``, ``batch_size_unlabeled`` and ``param_scheduler``.
        split: Name of a published split.
        epochs: Epochs of each stage; every fourth is validated.

    Returns:
        dict: ``train_dataloader`` with the split, ``train_cfg`` and ``param_scheduler`` of the last stage, and
        ``stages`` with those of the others.

    Raises:
        SetupError: If no published split has this name.

    Example:
        >>> base = dict(gpus=4, batch_size_labeled=2, batch_size_unlabeled=2, param_scheduler=[dict(type='PolyLR')])
        >>> keys = lengths_on_split(base, split='voc classic 732')
        >>> keys['train_cfg'], keys['stages']['labels']['train_cfg']
        ({'max_iters': 100480, 'val_interval': 5024}, {'max_iters': 3600, 'val_interval': 180})
    """
    published = published_protocols()
    if split not in published:
        raise SetupError(
            f'lengths_on_split(split={split!r}): no published split has this name; published are '
            f'{", ".join(published)}'
        )
    images = (published[split][kind]['count'] for kind in ('labeled', 'unlabeled'))
    batch = base['gpus'] * (base['batch_size_labeled'] + base['batch_size_unlabeled'])

    def keys(epoch: int) -> dict[str, Any]:
        scheduler = {**base['param_scheduler'][0], 'begin': 0, 'end': epochs * epoch}
        return dict(
            train_cfg=dict(max_iters=epochs * epoch, val_interval=4 * epoch),
            param_scheduler=[scheduler],
        )

    lengths = {stage: keys(epoch) for stage, epoch in stage_lengths(*images, batch).items()}
    per_gpu = batch // base['gpus']
    # labels alone fill the batch
    lengths['labels']['train_dataloader'] = dict(
        batch_size=per_gpu, sampler=dict(batch_size=per_gpu)
    )
    last = lengths.pop('all')
    return dict(train_dataloader=dict(dataset=dict(split=split)), stages=lengths, **last)
