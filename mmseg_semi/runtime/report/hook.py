"""The hook that writes a run's report at every validation."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner, ValLoop
from mmseg.registry import HOOKS

from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.runtime.pictures import default_palette, swaps_channels
from mmseg_semi.runtime.report.collect import DATA, FORMAT, PAGE, read_run
from mmseg_semi.runtime.report.confusion import ConfusionMatrix, class_ious
from mmseg_semi.runtime.report.gallery import Gallery, render_case, short_name, shrink_case
from mmseg_semi.runtime.report.labels import count_labels
from mmseg_semi.runtime.report.page import write_page
from mmseg_semi.step.class_shares import ClassShareHook
from mmseg_semi.step.hooks import bare_model

_KEY = 'report'


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``report.html`` in the work folder at every validation of a training.

    During the validation the hook counts a confusion matrix of each network from the predictions that the metrics get, and
    draws the images with the highest and the lowest scores. ``report_data.json`` beside the page holds these numbers and
    pictures, so that ``mmseg-semi report`` can make the page again. The first process writes both files. If that fails,
    the log has a warning with the reason, the files of the validation before stay, and the training goes on.

    ``default_hooks.report=None`` switches it off.

    Args:
        pictures: Number of best and of worst validation images to show; 0 stores no picture of your data.
        beside: Work folders of other runs to show beside this one, such as a supervised one.
        count_masks: Most labelled masks that are read once, at the first validation, for the pixels of each class; 0 for
            none.

    Raises:
        SetupError: If a number is negative; before training, if a folder of ``beside`` holds no run.

    State:
        ``report`` in the message hub: the numbers of every validation. A resumed run continues them.
    """

    # after ResultsHook (LOW) and the logger, before the checkpoint (VERY_LOW), which holds the state
    priority = 80

    def __init__(
        self, pictures: int = 3, beside: Sequence[str] = (), count_masks: int = 200
    ) -> None:
        if pictures < 0 or count_masks < 0:
            raise SetupError(
                f'ReportHook: pictures={pictures}, count_masks={count_masks}; expected numbers >= 0'
            )
        self.pictures = pictures
        self.beside = [beside] if isinstance(beside, str) else list(beside)
        self.count_masks = count_masks
        self._training = False
        self._counter: ConfusionMatrix | None = None
        self._error: Exception | None = None

    def before_train(self, runner: Runner) -> None:
        """Checks the folders of ``beside``."""
        self._training = True
        for folder in self.beside:
            read_run(folder)

    def after_train(self, runner: Runner) -> None:
        self._training = False

    # -- a validation --------------------------------------------------------------------------

    def before_val_epoch(self, runner: Runner) -> None:
        """Adds the confusion matrix to the evaluator, which the loop copies for each network."""
        self._counter = self._error = None
        self._gallery = Gallery(self.pictures)
        loop = runner.val_loop
        if not self._training or not isinstance(loop, ValLoop):  # such as one over several domains
            return
        dataset = loop.dataloader.dataset
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if not classes:
            return
        self._classes = list(classes)
        palette = dataset.metainfo.get('palette')
        enough = palette is not None and len(palette) >= len(classes)
        self._palette = list(palette if enough else default_palette(len(classes)))
        self._counter = ConfusionMatrix(len(classes), len(dataset))
        self._metrics = loop.evaluator.metrics
        self._metrics.append(self._counter)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keeps the images of the batch that are among the best or the worst so far."""
        if self._counter is None or not self.pictures or self._error is not None:
            return
        try:
            model = bare_model(runner)
            counters = self._counters(runner)
            name = getattr(model, 'predicting_network', None)
            # without it the loop hands on the outputs of the first network
            scores = counters[name if name in counters else next(iter(counters))].scores
            is_bgr = not swaps_channels(model.data_preprocessor)
            for inputs, sample, score in zip(data_batch['inputs'], outputs, scores, strict=True):
                if score is not None:
                    self._gallery.offer(
                        short_name(sample.metainfo.get('img_path', f'image {batch_idx}')),
                        score,
                        lambda i=inputs, s=sample: shrink_case(i, s, is_bgr),
                    )
        except Exception as error:  # logged after the validation
            self._error = error

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Joins what the ranks counted, keeps the numbers of the validation, and writes the files."""
        if not self._training:
            return
        parts = None
        if self._counter is not None:  # on all ranks
            mine = self._counted(runner)
            self._metrics.remove(self._counter)
            parts = all_gather_object(mine)
        shares = self._pseudo_labels(runner)
        if is_main_process():
            self._guarded(runner, parts, shares)

    def _counted(self, runner: Runner) -> dict:
        """What this rank counted and drew, and its errors in words."""
        try:
            counters = self._counters(runner)
            errors = [counter.error for counter in counters.values()] + [self._error]
            return dict(
                matrix={name: counter.matrix for name, counter in counters.items()},
                shows=next(iter(counters.values())).shows,
                gallery=[render_case(e, self._palette) for e in self._gallery.entries],
                errors=[describe(error) for error in errors if error is not None],
            )
        except Exception as error:  # the other ranks wait for this one
            return dict(errors=[describe(error)])

    def _counters(self, runner: Runner) -> dict[str | None, ConfusionMatrix]:
        """The counter of each network; that of a plain segmentor, or of MMEngine's own loop, has the network that predicts."""
        evaluators = getattr(runner.val_loop, 'evaluators', None)
        if evaluators is None:
            name = getattr(bare_model(runner), 'predicting_network', None)
            evaluators = {name: runner.val_loop.evaluator}
        return {
            name: next(m for m in evaluator.metrics if isinstance(m, ConfusionMatrix))
            for name, evaluator in evaluators.items()
        }

    def _pseudo_labels(self, runner: Runner) -> dict | None:
        """Pixels by class that were pseudo-labelled, and that were labelled, in all steps so far."""
        for hook in runner.hooks:
            if isinstance(hook, ClassShareHook) and '' in hook.shares:
                shares = hook.shares['']
                return dict(pseudo=shares.total.tolist(), labelled=shares.counts[1].tolist())
        return None

    # -- writing -------------------------------------------------------------------------------

    def _guarded(self, runner: Runner, parts: list[dict] | None, shares: dict | None) -> None:
        """Writes the files; what goes wrong is a warning, because no score depends on them."""
        errors = [error for part in parts or () for error in part['errors']]
        try:
            if errors:
                raise ReportError(errors[0])
            self._write(runner, parts, shares)
        except Exception as error:
            runner.logger.warning(
                f'ReportHook: the report of iteration {runner.iter} could not be made '
                f'({describe(error)}); {PAGE} is that of an earlier validation or missing, the training '
                'goes on. default_hooks.report=None switches the report off',
                exc_info=None if isinstance(error, ReportError) else error,
            )

    def _write(self, runner: Runner, parts: list[dict] | None, shares: dict | None) -> None:
        kept = runner.message_hub.runtime_info.get(_KEY) or dict(labels=None, validations=[])
        entry: dict[str, Any] = dict(iter=int(runner.iter), shares=shares)
        model = bare_model(runner)
        data: dict[str, Any] = dict(
            format=FORMAT,
            iter=int(runner.iter),
            max_iters=int(runner.max_iters),
            predicting=getattr(model, 'predicting_network', None),
        )
        labels = kept['labels']
        if parts is not None:
            matrices = {name: sum(p['matrix'][name] for p in parts) for name in parts[0]['matrix']}
            gallery = Gallery(self.pictures)
            for part in parts:
                gallery.add(part['gallery'])
            best, worst = gallery.chosen()
            data |= dict(
                classes=self._classes,
                palette=[[int(value) for value in colour] for colour in self._palette],
                images=self._counter.num_images,
                matrix={str(name or ''): m.tolist() for name, m in matrices.items()},
                shows=sum(part['shows'] for part in parts).tolist(),
                best=best,
                worst=worst,
            )
            entry['iou'] = {str(name or ''): plain_ious(m) for name, m in matrices.items()}
            if labels is None and self.count_masks:
                dataset = runner.train_dataloader.dataset
                labels = count_labels(dataset, len(self._classes), self.count_masks)
        earlier = [old for old in kept['validations'] if old['iter'] < entry['iter']]
        kept = dict(labels=labels, validations=[*earlier, entry])
        runner.message_hub.update_info(_KEY, kept)
        folder = Path(runner.work_dir)
        write_whole(folder / DATA, json.dumps({**data, **kept}), sync=False)
        beside = [read_run(other) for other in self.beside]
        write_page(read_run(folder), beside, folder / PAGE)


class ReportError(Exception):
    """What went wrong on any rank, in words."""


def describe(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, ReportError):
        return str(error)
    return f'{type(error).__name__}: {" ".join(str(error).split())}'


def plain_ious(matrix: np.ndarray) -> list[float | None]:
    """IoU of each class in percent, None where it is not defined.

    Example:
        >>> plain_ious(np.array([[1, 0], [0, 0]]))
        [100.0, None]
    """
    return [None if np.isnan(iou) else float(100 * iou) for iou in class_ious(matrix)]
