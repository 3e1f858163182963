"""From a config file to a runner: load it, override keys, choose the work folder, resume."""

import difflib
import inspect
import multiprocessing.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import PACKAGE, find_config
from mmseg_semi.runtime import stack, trackers
from mmseg_semi.runtime.band_configs import fill_bands
from mmseg_semi.runtime.checkpoints import is_whole, latest_checkpoint, what_is_wrong
from mmseg_semi.runtime.config_checks import check_config
from mmseg_semi.runtime.config_files import check_bases, failed_import
from mmseg_semi.runtime.config_structure import check_structure

# Top-level keys that Runner or the tools read. --cfg-options may add them to a config.
_RUNNER_KEYS = set(inspect.signature(Runner.__init__).parameters) | {
    'auto_scale_lr',
    'compile',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
}

# MMEngine's own default hooks. Runner itself understands None for these.
_MMENGINE_HOOKS = (
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
    'runtime_info',
)


# -- loading -----------------------------------------------------------------------------------


def find_projects(config: Path | None = None) -> None:
    """Make ``custom_imports = dict(imports=['projects.<name>'])`` work from any working directory.

    Args:
        config: A config file. If it stands below a folder ``projects``, that folder can be imported
            too, also where the package is installed elsewhere.
    """
    folders = [PACKAGE.parent / 'projects']
    if config is not None:
        folders += [folder for folder in config.resolve().parents if folder.name == 'projects'][:1]
    for folder in folders:
        if folder.is_dir() and str(folder.parent) not in sys.path:
            sys.path.append(str(folder.parent))


def find_neighbours(config: Path) -> None:
    """Make ``custom_imports = dict(imports=['my_objective'])`` find ``my_objective.py`` beside the config.

    The folder stays on the path: classes of such a module are unpickled in workers that are started anew, and
    functions of it may import a second module beside it. It is the last entry, so that no file in it hides an
    installed module.

    Args:
        config: A config file.
    """
    folder = str(config.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)


def load_config(
    path: str | Path, options: Mapping[str, Any] | None = None, with_model: bool = True
) -> Config:
    """Read a config and override keys of it.

    Args:
        path: A config file, or the name of one of the package, such as ``mmseg_semi::ddfp/voc_732.py``.
        options: Values by dotted key, as ``--cfg-options`` gives them.
        with_model: Whether the caller will build the model; the check for mmpretrain needs it.

    Returns:
        The config.

    Raises:
        SetupError: If the file is missing or wrong, if an option has no place in the config, if it does
            not fit the bands of its data file, or if the model needs mmpretrain and mmpretrain cannot
            be imported.
    """
    path = find_config(path)
    if path.is_dir():
        raise SetupError(f"config '{path}' is a folder, expected a file; name a config in it")
    if not path.is_file():
        raise SetupError(f"config '{path}' does not exist; {_similar_config(path)}")
    if path.suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise SetupError(
            f"config '{path}' ends in {path.suffix or 'nothing'!r}, expected .py (or .json, .yaml); give a config"
        )
    check_bases(path)
    stack.import_yapf()
    find_projects(path)
    find_neighbours(path)
    try:
        cfg = Config.fromfile(path)
    except SetupError:
        raise
    except Exception as error:
        if 'mmpretrain' in str(error):
            _require_mmpretrain(f"config '{path}'")
        missing = failed_import(str(error))
        if missing:
            raise SetupError(f"config '{path}': {missing}") from error
        text = str(error).strip().partition('\n')[0]
        raise SetupError(
            f"config '{path}' cannot be read: {type(error).__name__}: {text}; fix that line"
        ) from error
    if options:
        _check_options(cfg, options)
        cfg.merge_from_dict(dict(options))
    try:
        check_structure(cfg)
    except ImportError as error:  # a config that imports is resolved when it is looked at
        text = str(error).strip().partition('\n')[0]
        raise SetupError(
            f"config '{path}': {text}; install the module, or correct the import"
        ) from error
    _refuse_one_channel(cfg)
    fill_bands(cfg)
    borrowed = next(
        (name for name in config_types(cfg.get('model')) if name.startswith('mmpretrain.')), None
    )
    if borrowed and with_model:
        _require_mmpretrain(f"config '{path}': type='{borrowed}'")
    return cfg


def _refuse_one_channel(cfg: Config) -> None:
    """Refuse a binary task of one channel, which pseudo-labels and losses of classes do not know."""
    student = (cfg.get('model') or {}).get('student') or {}
    heads = student.get('decode_head')
    for head in heads if isinstance(heads, list | tuple) else [heads or {}]:
        for key in ('num_classes', 'out_channels'):
            if head.get(key) == 1:
                raise SetupError(
                    f'model.student.decode_head.{key}=1: a binary task has two classes here, the background is '
                    'one of them; set num_classes=2, remove out_channels, and use a cross entropy without '
                    'use_sigmoid (its softmax over two classes is the sigmoid of their difference)'
                )


def _similar_config(path: Path) -> str:
    """A hint for a config that does not exist: the file beside it with the most similar name."""
    beside = (
        sorted(str(other) for other in path.parent.glob('*.py')) if path.parent.is_dir() else []
    )
    near = difflib.get_close_matches(str(path), beside, n=1)
    return f'did you mean {near[0]}?' if near else 'configs stand in configs/<method>/'


def config_types(node: Any) -> Iterator[str]:
    """Yield all ``type`` strings in a part of a config."""
    if isinstance(node, Mapping):
        if isinstance(node.get('type'), str):
            yield node['type']
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for child in node:
        yield from config_types(child)


def _require_mmpretrain(where: str) -> None:
    try:
        with stack.quiet_imports():
            import mmpretrain.models  # noqa: F401
    except Exception as error:  # a torchvision of another torch raises RuntimeError
        reason = str(error).strip().partition('\n')[0]
        raise SetupError(
            f'{where} needs mmpretrain, which cannot be imported ({reason}); install it together '
            f'with the torchvision that belongs to torch {torch.__version__}, see '
            'docs/installation.md'
        ) from error


# -- options -----------------------------------------------------------------------------------


def _check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse an option that would add a key which nothing reads."""
    for option in options:
        parts = option.split('.')
        node = cfg._cfg_dict
        for depth, part in enumerate(parts):
            above = '.'.join(parts[:depth])
            last = depth == len(parts) - 1
            if isinstance(node, list | tuple):
                if not part.isdigit() or int(part) >= len(node):
                    raise SetupError(
                        f"--cfg-options {option}: '{above}' is a list of {len(node)}, "
                        f"'{part}' is no index of it; give 0 to {len(node) - 1}"
                    )
                node = node[int(part)]
            elif isinstance(node, dict):
                known = part in node or (last and (depth > 0 or part in _RUNNER_KEYS))
                if not known:
                    place = '.'.join(parts[: depth + 1])
                    raise SetupError(
                        f"--cfg-options {option}: the config has no key '{place}'; "
                        f'{_similar_key(cfg, node, part)}'
                    )
                if not last and node[part] is None:  # such as clip_grad=None
                    node[part] = ConfigDict()
                node = node.get(part)
            else:
                raise SetupError(
                    f"--cfg-options {option}: '{above}' is the value {node!r} and has no key "
                    f"'{part}'; override '{above}' itself"
                )


def _similar_key(cfg: Config, node: Mapping, part: str) -> str:
    """A hint for an unknown key: a similar key beside it, or the same key elsewhere."""
    near = difflib.get_close_matches(part, [str(key) for key in node], n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    elsewhere = [key for key in _dotted_keys(cfg._cfg_dict) if key.rpartition('.')[2] == part]
    if elsewhere:
        return f"did you mean '{min(elsewhere, key=len)}'?"
    return f'its keys are {", ".join(map(str, node))}'


def _dotted_keys(node: Any, prefix: str = '') -> Iterator[str]:
    """Yield all dotted keys of a config."""
    for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield f'{prefix}{key}'
        if isinstance(child, Mapping | list | tuple):
            yield from _dotted_keys(child, f'{prefix}{key}.')


# -- work folder and resuming ------------------------------------------------------------------


def set_work_dir(cfg: Config, work_dir: str | None, config: str | Path) -> None:
    """Set ``cfg.work_dir``: the option, else the config's own, else ``work_dirs/<method>/<name>``.

    Config names repeat over the methods (``ddfp/voc_732.py``, ``fixmatch/voc_732.py``), so the
    default keeps the path below ``configs/``, not only the last name.

    Args:
        cfg: Changed in place.
        work_dir: The option ``--work-dir``.
        config: The config file, or its name in the package.

    Raises:
        SetupError: It is no folder.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(default_work_dir(config))
    given = '--work-dir' if work_dir is not None else 'work_dir'
    if not isinstance(cfg.work_dir, str) or not cfg.work_dir.strip():
        raise SetupError(
            f'{given} is {cfg.work_dir!r}, expected a folder for logs and checkpoints; name one, or leave it out'
        )
    place = Path(cfg.work_dir)
    taken = next((path for path in (place, *place.parents) if path.exists()), None)
    if taken is not None and not taken.is_dir():
        raise SetupError(f"{given} '{cfg.work_dir}': {taken} is a file; give a folder")


def default_work_dir(config: str | Path) -> Path:
    """``work_dirs/`` and the path of a config below ``configs/``, or its name alone.

    Example:
        >>> default_work_dir('configs/ddfp/voc_732.py').as_posix()
        'work_dirs/ddfp/voc_732'
    """
    parts = find_config(config).resolve().with_suffix('').parts
    below = len(parts) - parts[::-1].index('configs') if 'configs' in parts else len(parts) - 1
    return Path('work_dirs', *parts[below:])


def set_resume(cfg: Config, resume: str | None) -> None:
    """Let the run resume from a checkpoint.

    Args:
        cfg: With its final ``work_dir``; changed in place.
        resume: A checkpoint; or 'auto' for the newest complete one in the work_dir (a run without
            one starts anew and logs this); or None to keep what the config says.

    Raises:
        SetupError: If the named checkpoint is missing or damaged.
    """
    if resume is None:
        return
    if resume == 'auto':
        latest = shared_checkpoint(cfg.work_dir)
        if latest is None:
            print_once(f'--resume: no checkpoint in {cfg.work_dir}, the run starts anew')
            cfg.resume = False
            return
        print_once(f'resuming from {latest}')
    else:
        latest = Path(resume)
        if not is_whole(latest):
            raise SetupError(
                f"--resume: '{latest}' {what_is_wrong(latest)}; give a complete checkpoint, or --resume alone for "
                f'the newest one in {cfg.work_dir}'
            )
    cfg.load_from, cfg.resume = str(latest), True


def shared_checkpoint(work_dir: str | Path) -> Path | None:
    """The newest complete checkpoint of a run, as the main process sees it; called by all processes.

    On a network file system the others may not see its newest file yet, and would resume from another one.
    """
    found = [latest_checkpoint(work_dir) if is_main_process() else None]
    broadcast_object_list(found)
    return found[0]


def print_once(text: str) -> None:
    """Print a line on the first process, for messages before the runner's log exists."""
    if os.environ.get('RANK', '0') == '0':
        print(text, flush=True)


# -- runner ------------------------------------------------------------------------------------


_LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket, by Linux."""


def share_temporary_folder() -> None:
    """Give the processes that this one starts a common temporary folder, which this process removes.

    A data loader's worker passes its batches through a socket in the folder that multiprocessing keeps
    for it in the system's temporary directory (``pymp-*``). A worker makes that folder for itself,
    unless the process that started it has one, and a worker that is terminated leaves it behind. Workers
    are terminated at the end of every run: by ``devices.end_workers``, and by Python at its exit. The
    folder of this process goes with its exit, after the last worker has ended.

    Raises:
        SetupError: The path is too long for a socket. The first batch would never arrive.
    """
    folder = multiprocessing.util.get_temp_dir()
    # such as /listener-12345-0-abcdefgh, of up to seven digits
    length = len(os.fsencode(folder)) + len('/listener-1234567-0-abcdefgh')
    if length > _LONGEST_SOCKET:
        raise SetupError(
            f"the temporary directory '{os.path.dirname(folder)}' has a path of {len(os.path.dirname(folder))} characters; sockets "
            f"of the data loaders' workers lie below it, whose paths may have {_LONGEST_SOCKET} in all: set the environment variable "
            'TMPDIR to a shorter one, such as /tmp'
        )


def build_runner(cfg: Config) -> Runner:
    """Build MMEngine's runner for a config, or the one that its ``runner_type`` names.

    ``default_hooks.<name>=None`` switches off any hook, as MMEngine allows for its own hooks.

    Raises:
        SetupError: See :func:`.check_config`.
    """
    check_config(cfg)
    loaders = (cfg.get(f'{key}_dataloader') for key in ('train', 'val', 'test'))
    if any(isinstance(loader, Mapping) and loader.get('num_workers') for loader in loaders):
        share_temporary_folder()
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in _MMENGINE_HOOKS:
            del hooks[name]
    _replace_early_stopping(cfg)
    trackers.follow(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _replace_early_stopping(cfg: Config) -> None:
    """Take ``SemiEarlyStoppingHook`` for MMEngine's, with the arguments and defaults of that one."""
    listed = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    for hook in listed:
        if isinstance(hook, Mapping) and hook.get('type') in (
            'EarlyStoppingHook',
            'mmengine.EarlyStoppingHook',
            EarlyStoppingHook,
        ):
            hook['type'] = 'SemiEarlyStoppingHook'
            hook.setdefault('min_delta', 0.1)
