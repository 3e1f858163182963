"""Frames of a video, read by OpenCV; and a video of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmseg_semi.errors import SetupError
from mmseg_semi.files import commit

_FEWER = 0.01  # headers of some containers estimate the number of frames


class Video:
    """Reads a video frame by frame.

    Args:
        path: The file.

    Attributes:
        rate: Frames a second.
        announced: Number of frames by the header, 0 if it does not say.
        damaged: Indices of frames that could not be decoded.
        count: Number of frames that were read so far.

    Raises:
        SetupError: If OpenCV cannot open it, or it has no frame.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._capture = cv2.VideoCapture(self.path)
        if not self._capture.isOpened():
            raise SetupError(
                f"video '{path}' cannot be opened by OpenCV; convert it, for example to .mp4 with H.264, or give its frames "
                'as a folder of images'
            )
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        self.announced = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.damaged: list[int] = []
        self.count = 0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Index and pixels, (H, W, 3) uint8 BGR, of each frame that can be decoded."""
        index = 0
        while self._capture.grab():
            whole, frame = self._capture.retrieve()
            if whole and frame is not None and frame.size:
                self.count += 1
                yield index, frame
            else:
                self.damaged.append(index)
            index += 1
        self._capture.release()

    def complaint(self) -> str | None:
        """After the last frame: what was wrong with the video, or None."""
        found = []
        read = self.count + len(self.damaged)
        if read < self.announced - max(1, _FEWER * self.announced):
            found.append(
                f'it ends after {read} of the {self.announced} frames that its header announces'
            )
        if self.damaged:
            shown = ', '.join(map(str, self.damaged[:5])) + ', ...' * (len(self.damaged) > 5)
            found.append(f'{len(self.damaged)} damaged frames were left out ({shown})')
        return '; '.join(found) or None


class VideoFile:
    """Writes frames of one size as an .mp4 file, which gets its name when it is closed.

    Args:
        path: The file to write to. Its name must end in .mp4.
        rate: Frames a second.
        size: (height, width).

    Raises:
        SetupError: If this OpenCV cannot write videos.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        self._path, self._draft = path, path.with_name(f'.{path.stem}.draft.mp4')
        path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter_fourcc(*'mp4v')
        self._writer = cv2.VideoWriter(str(self._draft), code, rate, (size[1], size[0]))
        if not self._writer.isOpened():
            raise SetupError(
                'this OpenCV cannot write .mp4 videos; leave overlays out with --what masks, or install opencv-python from PyPI'
            )

    def add(self, picture: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 red, green, blue."""
        self._writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()
        commit(self._draft, self._path, sync=False)
