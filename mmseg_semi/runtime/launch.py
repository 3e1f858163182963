"""What the command-line tools share: configs, devices, precision, resuming, and errors as one line."""

import argparse
import difflib
import functools
import gc
import inspect
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import stack
from mmseg_semi.runtime.checkpoints import is_whole, latest_checkpoint

# Keys of a config that Runner or the tools read although no file of ours may set them.
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

# How a launcher tells a process its place: the variables of rank, world size and local rank.
_PLACES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


# -- errors ------------------------------------------------------------------------------------


def tool(main: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a tool's ``main``: what the user can mend becomes one line and exit status 2.

    Caught are :class:`SetupError`, a loss that is not finite, missing files, and the two mistakes
    that the registries find: a type that is not registered, an argument that a type does not know.
    ``MMSEG_SEMI_TRACEBACK=1`` shows the traceback instead.
    """

    @functools.wraps(main)
    def run(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except Exception as error:
            sentence = _sentence(error)
            if sentence is None or os.environ.get('MMSEG_SEMI_TRACEBACK') == '1':
                raise
            rank = os.environ.get('RANK', '0')
            print(
                f'error: {sentence}' if rank == '0' else f'error (rank {rank}): {sentence}',
                file=sys.stderr,
            )
            sys.exit(2)
        finally:
            if dist.is_available() and dist.is_initialized():
                # Runner, hooks and DistributedDataParallel refer to each other and hold the group. If
                # it outlived this, a thread of it that frees a tensor while Python shuts down would
                # abort the process, and torchrun then ends the ranks that are still saving.
                end_workers()
                gc.collect()
                dist.destroy_process_group()

    return run


def end_workers() -> None:
    """End the data loaders' workers of runs that are over.

    A loader that is left to the garbage collector waits five seconds for each of them in vain.
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.terminate()
            process.join()


def _sentence(error: Exception) -> str | None:
    """What to tell the user, or None for an error that is not the user's."""
    text = str(error)
    if isinstance(error, SetupError) or type(error).__name__ == 'NonFiniteLossError':
        # A data loader's worker sends its traceback along as the message.
        return text.strip().rpartition(f'{type(error).__name__}: ')[2]
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"'{error.filename}' does not exist; mend the config key or the option that names it"
    if isinstance(error, KeyError) and 'is not in the' in text and 'registry' in text:
        name = re.match(r'\W*([\w.]+) is not in the ([\w:. ]+?) registry', text)
        if name:
            return (
                f"config: type='{name[1]}' is not registered ({name[2]}); mend the name, or import "
                'what defines it with custom_imports=dict(imports=[...])'
            )
    unknown = re.match(
        r'(\w+)\.__init__\(\) (got an unexpected keyword argument .*|missing .*)', text
    )
    if isinstance(error, TypeError) and unknown:
        return f"config: type='{unknown[1]}' {unknown[2]}; mend the keys of that dict"
    return None


# -- configs -----------------------------------------------------------------------------------


def find_projects(config: Path | None = None) -> None:
    """Let ``custom_imports = dict(imports=['projects.<name>'])`` find the project, from any working directory.

    Args:
        config: Where it stands below a folder ``projects``, that folder is found too: the package may be installed elsewhere.
    """
    folders = [Path(__file__).resolve().parents[1] / 'projects']
    if config is not None:
        folders += [folder for folder in config.resolve().parents if folder.name == 'projects'][:1]
    for folder in folders:
        if folder.is_dir() and str(folder.parent) not in sys.path:
            sys.path.append(str(folder.parent))


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, ``--launcher`` and ``--local_rank``, as MMSegmentation's tools have them."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override keys of the config, such as optim_wrapper.optimizer.lr=0.01; lists are written '
        'key="[a,b]" or key=a,b, without blanks',
    )
    parser.add_argument(
        '--launcher', choices=('none', *_PLACES), default='none', help='job launcher'
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by old launchers'
    )


def load_config(
    path: str | Path, options: Mapping[str, Any] | None = None, with_model: bool = True
) -> Config:
    """Read a config and override keys of it.

    Args:
        path: A config file.
        options: Values by dotted key, as ``--cfg-options`` gives them.
        with_model: Whether the model will be built.

    Raises:
        SetupError: If the file is missing or wrong, a key has no place in the config, or the model is
            to be built, needs mmpretrain, and that cannot be imported.
    """
    path = Path(path)
    if not path.is_file():
        beside = (
            sorted(str(other) for other in path.parent.glob('*.py')) if path.parent.is_dir() else []
        )
        near = difflib.get_close_matches(str(path), beside, n=1)
        hint = f'did you mean {near[0]}?' if near else 'configs stand in configs/<method>/'
        raise SetupError(f"config '{path}' does not exist; {hint}")
    stack.import_yapf()
    find_projects(path)
    try:
        cfg = Config.fromfile(path)
    except SetupError:
        raise
    except Exception as error:
        cause = error
        if 'mmpretrain' in str(error):
            _require_mmpretrain(f"config '{path}'")
        text = str(cause).strip().partition('\n')[0]
        raise SetupError(
            f"config '{path}' cannot be read: {type(cause).__name__}: {text}; mend that line"
        ) from cause
    if options:
        _check_options(cfg, options)
        cfg.merge_from_dict(dict(options))
    borrowed = next(
        (name for name in config_types(cfg.get('model')) if name.startswith('mmpretrain.')), None
    )
    if borrowed and with_model:
        _require_mmpretrain(f"config '{path}': type='{borrowed}'")
    return cfg


def _check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse a key that would be merged into the config without anything ever reading it."""
    for option in options:
        parts = option.split('.')
        node = cfg._cfg_dict
        for depth, part in enumerate(parts):
            last = depth == len(parts) - 1
            place = '.'.join(parts[: depth + 1])
            if isinstance(node, list | tuple):
                if not part.isdigit() or int(part) >= len(node):
                    raise SetupError(
                        f"--cfg-options {option}: '{'.'.join(parts[:depth])}' is a list of {len(node)}, "
                        f"'{part}' is no index of it; give 0 to {len(node) - 1}"
                    )
                node = node[int(part)]
            elif isinstance(node, dict):
                known = part in node or (last and (depth > 0 or part in _RUNNER_KEYS))
                if not known:
                    raise SetupError(
                        f"--cfg-options {option}: the config has no key '{place}'; {_hint(cfg, node, part)}"
                    )
                if not last and node[part] is None:  # such as clip_grad=None
                    node[part] = ConfigDict()
                node = node.get(part)
            else:
                raise SetupError(
                    f"--cfg-options {option}: '{'.'.join(parts[:depth])}' is the value {node!r}, it has no "
                    f"key '{part}'; override it as a whole"
                )


def _hint(cfg: Config, node: Mapping, part: str) -> str:
    """Where the user may have meant a key to go: a similar one beside it, the same one elsewhere."""
    near = difflib.get_close_matches(part, [str(key) for key in node], n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    elsewhere = [place for place in _places(cfg._cfg_dict) if place.rpartition('.')[2] == part]
    if elsewhere:
        return f"did you mean '{min(elsewhere, key=len)}'?"
    return f'beside it stand {", ".join(map(str, node))}'


def _places(node: Any, prefix: str = '') -> Iterator[str]:
    """All dotted keys of a config."""
    for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield f'{prefix}{key}'
        if isinstance(child, Mapping | list | tuple):
            yield from _places(child, f'{prefix}{key}.')


def config_types(node: Any) -> Iterator[str]:
    """All ``type`` strings in a part of a config."""
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
            f'{where} needs mmpretrain, which cannot be imported ({reason}); install it together with '
            f'the torchvision that belongs to torch {torch.__version__}, see docs/installation.md'
        ) from error


# -- where a run lives -------------------------------------------------------------------------


def set_work_dir(cfg: Config, work_dir: str | None, config: str | Path) -> None:
    """Set ``cfg.work_dir``: the option, else the config's own, else ``work_dirs/<method>/<name>``.

    Config names repeat over the methods (``ddfp/voc_732.py``, ``fixmatch/voc_732.py``), so the
    default keeps the path below ``configs/``, not only the last name.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        parts = Path(config).resolve().with_suffix('').parts
        below = len(parts) - parts[::-1].index('configs') if 'configs' in parts else len(parts) - 1
        cfg.work_dir = str(Path('work_dirs', *parts[below:]))


def set_resume(cfg: Config, resume: str | None) -> None:
    """Let the run go on from a checkpoint.

    Args:
        cfg: With its final ``work_dir``.
        resume: A checkpoint, or 'auto' for the newest whole one in the work_dir (a run that has none
            starts anew, and the log says so), or None to do what the config says.

    Raises:
        SetupError: If the named checkpoint is missing or damaged.
    """
    if resume is None:
        return
    if resume == 'auto':
        latest = latest_checkpoint(cfg.work_dir)
        if latest is None:
            _say(f'--resume: no checkpoint in {cfg.work_dir}, the run starts anew')
            cfg.resume = False
            return
        _say(f'--resume: going on from {latest}')
    else:
        latest = Path(resume)
        if not is_whole(latest):
            state = 'is cut short or no checkpoint' if latest.is_file() else 'does not exist'
            raise SetupError(
                f"--resume: '{latest}' {state}; give a whole checkpoint, or --resume alone for the "
                f'newest one in {cfg.work_dir}'
            )
    cfg.load_from, cfg.resume = str(latest), True


def _say(text: str) -> None:
    """Tell the user once, before the runner's log exists."""
    if os.environ.get('RANK', '0') == '0':
        print(text, flush=True)


# -- devices -----------------------------------------------------------------------------------


def init_distributed(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Prepare a run of several processes; on GPUs the runner does the rest.

    On a CPU the gloo group is made here, before the runner asks for NCCL, DistributedDataParallel is
    told that there are no devices, and SyncBN, which PyTorch has for GPUs only, becomes BN.

    Args:
        cfg: Changed in place.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        local_rank: Of launchers that pass it as an option.

    Raises:
        SetupError: If the launcher's environment is missing, or there are more processes than GPUs.
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none':
        return
    missing = [name for name in _PLACES[launcher] if name not in os.environ]
    if missing:
        script = {'pytorch': 'tools/dist_train.sh CONFIG GPUS', 'slurm': 'tools/slurm_train.sh'}
        raise SetupError(
            f'--launcher {launcher}: the environment has no {missing[0]}, which that launcher sets; '
            f'start with {script.get(launcher, "mpirun")}'
        )
    rank, world_size, local = (int(os.environ[name]) for name in _PLACES[launcher])
    if get_device() != 'cpu':
        if torch.cuda.is_available() and local >= torch.cuda.device_count():
            raise SetupError(
                f'process {local} of this machine finds only {torch.cuda.device_count()} GPUs; start as '
                'many processes as there are GPUs'
            )
        return
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        nodes = ('scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST'])
        os.environ['MASTER_ADDR'] = subprocess.check_output(nodes, text=True).split()[0]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
    os.environ['LOCAL_RANK'] = str(local)
    dist.init_process_group('gloo', rank=rank, world_size=world_size)
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}
    if _replace_sync_bn(cfg.model):
        _say('SyncBN needs GPUs: on the CPU each process normalises by its own batch (BN)')


def _replace_sync_bn(node: Any) -> int:
    count = 0
    if isinstance(node, dict):
        if node.get('type') in ('SyncBN', 'MMSyncBN'):
            node['type'], count = 'BN', 1
        node = list(node.values())
    if isinstance(node, list | tuple):
        count += sum(_replace_sync_bn(child) for child in node)
    return count


def set_precision(cfg: Config, amp: bool) -> None:
    """Turn mixed precision on: float16 with a dynamic loss scale on a GPU, bfloat16 on a CPU.

    Raises:
        SetupError: If the config's optimiser wrapper has no such counterpart, or is a GPU's on a CPU.
    """
    on_cpu = get_device() == 'cpu'
    wrapper = cfg.get('optim_wrapper') or {}
    kind = wrapper.get('type', 'OptimWrapper')
    kind = kind if isinstance(kind, str) else kind.__name__
    if on_cpu and kind == 'AmpOptimWrapper':
        raise SetupError(
            "optim_wrapper.type='AmpOptimWrapper' needs a GPU and none was found; on the CPU take "
            "'CPUAmpOptimWrapper' (bfloat16), or leave the key out and give --amp where it is wanted"
        )
    if not amp or kind in ('AmpOptimWrapper', 'CPUAmpOptimWrapper'):
        return
    if kind != 'OptimWrapper':
        raise SetupError(
            f"--amp: optim_wrapper.type='{kind}' has no mixed-precision counterpart; expected OptimWrapper"
        )
    if on_cpu:
        wrapper['type'] = 'CPUAmpOptimWrapper'
    else:
        wrapper['type'], wrapper['loss_scale'] = 'AmpOptimWrapper', 'dynamic'


# -- running -----------------------------------------------------------------------------------


def build_runner(cfg: Config) -> Runner:
    """MMEngine's runner for a config, or the one that its ``runner_type`` names.

    A hook of ours is switched off by ``default_hooks.<name>=None``, as MMEngine's own are.
    """
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in (
            'timer',
            'sampler_seed',
            'logger',
            'param_scheduler',
            'checkpoint',
            'runtime_info',
        ):
            del hooks[name]
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
