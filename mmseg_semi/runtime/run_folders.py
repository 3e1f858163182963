"""What MMEngine writes of a run beside its checkpoints: the folder of one start, and its log.

:mod:`mmseg_semi.runtime.stack` puts these functions into place.
"""

import logging
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path

_FORMAT = '%Y%m%d_%H%M%S'


def later_stamp(work_dir: str | Path, stamp: str) -> str:
    """The name of the folder in which a start of a run keeps its log, behind those of all earlier starts.

    MMEngine names it by the time in seconds. A second start in the same second would write into the files of the first, and
    one after the clock was set back would stand before it: readers of a run that was resumed take the order of the names.

    Args:
        work_dir: Folder of the run.
        stamp: The time now.

    Returns:
        This time, or one second more than the latest name that is there.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / '20261128_235959').mkdir()
        >>> later_stamp(folder, '20261128_235959'), later_stamp(folder, '20261129_080000')
        ('20261129_000000', '20261129_080000')
    """
    folder = Path(work_dir)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    last = max((name for name in names if re.fullmatch(r'\d{8}_\d{6}', name)), default='')
    if stamp > last:
        return stamp
    try:
        return (datetime.strptime(last, _FORMAT) + timedelta(seconds=1)).strftime(_FORMAT)
    except (ValueError, OverflowError):  # somebody's folder, whose name is no time
        return stamp


def say_once(handler: logging.Handler) -> logging.Handler:
    """Let a log handler tell once that its file cannot be written, where ``logging`` prints a traceback for each line."""
    plain, told = handler.handleError, []

    def handle_error(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            plain(record)
        elif not told:
            told.append(error)
            name = getattr(handler, 'baseFilename', 'the log')
            print(
                f'warning: {name} cannot be written: {error.strerror}; lines of the log are lost',
                file=sys.stderr,
            )

    handler.handleError = handle_error
    return handler
