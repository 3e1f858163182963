"""The part of ``mmseg-semi predict`` for images."""

import argparse
from pathlib import Path

from rich.progress import Progress, TaskID, TextColumn

from mmseg_semi.cli.predict.report import Report
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.progress import progress_bar
from mmseg_semi.runtime.prediction.coco import CocoFile
from mmseg_semi.runtime.prediction.geo import GeoImage, is_georeferenced
from mmseg_semi.runtime.prediction.outputs import MaskCode, Outputs
from mmseg_semi.runtime.prediction.predictor import Plan, Predictor
from mmseg_semi.runtime.prediction.sources import ArrayImage, ImageSource, Inputs, orientation
from mmseg_semi.runtime.prediction.window_loader import window_loader

WHOLE_WINDOW = 2**28
"""Pixels of a GeoTIFF up to which it is read at once."""


class FolderRun:
    """Predicts a folder of images, or one image.

    Args:
        args: The command's options.
        inputs: The images.
        predictor: The model.
        kinds: What is written.
        code: How masks are written.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        inputs: Inputs,
        predictor: Predictor,
        kinds: list[str],
        code: MaskCode,
    ) -> None:
        self.args, self.inputs, self.predictor = args, inputs, predictor
        self.kinds, self.code = kinds, code
        self.report = Report(predictor.model.classes)
        self.coco = CocoFile(predictor.model.classes, args.coco) if args.coco else None
        self.waiting: list[tuple[str, ArrayImage, Plan]] = []
        self.load_window = window_loader(predictor)

    def run(self) -> None:
        """Predict all images; tables are written in any case."""
        try:
            with progress_bar(TextColumn('{task.completed:.0f} of {task.total:.0f} images')) as bar:
                task = bar.add_task('predicting', total=len(self.inputs.names))
                for name, path in self.inputs.names.items():
                    source = self.open(path)
                    if source is not None:
                        self.predict(name, source, bar, task)
                    bar.update(task, completed=self.report.images + len(self.report.failed))
                self.flush()
                bar.update(task, completed=len(self.inputs.names))
        finally:
            if 'areas' in self.kinds:
                self.report.areas.write(self.args.out / 'areas.csv')
            if self.coco is not None:
                self.coco.write(self.args.out / 'coco.json')

    def open(self, path: Path) -> ImageSource | None:
        """An image's pixels; None if it cannot be read, which the report then says."""
        try:
            if not self.args.drop_georeference and is_georeferenced(path):
                return self.open_geo(path)
            source = self.predictor.load(str(path))
        except Exception as error:  # each decoder raises its own kinds
            self.fail(path, error)
            return None
        if orientation(path) != 1:
            self.report.turned.append(self.shown(path))
        return source

    def open_geo(self, path: Path) -> GeoImage:
        """A GeoTIFF.

        Raises:
            SetupError: If the plan would read a very large one at once.
        """
        source = GeoImage(path, self.load_window)
        height, width = source.size
        if self.predictor.plan(source.size).tile is None and height * width > WHOLE_WINDOW:
            source.close()
            raise SetupError(
                f'it has {width} x {height} pixels and would be taken whole; give the long side of the training images as '
                '--tile'
            )
        return source

    def fail(self, path: Path, error: Exception) -> None:
        """Note a file that cannot be read."""
        reason = ' '.join(str(error).split()) or type(error).__name__
        self.report.failed.append((self.shown(path), reason))

    def shown(self, path: Path | str) -> str:
        """An image's name in tables: its path below the input folder."""
        return Path(path).relative_to(self.inputs.root).as_posix()

    def predict(self, name: str, source: ImageSource, bar: Progress, task: TaskID) -> None:
        """Predict an image, or put it beside others of its size until they fill a batch."""
        plan = self.predictor.plan(source.size)
        if isinstance(source, ArrayImage) and self.predictor.is_small(source.size, plan):
            if self.waiting and self.waiting[0][1].size != source.size:
                self.flush()
            self.waiting.append((name, source, plan))
            if len(self.waiting) >= self.args.batch:
                self.flush()
            return
        done = self.report.images + len(self.report.failed)
        share = lambda part: bar.update(task, completed=done + 0.999 * part)  # noqa: E731
        try:
            with self.outputs(name, source) as outputs:
                for block in self.predictor.predict(source, plan, share):
                    outputs.add(block)
        except Exception as error:
            # a GeoTIFF is read while it is predicted; anything else is an error of the program
            if not isinstance(source, GeoImage) or not isinstance(error, SetupError | OSError):
                raise
            self.fail(Path(source.path), error)
            return
        finally:
            if isinstance(source, GeoImage):
                source.close()
        self.finish(source, outputs, plan)

    def flush(self) -> None:
        """Predict the waiting images."""
        if not self.waiting:
            return
        blocks = self.predictor.predict_small([source for _, source, _ in self.waiting])
        for (name, source, plan), block in zip(self.waiting, blocks, strict=True):
            with self.outputs(name, source) as outputs:
                outputs.add(block)
            self.finish(source, outputs, plan)
        self.waiting = []

    def outputs(self, name: str, source: ImageSource) -> Outputs:
        """The files of an image."""
        keep = self.coco is not None
        return Outputs(self.args.out, name, source, self.kinds, self.code, keep)

    def finish(self, source: ImageSource, outputs: Outputs, plan: Plan) -> None:
        """Put a predicted image into the tables."""
        shown = self.shown(source.path)
        self.report.add(shown, outputs, plan, getattr(source, 'square_metres', None))
        self.report.georeferenced += isinstance(source, GeoImage)
        if self.coco is not None:
            self.coco.add(shown, outputs.labels)
