"""A rank that ends before its time: the others end soon after, and name it."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
import torch.distributed as dist
from tiny_semi import tiny_data
from whole_runs import call_tool, forkserver, free_port, make_light, take_rank

from mmseg_semi.runtime import peers
from mmseg_semi.runtime.peers import PeerLost, watched_peers


@pytest.fixture(scope='module')
def server():
    with forkserver() as context:
        yield context


def on_its_own(rank: int, world_size: int, port: int, log: Path) -> None:
    """What a launcher and a terminal give a process."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    take_rank(rank, world_size, port)


def start(server, count: int, target, *arguments) -> list:
    port = free_port()
    processes = [
        server.Process(target=target, args=(rank, count, port, *arguments)) for rank in range(count)
    ]
    for process in processes:
        process.start()
    return processes


def statuses(processes: list, seconds: float = 30) -> list[int]:
    """The exit status of each, all within a time."""
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.1, end - time.monotonic()))
    found = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return found


# -- with their commands ---------------------------------------------------------------------------


def train(rank: int, world_size: int, port: int, folder: Path, config: str) -> None:
    on_its_own(rank, world_size, port, folder / f'log{rank}')
    make_light()
    call_tool('train', config, '--launcher', 'pytorch', '--work-dir', folder / 'run')


def children(pid: int) -> list[int]:
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    return [int(word) for word in text.split()]


@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='finds workers in /proc')
def test_a_killed_worker_of_one_rank_ends_both(tmp_path, server):
    cfg = tiny_data(tmp_path, 'supervised', iterations=4000, num_workers=1, checkpoint_interval=1)
    processes = start(server, 2, train, tmp_path, cfg.filename)
    end = time.monotonic() + 60
    while not (tmp_path / 'run' / 'iter_3.pth').exists():
        assert time.monotonic() < end and all(process.is_alive() for process in processes)
        time.sleep(0.05)
    (worker,) = children(processes[1].pid)
    os.kill(worker, signal.SIGKILL)
    assert statuses(processes) == [1, 2]
    own = (tmp_path / 'log1').read_text()
    assert f'error (rank 1): a worker of a data loader (process {worker}) ' in own
    assert 'lower train_dataloader.num_workers' in own and 'Traceback' not in own
    said = (tmp_path / 'log0').read_text()
    expected = rf'error: rank 1 \(process {processes[1].pid} on .*\) has ended \(DataLoader worker '
    assert re.search(expected, said) and '--resume' in said and 'Traceback' not in said, said
    assert not (tmp_path / 'run' / '.run.lock').exists()


# -- without anything that would notice ------------------------------------------------------------


class Handler:
    def search(self, text: str) -> None:
        raise RuntimeError('a worker was killed')


def wait(rank: int, world_size: int, port: int, folder: Path, how: str) -> None:
    """Rank 2 ends; the others wait for something that will not come, as in a reduction of GPUs."""
    on_its_own(rank, world_size, port, folder / f'log{rank}')
    dist.init_process_group('gloo')
    with watched_peers(grace=0.3):
        (folder / f'there{rank}').touch()
        while rank == 2 and len(list(folder.glob('there*'))) < 3:
            time.sleep(0.01)
        if rank == 2 and how == 'killed':
            if os.fork() == 0:  # a worker that lives on, as one does for some seconds
                time.sleep(15)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 2 and how == 'twice':
            # a signal's handler raises while the first error is looked at
            peers._COMMUNICATION = Handler()
        if rank == 2 and how in ('error', 'twice'):
            raise ValueError('its image is damaged')
        if how != 'done':
            time.sleep(60)
    os._exit(0)


@pytest.mark.parametrize(
    ('how', 'reason', 'expected'),
    [
        ('killed', '', [1, 1, -signal.SIGKILL]),
        ('error', r' \(its image is damaged\)', [1, 1, 1]),
        ('twice', r' \(a worker was killed\)', [1, 1, 1]),
        ('done', None, [0, 0, 0]),
    ],
)
def test_ranks_that_wait_end_after_the_grace(tmp_path, server, how, reason, expected):
    processes = start(server, 3, wait, tmp_path, how)
    assert statuses(processes, seconds=10) == expected
    for rank, name in ((0, 'error'), (1, r'error \(rank 1\)')):
        said = (tmp_path / f'log{rank}').read_text()
        if reason is None:
            assert said == ''
        else:
            place = rf'rank 2 \(process {processes[2].pid} on {re.escape(socket.gethostname())}\)'
            assert re.search(f'^{name}: {place} has ended{reason}, and the others', said, re.M)


def test_alone_there_is_no_rank_to_watch():
    with watched_peers(), pytest.raises(RuntimeError) as error:
        raise RuntimeError('gloo: connection closed')
    assert not isinstance(error.value, PeerLost)
