"""Ctrl-C before a command has begun: importing the stack takes seconds, and there is nothing to save and nothing to say."""

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

_STATUS = 128 + signal.SIGINT
_PACKAGE = Path(__file__).resolve().parents[1]
_TOOLS = (_PACKAGE.parent / 'tools', _PACKAGE / '.mim' / 'tools')


def quiet_imports_of_commands() -> None:
    """While a command of this package imports the stack, let Ctrl-C end the process with the status 130 and no traceback.

    A program that imports the package keeps its own handler, and so does one that has set another, and a command's workers.
    """
    ours = is_command(sys.argv[:1], sys.orig_argv) and multiprocessing.parent_process() is None
    if not ours or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def leave_to_the_command() -> None:
    """Give Ctrl-C back its meaning; called when a command begins."""
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is _end
    ):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_command(name: list[str], words: list[str]) -> bool:
    """Whether a process was started as a command of this package.

    Args:
        name: ``sys.argv[:1]``; '-m' while Python looks for a module that is to be run.
        words: ``sys.orig_argv``.

    Example:
        >>> is_command(['/usr/bin/mmseg-semi'], []), is_command(['-m'], ['python', '-m', 'mmseg_semi', 'train'])
        (True, True)
        >>> is_command([str(_TOOLS[0] / 'train.py')], []), is_command(['mine.py'], ['python', 'mine.py'])
        (True, False)
    """
    if name == ['-m']:
        module = words[words.index('-m') + 1 :][:1] if '-m' in words else []
        return bool(module) and module[0].partition('.')[0] == 'mmseg_semi'
    path = Path(*name).resolve()
    return path.stem == 'mmseg-semi' or any(folder in path.parents for folder in _TOOLS)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(_STATUS)
