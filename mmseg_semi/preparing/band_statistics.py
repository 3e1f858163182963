"""Statistics of the bands of own images: the range, mean and deviation that training scales them by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from mmseg_semi.data.bands import STATISTICS, Bands, missing_pixels
from mmseg_semi.data.decoding import decode_bands, read_file
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.randomness import seeded_permutation
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole

LOW, HIGH = 0.1, 99.9
"""Percentiles that become the ends of a band's range: single hot or dead pixels do not stretch it."""
_PIXELS = 4096  # of an image
_VALUES = 200_000_000  # in memory


@dataclass(frozen=True)
class BandStatistics:
    """What :func:`measure_bands` finds.

    Args:
        bands: The bands with ``low``, ``high``, ``mean`` and ``std``.
        images: Number of images that were read.
        pixels: Number of pixels that the statistics are of.
        missing: Share of the pixels without data, in [0, 1].
    """

    bands: Bands
    images: int
    pixels: int
    missing: float


def measure_bands(
    own: OwnData,
    images: int = 500,
    seed: int = 0,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> BandStatistics:
    """Measure the bands of labelled and unlabelled images; images for validation and test are not read.

    Of up to ``images`` images and 4,096 pixels of each, all drawn by the seed: the percentiles 0.1 and
    99.9 are ``low`` and ``high``; ``mean`` and ``std`` are those of the values, moved into that range as
    training does. Pixels without data do not count.

    Args:
        own: The data file. Without the key ``bands`` all bands of its images are taken, as many as
            the first labelled one has.
        images: Largest number of images to read.
        seed: Of the draws.
        progress: Wraps the iteration over ``total`` images, to show a progress bar.

    Raises:
        SetupError: If an image cannot be read or has another number of bands, or a band has one value
            only or none.
    """
    paths = [entry['img_path'] for entry in own.files('labeled')]
    bands = own.bands or _all_bands(paths[0])
    if own.content.get('unlabeled'):
        paths += [entry['img_path'] for entry in own.files('unlabeled')]
    chosen = [paths[i] for i in sorted(seeded_permutation(len(paths), seed)[:images].tolist())]
    share = max(1, min(_PIXELS, _VALUES // (len(chosen) * bands.channels)))
    rng = np.random.default_rng(seed)
    sampled, total, missing = [], 0, 0
    for path in progress(chosen, len(chosen)):
        values, nodata = decode_bands(read_file(path, 'image'), path, bands.count)
        values = bands.pick(values, path)
        known = values[~missing_pixels(values, {bands.nodata, nodata})]
        total += values.shape[0] * values.shape[1]
        missing += values.shape[0] * values.shape[1] - len(known)
        picked = rng.choice(len(known), min(share, len(known)), replace=False)
        sampled.append(known[picked].astype(np.float64))
    values = np.concatenate(sampled)
    if not len(values):
        raise SetupError(
            f'{own.source}: all pixels of {len(chosen)} images are without data; correct bands.nodata'
        )
    low, high = np.percentile(values, [LOW, HIGH], axis=0)
    constant = np.flatnonzero(low >= high)
    if len(constant):
        band = bands.use[int(constant[0])]
        others = [b for b in bands.use if b != band]
        raise SetupError(
            f'{own.source}: band {band} holds {low[constant[0]]:g} in (nearly) all of {len(values)} pixels '
            f'of {len(chosen)} images; leave it out: bands: {{count: {bands.count}, use: {others}}}'
        )
    values = np.clip(values, low, high)
    statistics = dict(low=low, high=high, mean=values.mean(0), std=values.std(0))
    rounded = {key: tuple(float(f'{v:.6g}') for v in of) for key, of in statistics.items()}
    return BandStatistics(
        replace(bands, **rounded), len(chosen), len(values), missing / max(total, 1)
    )


def _all_bands(path: str) -> Bands:
    count = decode_bands(read_file(path, 'image'), path)[0].shape[2]
    return Bands.of(dict(count=count))


def write_bands(path: str | Path, bands: Bands) -> None:
    """Write the key ``bands`` into a data file; its other lines stay as they are.

    Args:
        path: YAML or JSON file.
        bands: Its new value.

    Raises:
        SetupError: If the file cannot be changed without changing other keys.
    """
    path = Path(path)
    text = path.read_text(encoding='utf-8-sig')
    if path.suffix == '.json':
        content = json.loads(text) | {'bands': bands.as_dict()}
        write_whole(path, (json.dumps(content, indent=2) + '\n').encode())
        return
    block = _block(bands)
    before = yaml.safe_load(text)
    start, stop = _place(text)
    rest = text[start:stop]
    # a block ends where the next key begins: comments before that key stay
    lines = rest.splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].startswith('#')):
        lines.pop()
    tail = text[start + len(''.join(lines)) :].lstrip(' ')
    head = text[:start] if not text[:start] or text[:start].endswith('\n') else text[:start] + '\n'
    changed = head + block + tail.removeprefix('\n')
    if yaml.safe_load(changed) != {**before, 'bands': bands.as_dict()}:
        raise SetupError(
            f"{path}: the key 'bands' cannot be replaced without changing others; write it by hand:\n{block}"
        )
    write_whole(path, changed.encode())


def _place(text: str) -> tuple[int, int]:
    """Start and end of the key ``bands`` with its value in a YAML text; both its length if there is none."""
    for key, value in yaml.compose(text, Loader=yaml.SafeLoader).value:
        if key.value == 'bands':
            return key.start_mark.index, value.end_mark.index
    return len(text), len(text)


def _block(bands: Bands) -> str:
    lines = ['bands:']
    for key, value in bands.as_dict().items():
        note = (
            '  # measured by mmseg-semi band-statistics, as the next three' if key == 'low' else ''
        )
        lines.append(f'  {key}: {json.dumps(value)}{note}')
    return '\n'.join(lines) + '\n'


def table(bands: Bands) -> list[str]:
    """The statistics as lines of text, a band a line.

    Example:
        >>> table(Bands.of(dict(count=1, low=[0], high=[9], mean=[4], std=[2])))[1].split()
        ['0', '0', '9', '4', '2']
    """
    colours = dict(zip(bands.colour or (), ('red', 'green', 'blue'), strict=False))
    lines = [f'{"band":>6}' + ''.join(f'{key:>12}' for key in STATISTICS)]
    for place, band in enumerate(bands.use):
        numbers = ''.join(f'{getattr(bands, key)[place]:12.5g}' for key in STATISTICS)
        lines.append(f'{band:>6}{numbers}  {colours.get(place, "")}'.rstrip())
    return lines
