"""Which images are labelled: names, lists, their hashes, and the protocol that a pair of lists is.

The literature has several list families that share names but few images, so a result means something
only together with its family:

- ``u2pl``: the lists of U2PL, used by UniMatch (VOC) and DDFP;
- ``cps``: the lists of CPS, used by UniMatch (Cityscapes) and DGCL;
- ``cct``: the lists of CCT (VOC);
- ``unimatch``: the lists of UniMatch V2 (ADE20K, COCO).

``protocols.json`` holds what each published list must be (count and SHA-256 of its sorted names), not
the lists themselves; ``mmseg_semi.preparing`` imports published lists and draws own ones. Of COCO's
unlabelled lists it holds Git's hash of the published file instead, which the import compares. All
lists are written in one form: one name a line, ``2007_000032`` for VOC,
``aachen/aachen_000000_000019`` for Cityscapes, ``ADE_train_00000001`` for ADE20K and
``000000000009`` for COCO, which MMSegmentation's data sets read. Beside a pair
stands ``manifest.json`` with protocol, source, seed, counts and hashes.

A config names a pair by its split, such as 'voc classic 732' or 'camvid 46 seed0'; :func:`find_split`
finds the folder, and :func:`on_split` derives the length of a run where the paper counts in epochs.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_semi.data.names import read_lines
from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import CONFIGS

FAMILIES = ('u2pl', 'cps', 'cct', 'unimatch')
DATASETS = ('voc', 'cityscapes', 'ade20k', 'coco')
PROTOCOLS = Path(__file__).with_name('protocols.json')
MANIFEST = 'manifest.json'
KINDS = dict(labeled='labelled', unlabeled='unlabelled')
COMMITTED = (Path('configs/splits'), CONFIGS / 'splits')
"""Where committed lists stand: in a checkout that is the working directory, and in the package."""
SPLIT_FOLDERS = (Path('data/splits'), *COMMITTED)
"""Where named splits stand: imported and drawn ones in the working directory, committed ones."""

# ------------------------------------------------------------------------------- reading and hashes


def hash_names(names: Iterable[str]) -> str:
    """SHA-256 of the sorted names, joined by newlines; the order of a list does not matter."""
    return hashlib.sha256('\n'.join(sorted(names)).encode()).hexdigest()


def summarize(names: Sequence[str]) -> dict:
    """Count and hash of a list, as ``protocols.json`` and manifests hold them."""
    return dict(count=len(names), sha256=hash_names(names))


def read_names(path: Path) -> list[str]:
    """Names of a list in the one form that this package writes; no line is interpreted.

    Raises:
        SetupError: If there is no such list, or it is not UTF-8.
    """
    return [line for line in read_lines(path) if line]


def summarize_file(path: Path) -> dict:
    """:func:`summarize` of a list file; one that is sorted is never held in memory."""
    digest, count, previous = hashlib.sha256(), 0, b''
    with open(path, 'rb') as file:
        for line in file:
            name = line.strip()
            if name < previous:
                break
            if name:
                digest.update(b'\n' + name if count else name)
                count, previous = count + 1, name
        else:
            return dict(count=count, sha256=digest.hexdigest())
    return summarize(read_names(path))


# ---------------------------------------------------------------------------- which protocol it is


def load_protocols() -> dict:
    """Counts and hashes of the published lists, by family and data set."""
    return json.loads(PROTOCOLS.read_text(encoding='utf-8'))


def published_protocols() -> dict[str, dict]:
    """The published pairs by the full name of their protocol, such as 'voc classic 732'.

    Returns:
        dict[str, dict]: Counts and hashes of both lists, ``family``, ``dataset`` and ``source``.
    """
    return {
        f'{pair["protocol"]} {n}': dict(
            labeled=pair['labeled'],
            unlabeled=pair['unlabeled'],
            family=family,
            dataset=dataset,
            source=info['source'],
        )
        for family, info in load_protocols()['families'].items()
        for dataset, lists in info['datasets'].items()
        for n, pair in lists['splits'].items()
    }


def read_manifest(folder: Path) -> dict | None:
    """The manifest of the lists in a folder, None where there is none.

    Raises:
        SetupError: If the file is no manifest.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
        if 'protocol' not in manifest:  # of something else
            return None
        lists = [manifest[kind] for kind in KINDS if kind in manifest]
        texts = [manifest['protocol'], *(one['sha256'] for one in lists)]
        if any(one['count'] <= 0 for one in lists) or not all(isinstance(t, str) for t in texts):
            raise ValueError
        return manifest
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f'{path} is no manifest of a split (protocol, labeled, unlabeled); write lists and manifest '
            'again (mmseg-semi splits make|import), or remove it'
        ) from error


def identify(
    protocol: str | None,
    labeled: Path | Sequence[str],
    unlabeled: Sequence[Path | None],
    key: str = 'dataset',
    named_by: str = 'protocol',
) -> dict:
    """Find the protocol of a run's lists, and refuse lists that are not those of the named one.

    A protocol that the config names is a published one, or the one in the manifest beside the labelled
    list. Without a name, the manifest gives it. The unlabelled list is hashed only where there is
    something to compare it with, since it may have millions of lines.

    Args:
        protocol: What the config calls it, or None.
        labeled: List file, or the names where there is no list.
        unlabeled: List file of each unlabelled source, None for a source without; empty if there is
            no unlabelled source.
        key: Place of the whole data set in the config.
        named_by: Key of the data set that holds the name: 'protocol' or 'split'.

    Returns:
        dict: ``protocol`` (a name or None), ``labeled`` and ``unlabeled`` (``count`` and ``sha256``, or
        None where it was not hashed).

    Raises:
        SetupError: If a list does not hash to the protocol (with both hashes), or nothing is called so.
    """
    is_file = isinstance(labeled, Path)
    found = dict(
        protocol=protocol,
        labeled=summarize_file(labeled) if is_file else summarize(labeled),
        unlabeled=None,
    )
    manifest = read_manifest(labeled.parent) if is_file else None
    published = published_protocols().get(protocol) if protocol else None
    pool = unlabeled[0] if len(unlabeled) == 1 else None
    if published:
        expected, remedy = published, _import_command(published)
    elif protocol and (manifest is None or manifest['protocol'] != protocol):
        near = difflib.get_close_matches(protocol, published_protocols(), n=1)
        beside = f'the manifest beside {labeled}' if is_file else 'a manifest (there is no list)'
        raise SetupError(
            f'{key}.{named_by} is {protocol!r}, which is neither a published protocol nor the one of '
            f'{beside}; {f"did you mean {near[0]!r}?" if near else "fix the name, or set it to None"}'
        )
    elif manifest:
        expected = manifest
        remedy = 'restore it, or write both anew: mmseg-semi splits make|import'
    else:
        return found
    name = found['protocol'] = protocol or manifest['protocol']
    origin = (
        f'{key}.{named_by} is {name!r}' if protocol else f'{labeled.parent / MANIFEST} is {name!r}'
    )
    own = f'{key}.split=FOLDER, or protocol=None' if named_by == 'split' else f'{key}.protocol=None'
    ending = f'{remedy}; lists of your own: ' + (own if protocol else f'remove {MANIFEST}')
    _compare(
        labeled if is_file else 'the labelled folder', found, expected, 'labeled', origin, ending
    )
    if not unlabeled or 'unlabeled' not in expected:
        return found
    if 'sha256' not in expected['unlabeled']:  # its names are known to the import alone
        if not is_file or not manifest or manifest['protocol'] != name:
            raise SetupError(
                f'{origin}, whose unlabelled list is checked by the {MANIFEST} of its import, but there '
                f'is none of it beside {labeled if is_file else "the labelled images"}; {ending}'
            )
        expected = manifest
    if pool is not None:
        found['unlabeled'] = summarize_file(pool)
        if protocol or pool.parent == labeled.parent:
            _compare(pool, found, expected, 'unlabeled', origin, ending)
    elif protocol:
        raise SetupError(
            f'{origin}, but the unlabelled images are not one list ({len(unlabeled)} sources); give the '
            f'unlabelled list of that protocol, or set {key}.protocol=None'
        )
    if found['unlabeled'] != expected['unlabeled']:
        found['protocol'] = f'{name}, other unlabelled images'
    return found


def _compare(
    path: Path | str, found: dict, expected: dict, kind: str, origin: str, ending: str
) -> None:
    if found[kind]['sha256'] != expected[kind]['sha256']:
        raise SetupError(
            f'{origin}, whose {KINDS[kind]} list has {expected[kind]["count"]} names with SHA-256 '
            f'{expected[kind]["sha256"]}, but {path} has {found[kind]["count"]} names with SHA-256 '
            f'{found[kind]["sha256"]}; {ending}'
        )


def _import_command(published: dict) -> str:
    return (
        f'mmseg-semi splits import --family {published["family"]} --dataset '
        f'{published["dataset"]} writes it'
    )


# ---------------------------------------------------------------------------- splits by their names


def split_folder(split: str) -> Path:
    """Folder of the split with this name; nothing on the disk is checked.

    Args:
        split: A published protocol ('voc classic 732'), the folder of a pair of lists, or that folder
            below ``data/splits`` or the package's ``configs/splits`` with blanks for slashes ('camvid 46 seed0').

    Example:
        >>> split_folder('cityscapes cps 372').as_posix()
        'data/splits/cps/cityscapes/372'
    """
    published = published_protocols().get(split)
    if published:
        family, dataset, number = published['family'], published['dataset'], split.split()[-1]
        return SPLIT_FOLDERS[0] / family / dataset / number
    # a manifest calls 'camvid 46 seed0' by 'camvid 46 seed 0'
    below = Path(*re.sub(r' seed (?=\d+$)', ' seed', split).split())
    candidates = [Path(split), *(folder / below for folder in SPLIT_FOLDERS)]
    for folder in candidates:
        if (folder / 'labeled.txt').is_file():
            return folder
    return Path(split) if '/' in split else candidates[1]


def committed_list(name: str) -> str:
    """Path of a list of images that comes with the package.

    Args:
        name: Its path below ``configs/splits``.

    Returns:
        str: Relative to the working directory if that is a checkout, so that the configs of all checkouts are equal.

    Raises:
        SetupError: If there is no such list.

    Example:
        >>> Path(committed_list('camvid_clips/eval.txt')).name
        'eval.txt'
    """
    found = next((folder / name for folder in COMMITTED if (folder / name).is_file()), None)
    if found is None:
        raise SetupError(f"the package has no list '{name}' in {COMMITTED[-1]}; fix its name")
    return found.as_posix()


def find_split(split: str, key: str = 'dataset', unlabeled: bool = True) -> tuple[Path, Path]:
    """Labelled and unlabelled list of the split with this name.

    Args:
        split: See :func:`split_folder`.
        key: Place of the whole data set in the config, which errors name.
        unlabeled: Whether the unlabelled list must exist, too.

    Raises:
        SetupError: If no split has this name, or its lists do not exist.
    """
    if not isinstance(split, str | os.PathLike) or not str(split).strip():
        raise SetupError(
            f"{key}.split={split!r}, expected the name of a split ('voc classic 732') or a folder"
        )
    split = os.fspath(split)
    folder = split_folder(split)
    lists = folder / 'labeled.txt', folder / 'unlabeled.txt'
    missing = next((path for path in lists[: 1 + unlabeled] if not path.is_file()), None)
    if missing is None:
        return lists
    published = published_protocols()
    if split in published:
        remedy = f'{_import_command(published[split])} (from --source FOLDER_OR_CHECKOUT)'
    elif missing == lists[1]:
        remedy = 'name a split with unlabelled images, or set unlabeled=None'
    elif named := _folders_without_blanks().get(split):
        remedy = (
            f'--cfg-options removes the blanks of a name: give it the folder, {named.as_posix()}'
        )
    else:
        near = difflib.get_close_matches(split, published, n=1)
        remedy = (
            f'did you mean {near[0]!r}?'
            if near
            else 'name a published protocol or a folder (mmseg-semi splits make writes one)'
        )
    raise SetupError(f'{key}.split is {split!r}, but list {missing} does not exist; {remedy}')


def _folders_without_blanks() -> dict[str, Path]:
    folders = {name.replace(' ', ''): split_folder(name) for name in published_protocols()}
    for parent in SPLIT_FOLDERS:
        for labeled in parent.rglob('labeled.txt'):
            name = ''.join(labeled.parent.relative_to(parent).parts)
            folders.setdefault(name.replace(' ', ''), labeled.parent)
    return folders


def epoch_length(images: int, batch: int, gpus: int = 1, drop_last: bool = True) -> int:
    """Iterations in which every GPU passes its share of the unlabelled images once.

    Args:
        images: Number of unlabelled images.
        batch: Unlabelled images of one GPU in an iteration.
        gpus: Number of GPUs.
        drop_last: Whether the last batch is left out if it is not full.

    Example:
        >>> epoch_length(9850, batch=4, gpus=4)
        615
    """
    share = math.ceil(images / gpus)
    return share // batch if drop_last else math.ceil(share / batch)


def on_split(base: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Keys of a config that trains its base on another published split, for as many epochs.

    An epoch passes the unlabelled list once, so that its number of iterations follows from the split.
    A config file puts the keys in place::

        _base_ = './voc_732.py'
        from mmseg_semi.data.splits import on_split

        globals().update(on_split(_base_, split='voc classic 92'))

    Args:
        base: The base config. Its ``batch_size_unlabeled``, ``gpus`` and ``drop_last`` (default True)
            say how :func:`epoch_length` counts; ``model.iters_per_epoch`` is its own epoch.
        split: Name of a published split.

    Returns:
        dict: ``train_dataloader`` with the split, and ``model``, ``train_cfg`` and ``param_scheduler``
        with the lengths.

    Raises:
        SetupError: If no published split has this name, or a length of the base is no number of epochs.
    """
    published = published_protocols()
    if split not in published:
        near = difflib.get_close_matches(split, published, n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'published are {", ".join(published)}'
        raise SetupError(f'on_split(split={split!r}): no published split has this name; {hint}')
    before = base['model']['iters_per_epoch']
    after = epoch_length(
        published[split]['unlabeled']['count'],
        base['batch_size_unlabeled'],
        base['gpus'],
        base.get('drop_last', True),
    )

    def scaled(length: int) -> int:
        epochs, rest = divmod(length, before)
        if rest:
            raise SetupError(
                f'on_split(split={split!r}): the base has a length of {length} iterations, which is no '
                f'multiple of its epoch of {before}; write the lengths into the config'
            )
        return epochs * after

    return dict(
        model=dict(iters_per_epoch=after),
        train_dataloader=dict(dataset=dict(split=split)),
        train_cfg={key: scaled(base['train_cfg'][key]) for key in ('max_iters', 'val_interval')},
        param_scheduler=[
            {**scheduler, **{key: scaled(scheduler[key]) for key in ('begin', 'end')}}
            for scheduler in base['param_scheduler']
        ],
    )
