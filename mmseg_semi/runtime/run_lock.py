"""One run at a time in a work folder.

Two runs in one folder would remove each other's checkpoints, and each would resume from the other's. So a command that
writes a run's state holds its folder (:func:`hold`), and a second one ends before it has written anything.
"""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dist import broadcast_object_list, is_main_process

from mmseg_semi.errors import SetupError
from mmseg_semi.files import unwritable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = '.run.lock'
"""The file that a run locks in its folder; it says whose run that is. A run that has ended leaves none."""

NOTE = '.run.pid'
"""The file instead of :data:`LOCK` where the file system has no locks."""

_held: set[int] = set()


def _leave_to_the_parent() -> None:
    """In a forked child: close what the parent has locked. The lock then ends with the parent, however that ends."""
    while _held:
        os.close(_held.pop())


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


class Owner(NamedTuple):
    """The process whose run a folder holds."""

    host: str
    pid: int
    since: str
    started: int | None = None
    """When the process started, in ticks since the machine did; tells it from a later one of the same number."""

    @classmethod
    def this_process(cls) -> 'Owner':
        now = datetime.now().astimezone().isoformat(' ', 'seconds')
        return cls(socket.gethostname(), os.getpid(), now, _start_of(os.getpid()))

    def has_ended(self) -> bool:
        """Whether it is certain that the process does not run; never for another machine."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # another user's
            return False
        return None not in (self.started, now := _start_of(self.pid)) and self.started != now

    def __str__(self) -> str:
        return f'process {self.pid} on {self.host}, since {self.since}'


@contextlib.contextmanager
def hold(folder: str | Path) -> Iterator[None]:
    """Hold a work folder for the run of this process, or for that of all ranks; the main one takes it.

    It is an advisory lock of the operating system (``flock``), which ends with the process, also when that is killed. Where a
    file system has none, a file names the process. Of a run that was killed there, this file is left. On the same machine it
    is taken over; elsewhere the error says to remove it.

    Args:
        folder: Created if it does not exist.

    Raises:
        SetupError: On all ranks: another run holds the folder, or it is not writable.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with hold(folder):
        ...     os.listdir(folder)
        ['.run.lock']
        >>> os.listdir(folder)
        []
    """
    lock: FolderLock | None = None
    said: list[str | None] = [None]
    if is_main_process():
        try:
            lock = FolderLock(folder)
        except SetupError as error:
            said = [str(error)]
    broadcast_object_list(said)
    if said[0] is not None:
        raise SetupError(said[0])
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


class FolderLock:
    """What :func:`hold` takes, of one process.

    Args:
        folder: Created if it does not exist.

    Raises:
        SetupError: Another run holds the folder, or it is not writable.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder = Path(folder)
        self.path = folder / LOCK
        self._file: int | None = None
        self._process = os.getpid()
        absolute = Path(os.path.abspath(folder))
        self._made = [path for path in (absolute, *absolute.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock()
        except OSError as error:
            # an existing file is another user's
            raise unwritable(self.path if self.path.is_file() else folder, error) from error

    def release(self) -> None:
        """Give the folder back, and remove it if nothing came into it; in a forked child nothing happens."""
        if self._process != os.getpid():
            return
        self._remove()
        for path in self._made:
            with contextlib.suppress(OSError):  # something came into it
                path.rmdir()
        if self._file is not None:
            _held.discard(self._file)
            os.close(self._file)

    # -- by a lock -----------------------------------------------------------------------------

    def _lock(self) -> None:
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, 'O_CLOEXEC', 0), 0o666)
            try:
                if fcntl is None:
                    raise OSError(errno.ENOSYS, 'this operating system has no flock')
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _read(file, attempts=10)
                os.close(file)
                raise SetupError(self._in_use(owner)) from None
            except OSError as error:
                if os.fstat(file).st_size == 0:
                    self._remove()
                os.close(file)
                self._note(error)
                return
            if self._is_there(file):
                break
            os.close(file)  # the run before has just ended and removed it
        self._file = file
        _held.add(file)
        before = _read(file)
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, _text(Owner.this_process()), 0)
        except OSError:
            self.release()
            raise
        if before is not None and before.host != socket.gethostname():
            print(
                f'{self.folder}: the run of {before}, did not end by itself; if it still runs there, stop one of the two',
                flush=True,
            )

    def _is_there(self, file: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        return False

    # -- by a note -----------------------------------------------------------------------------

    def _note(self, why: OSError) -> None:
        self.path = self.folder / NOTE
        try:
            file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            with open(self.path, 'rb') as other:
                owner = _read(other.fileno())
            if owner is None or not owner.has_ended():
                raise SetupError(
                    f'{self._in_use(owner)}; if no such process runs any more, remove {self.path}'
                ) from None
            self._remove()
            file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            os.write(file, _text(Owner.this_process()))
        finally:
            os.close(file)
        print(
            f'{self.folder} lies where files cannot be locked ({why.strerror}): {self.path.name} says that this run is there. '
            'Remove this file if the run is killed and is to go on from another machine',
            flush=True,
        )

    def _in_use(self, owner: Owner | None) -> str:
        pid = f'kill {owner.pid}' if owner else 'Ctrl-C'
        return (
            f"the work folder '{self.folder}' holds a run that is going on: {owner or 'a process that gave no name'}; give this "
            f'run another --work-dir, or stop that one ({pid} there) and go on with it by --resume'
        )

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()


def _text(owner: Owner) -> bytes:
    return json.dumps(owner._asdict()).encode()


def _read(file: int, attempts: int = 1) -> Owner | None:
    """The owner that an open file names, if it does; one that has just locked it is about to write."""
    for attempt in range(attempts):
        time.sleep(0.1 * bool(attempt))
        with contextlib.suppress(OSError, ValueError, TypeError):
            content: dict[str, Any] = json.loads(os.pread(file, 4096, 0))
            return Owner(**content)
    return None


def _start_of(pid: int) -> int | None:
    """See :attr:`Owner.started`; None where the system does not tell."""
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
        return int(text.rpartition(')')[2].split()[19])  # behind the name, which may hold anything
    except (OSError, ValueError, IndexError):
        return None
