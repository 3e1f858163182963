"""Import published lists of labelled and unlabelled images, and check them by their hashes."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mmseg_semi.data.splits import hash_names, load_protocols
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.split_lists import (
    Split,
    find_problems,
    normalize_name,
    read_list,
    write_lines,
    write_split,
)

_ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
_GITHUB = re.compile(r'(https://github\.com/[^/]+/[^/]+?)(?:\.git)?(?:/tree/([^/]+).*)?/?')
_FOLDERS = re.compile(r'\d+|1_\d+')
_TIMEOUT = 60  # seconds without a response


def import_splits(
    family: str, dataset: str, source: str | Path | None, out: Path, verify: bool = True
) -> dict[int, Split]:
    """Find the lists of a family in a folder or on the web, check them, and write them in one form.

    Nothing is written unless every list equals the published one.

    Args:
        family: 'u2pl', 'cps', 'cct' or 'unimatch'.
        dataset: 'voc', 'cityscapes', 'ade20k' or 'coco'.
        source: Checkout of a repository that ships the lists, a folder with them, an archive, or
            the web address of an archive, of a GitHub repository, or of a folder whose files have
            the names of the repository. None: the repository that published the lists.
        out: Folder of all splits; lists go to ``out/family/dataset/n/{labeled,unlabeled}.txt``.
        verify: Whether lists must equal the published ones. False accepts any.

    Returns:
        dict[int, Split]: The written lists, by number of labelled images.

    Raises:
        SetupError: If there is no such list, a list cannot be read, or a list differs from the
            published one; the message then holds both hashes.
    """
    family_info = _family_info(family, dataset)
    expected = family_info['datasets'][dataset]
    names = _file_names(family, expected['splits'])
    source = source or _published_at(family_info['source'])
    with _lists_in(source, names) as folder:
        splits, val = _find(folder, family, dataset, expected, verify)
    if not splits:
        form = '<n>_train_supervised.txt' if family == 'cct' else '<n>/labeled.txt'
        form = '1_<share>/labeled.txt' if family == 'unimatch' else form
        raise SetupError(
            f'--source {source} holds no {dataset} lists of family {family} (files {form}); name a '
            f'checkout of {family_info["source"]["repository"]}'
        )
    for number, split in splits.items():
        split.problems = find_problems(split.labeled, split.unlabeled, val)
        protocol = expected['splits'].get(str(number), {}).get('protocol') if verify else None
        folder = Path(out) / family / dataset / str(number)
        write_split(
            folder,
            split.labeled,
            split.unlabeled,
            dict(
                protocol=f'{protocol} {number}' if protocol else f'own ({family} form) {number}',
                family=family,
                dataset=dataset,
                verified=verify,
                source=family_info['source'] if verify else str(source),
                problems=split.problems,
            ),
        )
    if val:
        write_lines(Path(out) / family / dataset / 'val.txt', val)
    return splits


def _family_info(family: str, dataset: str) -> dict:
    """Source and expected lists of a family, which must have lists of the data set."""
    families = load_protocols()['families']
    if family not in families or dataset not in families[family]['datasets']:
        known = [f'{name} {d}' for name, info in families.items() for d in info['datasets']]
        raise SetupError(
            f'--family {family} --dataset {dataset} is unknown; expected one of: {", ".join(known)}'
        )
    return families[family]


def _find(
    source: Path, family: str, dataset: str, expected: dict, verify: bool
) -> tuple[dict[int, Split], list[str]]:
    """Lists of a family below a folder, by number of labelled images, and the validation list."""
    candidates = _find_cct(source) if family == 'cct' else _find_pairs(source, dataset)
    splits = {
        number: _choose(
            candidates[number], expected['splits'].get(str(number)) if verify else None, dataset
        )
        for number in sorted(candidates)
        if not verify or str(number) in expected['splits']
    }
    return splits, _find_val(source, dataset, expected['val'] if verify else None)


Candidates = dict[int, list[tuple[Path, Path | None]]]
"""Number of labelled images -> files with labelled and with unlabelled names, or None."""


def _find_pairs(source: Path, dataset: str) -> Candidates:
    """Folders with ``labeled.txt`` and ``unlabeled.txt`` of this data set.

    They are named by the number of labelled images (``732/``) or by their share (``1_16/``).
    """
    found: Candidates = {}
    for path in sorted(source.rglob('labeled.txt')):
        name = path.parent.name
        if _FOLDERS.fullmatch(name) and _is_about(path, dataset):
            other = path.with_name('unlabeled.txt')
            pair = (path, other if other.is_file() else None)
            number = int(name) if name.isdigit() else len(read_list(path, dataset))
            found.setdefault(number, []).append(pair)
    return found


def _find_cct(source: Path) -> Candidates:
    """``<n>_train_supervised.txt``, with the file that holds the unlabelled names."""
    found: Candidates = {}
    everything = next(iter(sorted(source.rglob('train_aug.txt'))), None)
    for path in sorted(source.rglob('*_train_supervised.txt')):
        number = path.name.split('_')[0]
        if number.isdigit():
            rest = path.with_name(f'{number}_train_unsupervised.txt')
            other = everything or (rest if rest.is_file() else None)
            found.setdefault(int(number), []).append((path, other))
    return found


def _is_about(path: Path, dataset: str) -> bool:
    """Whether the first name in a list is a name of this data set."""
    with open(path, encoding='utf-8-sig') as file:
        tokens = next((line.split() for line in file if line.strip()), None)
    try:
        return tokens is not None and bool(normalize_name(tokens[0], dataset))
    except ValueError:
        return False


def _find_val(source: Path, dataset: str, expected: dict | None) -> list[str]:
    """Names of the validation list, empty if the folder has none."""
    lists = [p for p in sorted(source.rglob('val.txt')) if _is_about(p, dataset)]
    if expected is None:
        return read_list(lists[0], dataset) if len(lists) == 1 else []
    for path in lists:
        names = read_list(path, dataset)
        if hash_names(names) == expected['sha256']:
            return names
    return []


def _choose(
    candidates: list[tuple[Path, Path | None]], expected: dict | None, dataset: str
) -> Split:
    """Choose the candidate that equals the published list; an error lists the differences."""
    splits = []
    for labeled_path, unlabeled_path in candidates:
        if unlabeled_path is None:
            raise SetupError(
                f'list {labeled_path} has no unlabelled counterpart in its folder; '
                'expected unlabeled.txt (or train_aug.txt, without the labelled names)'
            )
        labeled = read_list(labeled_path, dataset)
        unlabeled = read_list(unlabeled_path, dataset)
        if unlabeled_path.name == 'train_aug.txt':
            known = set(labeled)
            unlabeled = [name for name in unlabeled if name not in known]
        splits.append(Split(labeled, unlabeled, (labeled_path, unlabeled_path)))
    if expected is None:
        if len(splits) > 1:
            raise SetupError(
                f'{splits[0].origin[0]} and {splits[1].origin[0]} are lists for the same number of '
                'labelled images; without verification, set --source to one of their folders'
            )
        return splits[0]
    differences = []
    for split in splits:
        wrong = [
            _difference(path, found, expected[kind])
            for path, kind, found in zip(
                split.origin,
                ('labeled', 'unlabeled'),
                (split.labeled, split.unlabeled),
                strict=True,
            )
            if not _is_published(path, found, expected[kind])
        ]
        if not wrong:
            return split
        differences.append(wrong[0])
    raise SetupError(
        f'no list is "{expected["protocol"]}": {"; ".join(differences)}; get the list again, '
        'or import your own with --no-verify'
    )


def _is_published(path: Path, names: Sequence[str], expected: dict) -> bool:
    """Whether a list has the published names or, where only that is known, is the published file."""
    if 'sha256' in expected:
        return hash_names(names) == expected['sha256']
    return _git_blob(path) == expected['git_blob']


def _git_blob(path: Path) -> str:
    """The hash by which Git names a file with this content and the line ends of Unix."""
    content = path.read_bytes().replace(b'\r\n', b'\n')
    return hashlib.sha1(b'blob %d\0' % len(content) + content, usedforsecurity=False).hexdigest()


def _difference(path: Path, names: Sequence[str], expected: dict) -> str:
    if 'sha256' in expected:
        return (
            f'{path} has {len(names)} names with SHA-256 {hash_names(names)}, expected '
            f'{expected["count"]} names with {expected["sha256"]}'
        )
    return (
        f"{path} has {len(names)} names and Git's hash {_git_blob(path)}, expected "
        f'{expected["count"]} names and the file {expected["git_blob"]}'
    )


# ----------------------------------------------------------------------------- archives and the web


@contextmanager
def _lists_in(source: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a folder with the lists of a source, which may exist only within the block.

    Args:
        source: Folder, archive or web address.
        names: Names of the files to download if the source is the address of a folder.
    """
    is_url = '://' in str(source)
    if not is_url and Path(source).is_dir():
        yield Path(source)
        return
    if not is_url and not str(source).endswith(_ARCHIVES):
        raise SetupError(
            f'--source {source} is no folder; expected a checkout or folder of lists, an archive '
            f'({", ".join(_ARCHIVES)}) or a web address'
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / 'lists'
        if not is_url:
            _unpack(Path(source), folder, source)
            yield folder
            return
        address, page = str(source), _GITHUB.fullmatch(str(source))
        if page:
            address = f'{page[1]}/archive/{page[2] or "HEAD"}.zip'
        if address.endswith(_ARCHIVES):
            archive = Path(scratch) / address.rpartition('/')[2]
            if not _fetch(address, archive):
                raise SetupError(
                    f'--source {address} does not exist (HTTP 404); fix the address, or download '
                    'by hand and name the file'
                )
            _unpack(archive, folder, address)
        else:
            for name in names:
                _fetch(f'{address.rstrip("/")}/{name}', folder / name)
        yield folder


def _published_at(source: dict) -> str:
    return f'{source["repository"]}/archive/{source["commit"]}.zip'


def _file_names(family: str, expected: dict[str, dict]) -> list[str]:
    """Names of a family's files below the folder that holds its lists."""
    numbers = [pair.get('folder', number) for number, pair in expected.items()]
    if family == 'cct':
        kinds = ('supervised', 'unsupervised')
        pairs = [f'{n}_train_{kind}.txt' for n in numbers for kind in kinds]
        return ['train_aug.txt', 'val.txt', *pairs]
    pairs = [f'{n}/{kind}.txt' for n in numbers for kind in ('labeled', 'unlabeled')]
    return ['val.txt', *pairs]


def _fetch(address: str, path: Path) -> bool:
    """Download a file; False if the server does not have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            urllib.request.urlopen(address, timeout=_TIMEOUT) as response,
            open(path, 'wb') as file,
        ):
            shutil.copyfileobj(response, file)
            expected = response.headers.get('Content-Length')
            if expected is not None and file.tell() != int(expected):
                raise OSError(f'{file.tell()} of {expected} bytes were received')
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise _unreachable(address, error) from error
    except (OSError, ValueError) as error:  # URLError, a broken connection, not an address
        raise _unreachable(address, error) from error
    return True


def _unreachable(address: str, error: Exception) -> SetupError:
    return SetupError(
        f'--source {address} cannot be downloaded ({error}); try again, or download by hand and '
        'name the folder or the archive'
    )


def _unpack(archive: Path, folder: Path, source: str | Path) -> None:
    """Unpack the text files of an archive."""
    folder.mkdir()

    def wanted(name: str) -> bool:
        parts = PurePosixPath(name).parts
        return name.endswith('.txt') and '..' not in parts and not name.startswith('/')

    try:
        if archive.name.endswith('.zip'):
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder, [n for n in file.namelist() if wanted(n)])
        else:
            with tarfile.open(archive) as file:
                members = [m for m in file if m.isfile() and wanted(m.name)]
                file.extractall(folder, members, filter='data')
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        reason = str(error).partition('\n')[0].rstrip(':') or type(error).__name__
        raise SetupError(
            f'--source {source} cannot be unpacked ({reason}); download it again'
        ) from error
