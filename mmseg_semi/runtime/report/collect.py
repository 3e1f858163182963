"""What a run's folder holds about the run, read from its files."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_semi.errors import SetupError

DATA = 'report_data.json'
"""File in which ``ReportHook`` keeps numbers and pictures of the validations."""
PAGE = 'report.html'
FORMAT = 1
"""Number of the form of :data:`DATA`."""

Points = list[tuple[int, float]]
"""Values by iteration."""


@dataclass
class Run:
    """A run, as far as its folder tells.

    Args:
        folder: Its work folder.
        scalars: Logged values of the training by name.
        history: One dict a validation: 'iter' and the metrics.
        protocol: Names, counts and hashes of its lists; None if unknown.
        data: Content of :data:`DATA`; empty for a run without ``ReportHook``.
        config: Text of its config; empty if there is none.
        check: Report of ``check-dataset``, from the folder ``check``; None without.
        pseudo_pictures: Files of ``PseudoLabelHook`` by iteration.
    """

    folder: Path
    scalars: dict[str, Points] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    protocol: dict | None = None
    data: dict[str, Any] = field(default_factory=dict)
    config: str = ''
    check: dict | None = None
    pseudo_pictures: dict[int, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How pages call it: the last two parts of its folder."""
        return '/'.join(self.folder.resolve().parts[-2:])

    @property
    def networks(self) -> list[str]:
        """Networks with a validation mIoU, the one that predicts first; '' is the network of a plain segmentor."""
        names = dict.fromkeys(
            key.rpartition('/')[0]
            for entry in self.history
            for key in entry
            if key.rpartition('/')[2] == 'mIoU'
        )
        # of several domains their mean comes first
        return sorted(names, key=lambda name: (name != self.predicting, name != 'mean'))

    @property
    def predicting(self) -> str | None:
        """Name of the network that predicts; of a run without ``ReportHook`` it is the teacher if there is one."""
        if 'predicting' in self.data:
            return self.data['predicting'] or ''
        keys = {key for entry in self.history for key in entry}
        return 'teacher' if 'teacher/mIoU' in keys else 'student' if 'student/mIoU' in keys else ''

    @property
    def is_supervised(self) -> bool:
        """Whether the run has no teacher, no peer, and no objective beside the supervised one."""
        objectives = {name.partition('.')[0] for name in self.scalars if '.' in name}
        supervised = all(re.fullmatch(r'sup|decode|aux.*', name) for name in objectives)
        return supervised and set(self.networks) <= {'', 'student'}

    @property
    def last(self) -> dict:
        """The last validation; empty without any."""
        return self.history[-1] if self.history else {}

    @property
    def last_iter(self) -> int:
        """The last iteration that anything is known of."""
        ends = [points[-1][0] for points in self.scalars.values()]
        return max([*ends, self.last.get('iter', 0)], default=0)

    def metric(self, network: str, name: str = 'mIoU') -> Points:
        """A validation metric of a network over time."""
        key = f'{network}/{name}' if network else name
        return [(int(entry['iter']), float(entry[key])) for entry in self.history if key in entry]

    def matching(self, ending: str) -> dict[str, Points]:
        """Logged values whose name is ``ending`` or ends with a point and ``ending``."""
        return {
            name: points
            for name, points in self.scalars.items()
            if name.rpartition('.')[2] == ending
        }


def read_run(folder: str | Path) -> Run:
    """Read a run's folder; no checkpoint is opened, and no config is run.

    Raises:
        SetupError: If it holds no run, or a file of it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SetupError(f"'{folder}' is no folder; name the work folder of a training")
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    results = read_json(folder / 'results.json') or {}
    if not logs and not results:
        raise SetupError(
            f"'{folder}' holds no training: neither results.json nor TIME/vis_data/scalars.json; name "
            "the work folder of a run, which is its config's work_dir"
        )
    scalars, history = read_scalars(logs)
    return Run(
        folder,
        scalars,
        results.get('history') or history,
        results.get('protocol'),
        read_data(folder / DATA),
        _config(folder),
        read_json(folder / 'check' / 'report.json'),
        {
            int(path.stem.partition('_')[2]): path
            for path in folder.glob('pseudo_labels/iter_*.png')
            if path.stem.partition('_')[2].isdigit()
        },
    )


def read_data(path: Path) -> dict:
    """Content of a :data:`DATA` file, empty without the file.

    Raises:
        SetupError: If another version wrote it, or it is no JSON object.
    """
    data = read_json(path) or {}
    if data and data.get('format') != FORMAT:
        raise SetupError(
            f'{path} has format={data.get("format")!r}, expected {FORMAT}: another version of mmseg_semi wrote it; remove it '
            'to get a report without classes and pictures'
        )
    return data


def read_json(path: Path) -> dict | None:
    """An object of a JSON file, None without the file.

    Raises:
        SetupError: If it is no JSON object.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise SetupError(f'{path} is no JSON ({error}); remove it or restore it') from error
    if not isinstance(content, dict):
        raise SetupError(
            f'{path} holds a {type(content).__name__}, expected a JSON object; remove it or restore it'
        )
    return content


def read_scalars(paths: list[Path]) -> tuple[dict[str, Points], list[dict]]:
    """Values of the training and validations from the logs of a run and of its resumptions.

    What a resumed run did again replaces the values that the run before had logged.

    Args:
        paths: Files ``scalars.json``, in the order of their starts.

    Raises:
        SetupError: If a line is no JSON object. A last line that was cut off by a crash is left out.
    """
    training: list[dict] = []
    history: list[dict] = []
    for path in paths:
        entries = _lines(path)
        steps = [entry for entry in entries if 'iter' in entry]
        scores = [entry for entry in entries if 'iter' not in entry and 'step' in entry]
        if scores:
            history = [old for old in history if old['step'] < scores[0]['step']]
        for entry in steps:  # starts within one second share a file
            while training and training[-1]['iter'] >= entry['iter']:
                training.pop()
            training.append(entry)
        history += scores
    scalars: dict[str, Points] = {}
    for entry in training:
        for key, value in entry.items():
            if key not in ('iter', 'step', 'epoch') and isinstance(value, int | float):
                scalars.setdefault(key, []).append((int(entry['iter']), float(value)))
    validations = [
        {'iter': int(entry['step'])} | {k: v for k, v in entry.items() if k != 'step'}
        for entry in history
    ]
    return scalars, validations


def _lines(path: Path) -> list[dict]:
    lines = path.read_text(encoding='utf-8').splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # the run was killed while it wrote
                break
            raise SetupError(
                f'{path}, line {number} is no JSON ({error}); remove the line'
            ) from error
        if not isinstance(entry, dict):
            raise SetupError(f'{path}, line {number} is no JSON object; remove the line')
        entries.append(entry)
    return entries


def _config(folder: Path) -> str:
    """The newest config of a run: the one that its log has, else the one in its folder."""
    found = sorted(folder.glob('*/vis_data/config.py')) or sorted(folder.glob('*.py'))
    return found[-1].read_text(encoding='utf-8', errors='replace') if found else ''
