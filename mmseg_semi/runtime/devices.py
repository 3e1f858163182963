"""Processes, devices and precision of a run."""

import multiprocessing
import os
import subprocess
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist, is_distributed
from mmengine.utils.dl_utils import set_multi_processing

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.configs import print_once

LAUNCHER_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
"""Launcher -> its environment variables of rank, world size and local rank."""


def init_distributed(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Prepare a run of several processes; on GPUs the runner does the rest.

    On a CPU this function makes the gloo group before the runner asks for NCCL, removes the device
    ids from DistributedDataParallel, and replaces SyncBN, which PyTorch has for GPUs only, by BN.

    Args:
        cfg: Changed in place.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        local_rank: From launchers that pass it as an option.

    Raises:
        SetupError: If the launcher's environment is missing, or there are more processes than GPUs.
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none':
        return
    missing = [name for name in LAUNCHER_VARIABLES[launcher] if name not in os.environ]
    if missing:
        script = {
            'pytorch': 'torchrun --nproc_per_node GPUS -m mmseg_semi train CONFIG --launcher pytorch',
            'slurm': 'srun [OPTIONS] python -m mmseg_semi train CONFIG --launcher slurm',
        }
        raise SetupError(
            f'--launcher {launcher}: the environment has no {missing[0]}, which that launcher '
            f'sets; start with {script.get(launcher, "mpirun")}'
        )
    rank, world_size, local = (int(os.environ[name]) for name in LAUNCHER_VARIABLES[launcher])
    if get_device() != 'cpu':
        if torch.cuda.is_available() and local >= torch.cuda.device_count():
            raise SetupError(
                f'process {local} of this machine finds only {torch.cuda.device_count()} GPUs; '
                'start as many processes as there are GPUs'
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
    if replace_sync_bn(cfg.model):
        print_once('SyncBN needs GPUs: on the CPU each process normalises by its own batch (BN)')


def join_processes(cfg: Config) -> None:
    """Make the process group that the runner would make, if there is none yet.

    What a command refuses before it writes anything is then refused by all of its processes.

    Args:
        cfg: With its launcher, see :func:`init_distributed`.
    """
    if cfg.launcher == 'none' or is_distributed():
        return
    environment = cfg.get('env_cfg') or {}
    set_multi_processing(**environment.get('mp_cfg', {}), distributed=True)
    init_dist(cfg.launcher, **environment.get('dist_cfg', {}))


def replace_sync_bn(node: Any) -> int:
    """Replace SyncBN by BN in a part of a config, in place; returns the number of replacements."""
    count = 0
    if isinstance(node, dict):
        if node.get('type') in ('SyncBN', 'MMSyncBN'):
            node['type'], count = 'BN', 1
        node = list(node.values())
    if isinstance(node, list | tuple):
        count += sum(replace_sync_bn(child) for child in node)
    return count


def set_precision(cfg: Config, amp: bool) -> None:
    """Turn mixed precision on: float16 with a dynamic loss scale on a GPU, bfloat16 on a CPU.

    Args:
        cfg: Changed in place.
        amp: The option ``--amp``; False keeps what the config says.

    Raises:
        SetupError: If the config's optimiser wrapper has no such counterpart, or needs a GPU and
            there is none.
    """
    on_cpu = get_device() == 'cpu'
    wrapper = cfg.get('optim_wrapper') or {}
    kind = wrapper.get('type', 'OptimWrapper')
    kind = kind if isinstance(kind, str) else kind.__name__
    if on_cpu and kind == 'AmpOptimWrapper':
        raise SetupError(
            "optim_wrapper.type='AmpOptimWrapper' needs a GPU and none was found; on the CPU use "
            "'CPUAmpOptimWrapper' (bfloat16), or leave the key out and give --amp where it is "
            'wanted'
        )
    if not amp or kind in ('AmpOptimWrapper', 'CPUAmpOptimWrapper'):
        return
    if kind != 'OptimWrapper':
        raise SetupError(
            f"--amp: optim_wrapper.type='{kind}' has no mixed-precision counterpart; expected "
            'OptimWrapper'
        )
    if on_cpu:
        wrapper['type'] = 'CPUAmpOptimWrapper'
    else:
        wrapper['type'], wrapper['loss_scale'] = 'AmpOptimWrapper', 'dynamic'


def end_workers() -> None:
    """End the data loaders' workers of finished runs.

    A loader that is left to the garbage collector waits five seconds for each of them in vain. They are killed,
    because those of a training ignore SIGTERM (:mod:`mmseg_semi.runtime.stopping`).
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
            process.join()
