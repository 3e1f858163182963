"""``trackers.json`` in the work folder: which run each tracker writes to."""

import json
from pathlib import Path
from typing import Any

from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole

FILE = 'trackers.json'


def read(work_dir: str | Path) -> dict[str, dict[str, Any]]:
    """Facts of the runs by tracker, such as ``{'wandb': {'id': '1a2b3c4d'}}``; empty without a file.

    Raises:
        SetupError: The file is no JSON object of objects.
    """
    path = Path(work_dir, FILE)
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SetupError(
            f"'{path}' is no JSON ({error}); restore it, or remove it, and the trackers begin new runs"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise SetupError(
            f"'{path}' is not what TrackersHook writes, an object by tracker; restore it, or remove it, and the trackers "
            'begin new runs'
        )
    return found


def write(work_dir: str | Path, runs: dict[str, dict[str, Any]]) -> None:
    """Replace the file.

    Args:
        work_dir: The work folder.
        runs: Facts by tracker.
    """
    write_whole(Path(work_dir, FILE), json.dumps(runs, indent=1))
