"""Pictures of the unlabelled views of a training step and of their pseudo-labels."""

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
from mmseg_semi.files import whole_file
from mmseg_semi.runtime.pictures import (
    Picture,
    default_palette,
    paint_labels,
    paint_values,
    sheet,
    shrink,
    undo_preprocessing,
)
from mmseg_semi.step.hooks import find_segmentor
from mmseg_semi.step.views import StepViews

TITLES = ('weak view', 'strong, mixed', 'pseudo-label', 'pseudo-label, mixed', 'confidence')


@HOOKS.register_module()
class PseudoLabelHook(Hook):
    """Draws the unlabelled images of every ``interval``-th step, one per row.

    The columns are: the weak view of the teacher; the mixed strong view of the student; the
    pseudo-labels of both, striped where the confidence is below the threshold and black in the
    padding; the teacher's confidence, from dark (0) to bright (1). The hook skips steps without
    pseudo-labels, such as a recipe's first phase.

    The first process writes ``pseudo_labels/iter_<n>.png`` in the work_dir and passes the picture
    to the visualizer's backends, such as TensorBoard. LocalVisBackend is left out, because it would
    keep every picture a second time.

    Args:
        interval: Iterations between two pictures.
        num_images: Largest number of rows of a picture.
        max_keep: Number of files to keep; the hook removes older ones.
        side: Largest length of each image's longer side, in pixels.

    Raises:
        SetupError: If a number is below 1; before training, if the model is no ``SemiSegmentor``.
    """

    # before SemiStepHook (NORMAL), which releases the step's views
    priority = 'HIGH'

    def __init__(
        self, interval: int = 500, num_images: int = 4, max_keep: int = 20, side: int = 256
    ) -> None:
        if min(interval, num_images, max_keep, side) < 1:
            raise SetupError(
                f'PseudoLabelHook: interval={interval}, num_images={num_images}, '
                f'max_keep={max_keep}, side={side}; expected numbers >= 1'
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
        """Draws the step if its iteration is due."""
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
            views: The step's tensors.
            preprocessor: The data preprocessor that normalised the images.
        """
        unlabeled, pseudo, student = (
            views.batch.unlabeled,
            views.teacher.pseudo_u,
            views.teacher.mixed,
        )
        count = min(self.num_images, len(unlabeled.img_u_w))
        weak = undo_preprocessing(unlabeled.img_u_w[:count], preprocessor)
        mixed = undo_preprocessing(student.img_u_m[:count], preprocessor)
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
        with whole_file(folder / f'iter_{step}.png', sync=False) as draft:
            Image.fromarray(picture).save(draft, format='PNG')
        files = {
            int(match[1]): path
            for path in folder.iterdir()
            if (match := re.fullmatch(r'iter_(\d+)\.png', path.name))
        }
        for old in sorted(files)[: -self.max_keep]:
            files[old].unlink(missing_ok=True)
