"""GeoTIFFs: read and written by windows, with their georeference. rasterio is an optional package (extra ``geo``)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file

GEO_TAGS = (33550, 33922, 34264, 34735)
"""TIFF tags of GeoTIFF 1.1: ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory."""

_CACHE = 64 * 1024**2  # GDAL would take a twentieth of the machine's memory


def is_georeferenced(path: str | Path) -> bool:
    """Whether a file is a TIFF with GeoTIFF's tags; from its header alone.

    Example:
        >>> is_georeferenced('picture.png')
        False
    """
    if Path(path).suffix.lower() not in ('.tif', '.tiff'):
        return False
    try:
        with Image.open(path) as image:
            return image.format == 'TIFF' and any(tag in image.tag_v2 for tag in GEO_TAGS)
    except OSError:
        # Pillow does not open every kind of TIFF: many bands, integers of other sizes
        return _rasterio_finds(path)


def _rasterio_finds(path: str | Path) -> bool:
    try:
        import rasterio
    except ImportError:
        return False
    try:
        with rasterio.open(path) as dataset:
            return dataset.crs is not None or not dataset.transform.is_identity
    except rasterio.errors.RasterioIOError:
        return False  # the loader will say what is wrong with the file


def require_rasterio(path: str | Path) -> Any:
    """The module rasterio.

    Args:
        path: The file that needs it.

    Raises:
        SetupError: If it is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        raise SetupError(
            f"'{path}' has a georeference, and rasterio, which keeps it, cannot be imported ({error}); install it: pip "
            "install 'mmseg_semi[geo]', or give --drop-georeference to get plain masks"
        ) from error
    return rasterio


class GeoImage:
    """A GeoTIFF, read by windows; each window is decoded as the model's loader decodes a file.

    Args:
        path: The file.
        load: The model's loader: from ``dict(img_path, img_bytes)`` to ``img`` and more.

    Attributes:
        path: The file.
        size: (height, width).
        record: What the loader noted, see :class:`.ImageSource`.
        square_metres: Area of a pixel, None if the reference system is not metric.

    Raises:
        SetupError: If rasterio is not installed.
    """

    def __init__(self, path: str | Path, load: Callable[[dict], dict]) -> None:
        rasterio = require_rasterio(path)
        self.path = str(path)
        self._load = load
        self._env = rasterio.Env(GDAL_CACHEMAX=_CACHE)
        with self._env:
            self.dataset = rasterio.open(path)
        self.size = self.dataset.height, self.dataset.width
        self._last: tuple[tuple[int, ...], dict] = ((), {})
        first = self._results(0, 0, 1, 1)
        self.record = {k: v for k, v in first.items() if k not in ('img', 'missing_map')}
        self.square_metres = square_metres(self.dataset)

    def close(self) -> None:
        """Close the file."""
        self.dataset.close()

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        return self._results(top, left, bottom, right)['img']

    def missing(self, top: int, left: int, bottom: int, right: int) -> np.ndarray | None:
        with self._env:
            missing = self.dataset.dataset_mask(window=((top, bottom), (left, right))) == 0
        # NaN, and values that the data file names
        noted = self._results(top, left, bottom, right).get('missing_map')
        if noted is not None:
            missing |= noted
        return missing if missing.any() else None

    def _results(self, *window: int) -> dict:
        """What the loader makes of a window (top, left, bottom, right); that of the last call is kept."""
        top, left, bottom, right = window
        if self._last[0] != window:
            with self._env:
                values = self.dataset.read(window=((top, bottom), (left, right)))
                content = encode(values, self.dataset)
            self._last = window, self._load(dict(img_path=self.path, img_bytes=content))
        return self._last[1]


def encode(values: np.ndarray, like: Any) -> bytes:
    """A window as a TIFF file of its own, so that the loader of whole files reads it.

    Args:
        values: (bands, h, w).
        like: rasterio's data set of the whole file: kinds of bands, colours, nodata.
    """
    from rasterio.enums import ColorInterp
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.io import MemoryFile

    kinds = like.colorinterp
    options = {}
    if kinds[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue):
        options['photometric'] = 'RGB'
        options['alpha'] = 'YES' if ColorInterp.alpha in kinds else 'NO'
    count, height, width = values.shape
    with MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)  # the window itself needs none
        with memory.open(
            driver='GTiff',
            count=count,
            height=height,
            width=width,
            dtype=values.dtype,
            nodata=like.nodata,
            interleave='pixel',
            **options,
        ) as target:
            target.write(values)
            if kinds[0] == ColorInterp.palette:
                target.write_colormap(1, like.colormap(1))
        return memory.read()


def square_metres(dataset: Any) -> float | None:
    """Area of a pixel in m²; None if the reference system has degrees, or there is none."""
    if dataset.crs is None or not dataset.crs.is_projected:
        return None
    _, metres = dataset.crs.linear_units_factor
    return abs(dataset.transform.determinant) * metres**2


class GeoWriter:
    """Writes a raster with the georeference of an image, block by block.

    Args:
        draft: Path to write to.
        like: rasterio's data set of the image.
        count: Number of bands.
        dtype: Of the values.
        nodata: The value of pixels without data, or None.
        colours: Value -> (red, green, blue), written as the colour table; None writes none.
    """

    def __init__(
        self,
        draft: Path,
        like: Any,
        count: int,
        dtype: str,
        nodata: int | None,
        colours: dict[int, tuple[int, int, int]] | None = None,
    ) -> None:
        import rasterio

        self._env = rasterio.Env(GDAL_CACHEMAX=_CACHE)
        with self._env:
            self._target = rasterio.open(
                draft,
                'w',
                driver='GTiff',
                height=like.height,
                width=like.width,
                count=count,
                dtype=dtype,
                crs=like.crs,
                transform=like.transform,
                nodata=nodata,
                compress='deflate',
                tiled=True,
                blockxsize=256,
                blockysize=256,
                bigtiff='IF_SAFER',
            )
            points, system = like.gcps
            if points:
                self._target.gcps = points, system
            if like.rpcs is not None:
                self._target.rpcs = like.rpcs
            if colours is not None:
                self._target.write_colormap(1, colours)

    def write(self, top: int, left: int, values: np.ndarray) -> None:
        """Write (h, w) or (h, w, bands) values at a place."""
        values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        height, width = values.shape[1:]
        with self._env:
            self._target.write(values, window=((top, top + height), (left, left + width)))

    def close(self) -> None:
        """Finish the file."""
        with self._env:
            self._target.close()


@contextmanager
def geo_writer(path: Path, like: Any, **options: Any) -> Iterator[GeoWriter]:
    """A :class:`GeoWriter` whose file gets its name when the block ends without an error."""
    with whole_file(path, sync=False) as draft:
        writer = GeoWriter(draft, like, **options)
        try:
            yield writer
        finally:
            writer.close()
