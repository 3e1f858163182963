"""One image through each pipeline before the first iteration: what a step or a validation would miss is told by the pipeline's key."""

from typing import Any

from mmseg.datasets import BaseSegDataset

from mmseg_semi.data.randomness import seeded_rng
from mmseg_semi.errors import SetupError, UnreadableFileError


def check_samples(train: Any, val: Any = None) -> None:
    """Load the first image of each source, and look whether it is packed as a step and a validation need it.

    Draws of the process are not changed. An image that cannot be read is left to training, which may skip it.

    Args:
        train: A ``SemiDataset``; nothing is checked of others.
        val: The validation data set, or None.

    Raises:
        SetupError: A pipeline fails, or what it gives lacks an image, a label or a view.
    """
    sources = getattr(train, 'datasets', None) or []
    for place, source in enumerate(sources):
        part = 'unlabeled' if place else 'labeled'
        key = f'train_dataloader.dataset.{part}' + (f'[{place - 1}]' if len(sources) > 2 else '')
        sample = _first(source, key)
        if sample is None or not isinstance(sample['inputs'], dict):
            continue  # of several domains, which have views of their own
        view = 'weak' if place else 'labeled'
        if sample['inputs'].get(view) is None:
            made = [name for name, image in sample['inputs'].items() if image is not None]
            raise SetupError(
                f'{key}.pipeline makes the views {made or "none"}, and {view!r} is missing: end it with '
                f"dict(type='MultiBranch', branch_field=[...], {view}=[..., dict(type='PackSemiInputs')])"
            )
        if not place:
            _need_labels(sample['data_samples'][view], key, 'LoadSegLabels or LoadAnyLabels')
    if isinstance(val, BaseSegDataset):
        sample = _first(val, 'val_dataloader.dataset')
        if sample is not None:
            _need_labels(sample['data_samples'], 'val_dataloader.dataset', 'LoadAnnotations')


def _first(dataset: Any, key: str) -> dict | None:
    """The first sample of a data set; None if its image cannot be read."""
    try:
        with seeded_rng(0):
            sample = dataset[0]
    except UnreadableFileError:
        return None
    except SetupError:
        raise
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        if isinstance(error, KeyError):
            reason = f'nothing before it has made {reason}'
        raise SetupError(
            f'{key}.pipeline cannot load its first image ({reason}); correct its transforms or their order (the environment '
            'variable MMSEG_SEMI_TRACEBACK=1 shows where it ends)'
        ) from error
    missing = [
        name
        for name in ('inputs', 'data_samples')
        if not isinstance(sample, dict) or name not in sample
    ]
    if missing:
        raise SetupError(
            f'{key}.pipeline gives no {" and no ".join(missing)}; end it with a transform that packs, such as PackSegInputs'
        )
    return sample


def _need_labels(sample: Any, key: str, loader: str) -> None:
    if getattr(sample, 'gt_sem_seg', None) is None:
        raise SetupError(f'{key}.pipeline loads no labels; add {loader} after the loader of images')
