"""The part of ``mmseg-semi predict`` for videos."""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import TextColumn

from mmseg_semi.cli.predict.report import Report
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.progress import progress_bar
from mmseg_semi.runtime.pictures import overlay_labels
from mmseg_semi.runtime.prediction.outputs import MaskCode, Outputs
from mmseg_semi.runtime.prediction.predictor import Predictor
from mmseg_semi.runtime.prediction.sources import ArrayImage
from mmseg_semi.runtime.prediction.video import Video, VideoFile


class VideoRun:
    """Predicts the frames of a video.

    Overlays become one video; masks and confidence are a file a frame, in a folder of the video's name.

    Args:
        args: The command's options.
        predictor: The model.
        kinds: What is written.
        code: How masks are written.
    """

    def __init__(
        self, args: argparse.Namespace, predictor: Predictor, kinds: list[str], code: MaskCode
    ) -> None:
        self.args, self.predictor, self.kinds, self.code = args, predictor, kinds, code
        self.path = Path(args.input)
        self.video = Video(self.path)
        self.report = Report(predictor.model.classes)
        self.writer: VideoFile | None = None

    def run(self) -> None:
        """Predict all frames that can be read; what was predicted is kept in any case."""
        try:
            with progress_bar(TextColumn('{task.completed:.0f} of {task.total:.0f} frames')) as bar:
                task = bar.add_task('predicting', total=self.video.announced or 1)
                for index, frame in self.video:
                    self.predict(index, frame)
                    bar.update(task, completed=index + 1)
        finally:
            if self.writer is not None:
                self.writer.close()
            if self.report.images and 'areas' in self.kinds:
                self.report.areas.write(self.args.out / 'areas.csv')

    def predict(self, index: int, frame: np.ndarray) -> None:
        """Predict a frame, (H, W, 3) uint8 BGR."""
        shape = frame.shape[:2]
        name = f'{self.path.stem}/{index:06d}'
        record = dict(img_path=f'{self.path}#{index}', img=frame, img_shape=shape, ori_shape=shape)
        source = ArrayImage(record)
        plan = self.predictor.plan(source.size)
        files = [kind for kind in self.kinds if kind != 'overlays']
        with Outputs(self.args.out, name, source, files, self.code, keep=True) as outputs:
            for block in self.predictor.predict(source, plan):
                outputs.add(block)
        self.report.add(name, outputs, plan, None)
        if 'overlays' in self.kinds:
            if self.writer is None:
                path = self.args.out / 'overlays' / f'{self.path.stem}.mp4'
                self.writer = VideoFile(path, self.video.rate, shape)
            picture = overlay_labels(frame[..., ::-1], outputs.labels, self.code.palette)
            self.writer.add(picture)


def predict_video(
    args: argparse.Namespace, predictor: Predictor, kinds: list[str], code: MaskCode
) -> int:
    """Predict a video and print the summary.

    Returns:
        The exit status: 1 if the video ended early or has damaged frames.

    Raises:
        SetupError: If it cannot be opened, or no frame of it can be read.
    """
    run = VideoRun(args, predictor, kinds, code)
    run.run()
    if not run.report.images:
        raise SetupError(
            f"video '{args.input}' has no frame that OpenCV can read; convert it, for example to .mp4"
        )
    complaint = run.video.complaint()
    print('\n'.join(run.report.lines('frames')))
    if complaint:
        print(f"video '{args.input}': {complaint}; what was read is written")
    print(f'written to {args.out}: {", ".join(kinds)}')
    return 1 if complaint else 0
