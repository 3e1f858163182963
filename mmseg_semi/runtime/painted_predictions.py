"""Pictures of a test: image, truth and prediction of every image side by side, with the names of the classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.runtime.pictures import (
    Picture,
    default_palette,
    legend,
    overlay_labels,
    paint_labels,
    sheet,
)

_SIDE = 14


@HOOKS.register_module()
class PaintedPredictionsHook(Hook):
    """Writes ``FOLDER/NAME.png`` for every image of a test: image, truth (if it has a mask) and prediction, and a legend.

    Labels lie half transparent over the image, so that a black class hides nothing.

    Args:
        folder: Folder of the pictures; subfolders are those of the images, below the folder that they share.

    Raises:
        SetupError: Before the test, if the folder holds files.
    """

    priority = 'LOWEST'

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def before_test(self, runner: Runner) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise SetupError(f'--show-dir {self.folder} holds files; give the name of a new folder')
        dataset = runner.test_dataloader.dataset
        meta = dataset.metainfo
        self.classes = list(meta['classes'])
        self.palette = meta.get('palette') or default_palette(len(self.classes))
        paths = [Path(dataset.get_data_info(i)['img_path']) for i in range(len(dataset))]
        self.root = common_folder(paths)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        images = data_batch['inputs']
        if isinstance(
            images[0], list | tuple
        ):  # test-time augmentation: the batch of each view, the plain one first
            images = images[0]
        for image, sample in zip(images, outputs, strict=True):
            size = sample.pred_sem_seg.data.shape[-2:]
            truth = sample.get('gt_sem_seg')
            page = draw(
                to_picture(np.asarray(image.cpu()), size),
                None if truth is None else truth.data[0].cpu().numpy(),
                sample.pred_sem_seg.data[0].cpu().numpy(),
                self.classes,
                self.palette,
            )
            name = Path(sample.img_path).relative_to(self.root).with_suffix('.png')
            with whole_file(self.folder / name, sync=False) as draft:
                draft.write_bytes(cv2.imencode('.png', page[..., ::-1])[1].tobytes())

    def after_test(self, runner: Runner) -> None:
        runner.logger.info(f'image, truth and prediction of every image: {self.folder}')


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all files.

    Example:
        >>> common_folder([Path('a/b/x.png'), Path('a/c/y.png')]).as_posix()
        'a'
    """
    folder = paths[0].parent
    while not all(path.is_relative_to(folder) for path in paths):
        folder = folder.parent
    return folder


def to_picture(image: np.ndarray, size: Sequence[int]) -> Picture:
    """(C, H, W) BGR numbers as the pipeline gives them -> a picture of ``size``; one channel becomes grey."""
    image = image[:3] if image.shape[0] >= 3 else image[[0, 0, 0]]
    picture = np.clip(image[::-1].transpose(1, 2, 0), 0, 255).astype(np.uint8)
    if picture.shape[:2] != tuple(size):
        picture = cv2.resize(np.ascontiguousarray(picture), (size[1], size[0]))
    return picture


def draw(
    picture: Picture,
    truth: np.ndarray | None,
    prediction: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Picture:
    """Image, truth and prediction side by side, over a legend.

    Args:
        picture: (H, W, 3).
        truth: (H, W) labels, or None.
        prediction: (H, W) labels.
        classes: K names.
        palette: K colours.
    """
    columns = {'image': picture}
    if truth is not None:
        columns['truth'] = overlay_labels(picture, truth, palette)
    columns['prediction'] = overlay_labels(picture, prediction, palette)
    page = sheet([list(columns.values())], titles=list(columns))
    swatches = [
        (name, paint_labels(np.full((_SIDE, _SIDE), index), palette))
        for index, name in enumerate(classes)
    ]
    names = legend(swatches, page.shape[1])
    return np.concatenate([page, names])
