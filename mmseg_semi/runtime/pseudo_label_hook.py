"""Pictures of what the student is taught: the unlabelled views of a step and their pseudo-labels."""

import os
import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from mmseg.registry import HOOKS
from PIL import Image
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.pictures import (
    Picture,
    default_palette,
    paint_labels,
    paint_values,
    sheet,
    shrink,
    undo_normalization,
)
from mmseg_semi.step.hooks import find_segmentor
from mmseg_semi.step.views import StepViews

TITLES = ('weak view', 'strong, mixed', 'pseudo-label', 'pseudo-label, mixed', 'confidence')


@HOOKS.register_module()
class PseudoLabelHook(Hook):
    """Draws the unlabelled images of every ``interval``-th step, one a row.

    Columns: the weak view that the teacher saw; the mixed strong view that the student saw; the
    pseudo-labels of either, striped where the teacher was not sure enough, black in the padding; the
    teacher's confidence, from dark (0) to bright (1). Steps in which nothing asked for pseudo-labels
    (a recipe's first phase) are passed over.

    The first process writes ``pseudo_labels/iter_<n>.png`` in the work_dir, and hands the picture to
    the visualizer's backends (TensorBoard and others; LocalVisBackend, which would keep every one a
    second time, is left out).

    Args:
        interval: Draw every so many iterations.
        num_images: Rows of a picture at most.
        max_keep: Files kept; older ones are removed.
        side: The longer side of each image, in pixels, at most.

    Raises:
        SetupError: A number below 1; a model that is no ``SemiSegmentor``, before training.
    """

    # in front of SemiStepHook (NORMAL), which lets go of the step's views
    priority = 'HIGH'

    def __init__(
        self, interval: int = 500, num_images: int = 4, max_keep: int = 20, side: int = 256
    ) -> None:
        if min(interval, num_images, max_keep, side) < 1:
            raise SetupError(
                f'PseudoLabelHook: interval={interval}, num_images={num_images}, max_keep={max_keep}, '
                f'side={side}; expected numbers >= 1'
            )
        self.interval = interval
        self.num_images = num_images
        self.max_keep = max_keep
        self.side = side

    def before_train(self, runner: Runner) -> None:
        """Finds the segmentor and the colours of its classes."""
        self._segmentor = find_segmentor(runner, self)
        metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        count = self._segmentor.num_classes
        palette = metainfo.get('palette')
        self._palette = palette if palette and len(palette) >= count else default_palette(count)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draws, where this is one of the iterations."""
        views = self._segmentor.last_views
        if not self.every_n_train_iters(runner, self.interval) or not is_main_process():
            return
        if views is None or views.teacher is None or views.teacher.mixed is None:
            return
        step = runner.iter + 1
        picture = self.draw(views, self._segmentor.data_preprocessor)
        self._write(Path(runner.work_dir, 'pseudo_labels'), picture, step)
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):
                backend.add_image('pseudo_labels', picture, step=step)

    def draw(self, views: StepViews, preprocessor: nn.Module) -> Picture:
        """The picture of a step whose unlabelled images have pseudo-labels.

        Args:
            views: The step.
            preprocessor: What normalised its images.
        """
        inner = getattr(preprocessor, 'data_preprocessor', preprocessor)
        mean, std = getattr(inner, 'mean', None), getattr(inner, 'std', None)
        # MMCV loads BGR; the attribute's name is that of either distribution
        swapped = getattr(inner, '_channel_conversion', getattr(inner, 'channel_conversion', False))
        unlabeled, pseudo, student = (
            views.batch.unlabeled,
            views.teacher.pseudo_u,
            views.teacher.mixed,
        )
        count = min(self.num_images, len(unlabeled.img_u_w))
        weak = undo_normalization(unlabeled.img_u_w[:count], mean, std, not swapped)
        mixed = undo_normalization(student.img_u_m[:count], mean, std, not swapped)
        rows = []
        for i in range(count):
            confidence = paint_values(pseudo.confidence[i])
            confidence[~unlabeled.valid_u[i].cpu().numpy()] = 0
            labels = (
                paint_labels(pseudo.labels[i], self._palette, unlabeled.valid_u[i]),
                paint_labels(student.pseudo_m.labels[i], self._palette, student.valid_m[i]),
            )
            rows.append(
                [shrink(picture, self.side) for picture in (weak[i], mixed[i])]
                + [shrink(picture, self.side, smooth=False) for picture in (*labels, confidence)]
            )
        names = [
            os.path.basename(path) for path in views.batch.paths[len(views.batch.img_l) :][:count]
        ]
        return sheet(rows, TITLES, names)

    def _write(self, folder: Path, picture: Picture, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / 'unfinished'
        Image.fromarray(picture).save(temporary, format='PNG')
        os.replace(temporary, folder / f'iter_{step}.png')
        files = {
            int(match[1]): path
            for path in folder.iterdir()
            if (match := re.fullmatch(r'iter_(\d+)\.png', path.name))
        }
        for old in sorted(files)[: -self.max_keep]:
            files[old].unlink(missing_ok=True)
