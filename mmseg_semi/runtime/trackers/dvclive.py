"""DVCLive: one folder, without what was logged behind the checkpoint."""

import csv
import io
import os
from pathlib import Path
from typing import Any

from mmengine.visualization import DVCLiveVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_semi.files import write_whole
from mmseg_semi.runtime.trackers.continued import ContinuedRun


@VISBACKENDS.register_module()
class ContinuedDVCLiveVisBackend(ContinuedRun, DVCLiveVisBackend):
    """MMEngine's ``DVCLiveVisBackend`` in the folder of the run that is resumed.

    MMEngine calls ``dvc init -f --no-scm`` where git has no name and e-mail of a user, which empties the ``.dvc`` of a project
    that has one, with cache and settings. Here nothing is initialised; without a user, DVCLive saves no DVC experiment, for
    which it would end in an error after the training.

    Args:
        save_dir, args, kwargs: See MMEngine's backend.
    """

    tracker = 'dvclive'

    def prepare(self, known: dict[str, Any]) -> None:
        self.keep_folder(known)
        arguments = self._init_kwargs = dict(self._init_kwargs or {})
        if known:
            arguments.setdefault('resume', True)

    def _init_env(self) -> None:
        from dvclive import Live

        if not _git_knows_user():
            self._init_kwargs.setdefault('save_dvc_exp', False)
        for name, value in dict(dir=self._save_dir, save_dvc_exp=True, cache_images=True).items():
            self._init_kwargs.setdefault(name, value)
        self._dvclive = Live(**self._init_kwargs)

    def resumed_at(self, iteration: int) -> None:
        for path in Path(self._dvclive.plots_dir, 'metrics').rglob('*.tsv'):
            drop_later_rows(path, iteration)

    def identity(self) -> dict[str, Any]:
        return {'folder': self.noted_folder()}


def _git_knows_user() -> bool:
    """Whether the current folder is in a git repository in which commits have an author."""
    import pygit2

    path = pygit2.discover_repository(os.curdir)
    if path is None:
        return False
    try:
        return pygit2.Repository(path).default_signature is not None
    except KeyError:
        return False


def drop_later_rows(path: Path, iteration: int) -> None:
    """Remove the rows of a table of DVCLive's whose step is behind an iteration.

    Args:
        path: A file of tab-separated values whose first line names the columns, one of them ``step``.
        iteration: The last step to keep.
    """
    with path.open(encoding='utf-8', newline='') as file:
        reader = csv.DictReader(file, delimiter='\t')
        rows = list(reader) if 'step' in (reader.fieldnames or ()) else []
    # a row that a kill has cut short has no step or no value
    kept = [row for row in rows if None not in row.values() and int(row['step']) <= iteration]
    if len(kept) < len(rows):
        text = io.StringIO(newline='')
        writer = csv.DictWriter(text, reader.fieldnames, delimiter='\t', lineterminator='\n')
        writer.writeheader()
        writer.writerows(kept)
        write_whole(path, text.getvalue())
