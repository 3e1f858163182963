"""The ledger of constants: what papers and released code say, from ``constants/*.yaml``, beside what the configs say.

A file holds one method::

    title: DDFP
    paper: what of the paper was at hand
    code: github.com/OWNER/NAME at COMMIT
    readme: folder in mmseg_semi/methods, or a page of docs
    sources: {config: experiments/config.yaml, ...}      # numbered on the page, in this order
    tables:
      - title: PASCAL VOC
        profiles: {plain: ddfp/voc_732.py, reference: ddfp/reference/voc_732.py}
        rows:
          - {constant: Crop, key: crop_size, code: [513, 513], source: config, ours: [513, 513]}

A row has ``constant``, its name; ``key``, where configs have it (:func:`.values.find_value`; a mapping gives each profile its
own); what configs are expected to say, ``ours`` for all profiles or one entry each; ``code`` and ``source``, ``paper`` and
``paper_source``, if they are known; and ``why``, which a difference needs. ``words`` replaces values as they are shown, ``join``
stands between a list's entries, ``absent`` for a value that is not there. A row without ``key`` is about what no config holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from mmseg_semi.cli.reproduction.values import find_value, show
from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import CONFIGS

FOLDER = Path(__file__).with_name('constants')
METHODS = ('ddfp', 'dgcl', 'cct', 'mllc', 'unimatch', 'unimatch_v2', 'cps', 'u2pl', 'augseg')
"""Files of :data:`FOLDER`, in the order of the page."""

FIELDS = {'constant', 'key', 'ours', 'code', 'source', 'paper', 'paper_source', 'why'}
FIELDS |= {'words', 'join', 'absent'}


@dataclass(frozen=True)
class Row:
    """One constant, as texts; None where a source says nothing, or where a profile has no such constant."""

    constant: str
    paper: str | None
    paper_marks: tuple[int, ...]
    code: str | None
    code_marks: tuple[int, ...]
    ours: dict[str, str | None]
    why: str


@dataclass(frozen=True)
class Table:
    """The constants of one data set."""

    title: str
    profiles: dict[str, str]
    rows: list[Row]


@dataclass(frozen=True)
class Ledger:
    """All constants of a method.

    ``problems`` are the sentences about rows that do not hold: a config that says something else than the ledger expects, a
    difference without a reason, a source that the file does not list or that no row names.
    """

    title: str
    paper: str
    code: str
    readme: str
    sources: list[str]
    tables: list[Table]
    problems: list[str] = field(default_factory=list)


def read_ledger(method: str, load: Callable[[Path], Config], folder: Path = FOLDER) -> Ledger:
    """Read a method's file and the configs that it names.

    Args:
        method: Name of the file without ``.yaml``.
        load: Reads a config.
        folder: With the files.

    Raises:
        SetupError: A row has an unknown field, or a key that no config has.
    """
    data = yaml.safe_load((folder / f'{method}.yaml').read_text(encoding='utf-8'))
    ledger = Ledger(
        data['title'], data['paper'], data['code'], data['readme'], [*data['sources'].values()], []
    )
    names = list(data['sources'])
    used: set[int] = set()
    for table in data['tables']:
        profiles = table['profiles']
        configs = {profile: load(CONFIGS / path)._cfg_dict for profile, path in profiles.items()}
        rows = []
        for entry in table['rows']:
            place = f'{method}.yaml, {table["title"]}, {entry.get("constant")}'
            row, problems = _read_row(entry, configs, names, place)
            rows.append(row)
            ledger.problems.extend(f'{place}: {problem}' for problem in problems)
            used |= {*row.code_marks, *row.paper_marks}
        ledger.tables.append(Table(table['title'], profiles, rows))
    for number, name in enumerate(names, 1):
        if number not in used:
            ledger.problems.append(f"{method}.yaml: no row names the source '{name}'")
    return ledger


def _read_row(
    entry: Mapping[str, Any], configs: Mapping[str, Mapping], sources: list[str], place: str
) -> tuple[Row, list[str]]:
    """A row, and what is wrong with it."""
    unknown = sorted(entry.keys() - FIELDS - configs.keys())
    if unknown or 'constant' not in entry:
        raise SetupError(
            f"{place}: field '{(unknown or ['constant'])[0]}' is {'unknown' if unknown else 'missing'}; a row has "
            f'{", ".join(sorted(FIELDS))} and the names of the profiles'
        )
    join = entry.get('join', ', ')

    def text(name: str) -> str | None:
        return show(entry[name], join) if name in entry else None

    ours, problems = {}, []
    for profile, cfg in configs.items():
        expected = text(profile) if profile in entry else text('ours')
        ours[profile] = expected
        if expected is None or 'key' not in entry:
            continue
        key = entry['key'] if isinstance(entry['key'], str) else entry['key'][profile]
        try:
            value = find_value(cfg, key)
        except SetupError as error:
            raise SetupError(f'{place}: {error}') from error
        found = show(entry.get('absent') if value is None else value, join)
        ours[profile] = entry.get('words', {}).get(found, found)
        if ours[profile] != expected:
            problems.append(f"{profile} is '{ours[profile]}', the ledger expects '{expected}'")
    paper, code, why = text('paper'), text('code'), entry.get('why', '').strip()
    known = [value for value in (paper, code) if value is not None]
    differs = any(value != other for value in ours.values() if value for other in known)
    if (differs or not known) and not why:
        problems.append(
            'differs from paper or released code without a reason (why)'
            if known
            else 'neither paper nor released code is known, and there is no reason (why)'
        )
    marks = []
    for known_text, source in ((paper, 'paper_source'), (code, 'source')):
        given = entry.get(source, [])
        given = [given] if isinstance(given, str) else given
        if (known_text is None) != (not given):
            problems.append(f"'{source}' must stand with the value that it is the source of")
        problems.extend(f"source '{name}' is not listed" for name in given if name not in sources)
        marks.append(tuple(sources.index(name) + 1 for name in given if name in sources))
    return Row(entry['constant'], paper, marks[0], code, marks[1], ours, why), problems


def read_ledgers(load: Callable[[Path], Config], folder: Path = FOLDER) -> list[Ledger]:
    """All methods, see :func:`read_ledger`."""
    return [read_ledger(method, load, folder) for method in METHODS]
