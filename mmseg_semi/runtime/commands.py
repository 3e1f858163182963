"""How a command ends: a mistake of the user is one line, and process groups are closed."""

import contextlib
import functools
import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from mmseg_semi.errors import SetupError
from mmseg_semi.files import is_unwritable, unwritable
from mmseg_semi.runtime import interrupts
from mmseg_semi.runtime.config_errors import describe_build_error
from mmseg_semi.runtime.devices import end_workers
from mmseg_semi.runtime.peers import PeerLost
from mmseg_semi.runtime.stopping import Interrupted, Stopped


def tool(main: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command's ``main``: a mistake of the user ends it with one line and exit status 2.

    Such mistakes are :class:`SetupError`, a loss that is not finite, a missing file, a full disk, a data loader's worker that
    was killed, and what cannot be built from a config (:func:`.describe_build_error`): a type that is not registered, an
    argument that a type does not have, a value that it refuses. Any other exception passes. A run that a signal has ended is
    told in one line, with the signal's exit status; Ctrl-C in other commands ends them with 130 and no word. A rank that ends
    because of another one has the status 1. The workers
    of data loaders end with the command. ``MMSEG_SEMI_TRACEBACK=1`` shows the traceback of these, too.
    """

    @functools.wraps(main)
    def run(*args, **kwargs):
        try:
            interrupts.leave_to_the_command()
            return main(*args, **kwargs)
        except (Stopped, Interrupted) as ended:
            print(f'{ended}; the same command goes on from here', file=sys.stderr)
            sys.exit(ended.status)
        except KeyboardInterrupt:  # outside of a training, where there is nothing to save
            if os.environ.get('MMSEG_SEMI_TRACEBACK') == '1':
                raise
            sys.exit(130)
        except Exception as error:
            sentence = describe_error(error)
            if sentence is None or os.environ.get('MMSEG_SEMI_TRACEBACK') == '1':
                raise
            rank = os.environ.get('RANK', '0')
            line = f'error: {sentence}' if rank == '0' else f'error (rank {rank}): {sentence}'
            print(line, file=sys.stderr)
            _tell_torchrun(line)
            sys.exit(1 if isinstance(error, PeerLost) else 2)
        finally:
            end_workers()
            if dist.is_available() and dist.is_initialized():
                # Runner, hooks and DistributedDataParallel refer to each other and hold the group.
                # If it outlived this, one of its threads could free a tensor while Python shuts
                # down and abort the process; torchrun then ends the ranks that are still saving.
                gc.collect()
                dist.destroy_process_group()

    return run


def _tell_torchrun(line: str) -> None:
    """Let torchrun repeat the line at the end of its own report, under which the first one is buried.

    It reads the file that it names to each rank, in the form that its ``ErrorHandler`` writes. Where the file cannot be
    written, the line stands above all the same.
    """
    path = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if path:
        extra = dict(py_callstack=line, timestamp=str(int(time.time())))
        with contextlib.suppress(OSError), open(path, 'w') as file:
            json.dump(dict(message=dict(message=line, extraInfo=extra)), file)


def describe_error(error: Exception) -> str | None:
    """The sentence to print for a mistake of the user; None for any other error."""
    text = str(error)
    if isinstance(error, PeerLost):
        return text
    if isinstance(error, SetupError) or type(error).__name__ == 'NonFiniteLossError':
        # A data loader's worker sends its traceback along as the message.
        return text.strip().rpartition(f'{type(error).__name__}: ')[2]
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"'{error.filename}' does not exist; fix the config key or the option that names it"
    if isinstance(error, OSError) and is_unwritable(error):
        return str(unwritable(error.filename, error))
    if isinstance(error, PermissionError) and error.filename:
        return f"'{error.filename}' cannot be opened: {error.strerror}; fix its rights, or the key or option that names it"
    sentence = describe_build_error(error)
    if sentence is not None:
        return sentence
    if isinstance(error, KeyError) and 'is not in the' in text and 'registry' in text:
        name = re.match(r'\W*([\w.]+) is not in the ([\w:. ]+?) registry', text)
        if name:
            return (
                f"config: type='{name[1]}' is not registered ({name[2]}); fix the name, or import "
                'what defines it with custom_imports=dict(imports=[...])'
            )
    worker = re.match(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.+)', text)
    if isinstance(error, RuntimeError) and worker:
        how = worker[2].partition('. ')[0].rstrip('. ')
        return (
            f'a worker of a data loader (process {worker[1]}) {how}; where the machine ran out of memory, lower '
            'train_dataloader.num_workers, and go on with --resume'
        )
    unknown = re.match(
        r'(\w+)\.__init__\(\) (got an unexpected keyword argument .*|missing .*)', text
    )
    if isinstance(error, TypeError) and unknown:
        return f"config: type='{unknown[1]}' {unknown[2]}; fix the keys of that dict"
    return None
