"""Convert a published data set into the folders and masks that the configs read.

A converter, one of :mod:`mmseg_semi.preparing.converters`, names the files that it reads and makes
a :class:`Plan` from those that it finds. :func:`run` does the rest: it downloads archives, opens
folders and archives alike, makes the files in several processes, and does nothing that is done
already.

Two rules hold throughout: a file gets its name when it is complete, and an existing file is not
made again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_semi.errors import SetupError
from mmseg_semi.files import remove_drafts, write_whole
from mmseg_semi.preparing.archives import Archive, has_contents, open_sources, where_to_get
from mmseg_semi.preparing.downloads import download_archive
from mmseg_semi.preparing.jobs import Job, available_cores, run_jobs
from mmseg_semi.preparing.manifest import check_prepared, describe_prepared, write_manifest

_SCRATCH = '.unpacked'


@dataclass(frozen=True)
class Plan:
    """The files that a converter makes.

    Args:
        jobs: One for each file made from a source.
        summary: Contents of the prepared data set, in words.
        texts: Contents of the lists to write, by path below the folder of the data set.
    """

    jobs: list[Job]
    summary: str
    texts: dict[str, str] = field(default_factory=dict)


def add_arguments(
    parser: argparse.ArgumentParser, out: str, archives: Sequence[Archive] = ()
) -> None:
    """Add the arguments that every converter takes.

    Args:
        parser: The converter's parser.
        out: Default folder of the prepared data set.
        archives: Archives of the data set; options for the download are added if one of them has an
            address.
    """
    parser.add_argument(
        'sources',
        nargs='*',
        type=Path,
        help='folders or archives (tar, tgz, zip) that you have; default is the folder --out',
    )
    parser.add_argument(
        '--out', type=Path, default=Path(out), help=f'folder of the result; default {out}'
    )
    if any(archive.urls for archive in archives):
        parser.add_argument(
            '--download',
            action='store_true',
            help='download what the sources lack: '
            + ' and '.join(f'{a.name} ({a.size / 1e9:.1f} GB)' for a in archives if a.urls),
        )
        parser.add_argument(
            '--download-dir',
            type=Path,
            default=Path('data/downloads'),
            help='folder that keeps the archives; default data/downloads',
        )
        parser.add_argument(
            '--mirror', help='address of a folder that holds the archives too; tried first'
        )
    parser.add_argument(
        '--workers',
        type=int,
        default=available_cores(),
        help='number of processes; default one for each core',
    )


def run(
    args: argparse.Namespace,
    wanted: Callable[[str], bool],
    plan: Callable[[dict[str, Path]], Plan],
    archives: Sequence[Archive] = (),
    options: dict | None = None,
) -> None:
    """Run a converter: download if asked to, prepare the data set, and print the result.

    Args:
        args: Parsed arguments of :func:`add_arguments`.
        wanted: As in :func:`prepare`.
        plan: As in :func:`prepare`.
        archives: As in :func:`add_arguments`.
        options: As in :func:`prepare`.

    Raises:
        SetupError: If no source is named and the result does not exist, the disk fails, or as in
            :func:`prepare`.
    """
    stale = check_prepared(args.out, options)
    if stale == []:
        print(f'{args.out}: prepared already: {describe_prepared(args.out)}; nothing to do')
        return
    if stale:
        print(f'{args.out}: {len(stale)} files are missing or changed, e.g. {stale[0]}')
    sources = _find_sources(args, wanted, archives)
    start = time.monotonic()
    try:
        summary = prepare(sources, args.out, wanted, plan, archives, options, args.workers)
    except OSError as error:
        if error.errno is None:
            raise
        raise SetupError(
            f'{error.filename or args.out}: {error.strerror}; fix this and run the command again, '
            'finished files are kept'
        ) from error
    print(f'{args.out}: {summary} ({time.monotonic() - start:.0f} s)')


def _find_sources(
    args: argparse.Namespace, wanted: Callable[[str], bool], archives: Sequence[Archive]
) -> list[Path]:
    """The named sources and downloaded archives, else the folder of the result itself."""
    sources = list(args.sources)
    if getattr(args, 'download', False):
        for archive in archives:
            if archive.urls and not any(
                has_contents(source, archive, wanted) for source in args.sources
            ):
                sources.append(download_archive(archive, args.download_dir, args.mirror))
    if not sources and args.out.is_dir():
        sources = [args.out]
    if not sources:
        offer = ', or download them with --download' if hasattr(args, 'download') else ''
        raise SetupError(
            f'no source is named and {args.out} does not exist; get {where_to_get(archives)}, '
            f'and name the files or their folder{offer}'
        )
    return sources


def prepare(
    sources: Sequence[Path],
    out: Path,
    wanted: Callable[[str], bool],
    plan: Callable[[dict[str, Path]], Plan],
    archives: Sequence[Archive] = (),
    options: dict | None = None,
    workers: int = 1,
) -> str:
    """Make a data set from folders and archives.

    Existing files are kept, so a second run continues one that was interrupted. Files of a prepared
    data set that changed since are made again.

    Args:
        sources: Folders or archives. A folder may hold the published archives themselves.
        out: Folder of the prepared data set.
        wanted: Whether the converter reads a file, by its path in the source with '/'.
        plan: Makes the plan from the wanted files: path on disk by path in the source.
        archives: Archives in which the data set is published.
        options: Other settings that the result depends on, as plain values.
        workers: Number of processes; 1 works in this process.

    Returns:
        str: The plan's summary.

    Raises:
        SetupError: If a source is missing or damaged, or the plan finds a mistake.
    """
    out = Path(out)
    stale = set(check_prepared(out, options) or ())
    with open_sources(sources, out / _SCRATCH, wanted, archives) as files:
        todo = plan(files)
        for folder in {job.target.parent for job in todo.jobs}:
            remove_drafts(folder)
        run_jobs([job for job in todo.jobs if _is_due(job, out, stale)], workers, f'making {out}')
    for name, text in todo.texts.items():
        write_whole(out / name, text, sync=False)
    names = [job.target.relative_to(out).as_posix() for job in todo.jobs] + list(todo.texts)
    write_manifest(out, names, todo.summary, sources, options)
    return todo.summary


def _is_due(job: Job, out: Path, stale: set[str]) -> bool:
    """Whether a file must be made; in a folder converted in place, it may be its own source."""
    if not job.target.exists():
        return True
    if job.target.relative_to(out).as_posix() not in stale:
        return False
    return not job.target.samefile(job.source)
