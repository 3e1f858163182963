"""What follows ``init`` on the first screen of the README: check, train and predict in a project folder."""

from pathlib import Path

from shortened import shortened

from mmseg_semi import cli
from mmseg_semi.runtime import devices


def to_overlays(project: Path, photos: Path) -> list[Path]:
    """The overlays of ``photos`` by a model that was trained for a moment in a project that ``init`` has made."""
    with shortened(project) as patch:
        patch.chdir(project)
        for command in ('check', 'train', f'predict . {photos} --out predictions'):
            try:
                assert not cli.main(command.split()), command
            except SystemExit as end:
                assert not end.code, command
            finally:
                devices.end_workers()
    return sorted((project / 'predictions/overlays').rglob('*.*'))
