"""What the ranks of a run learn of each other's end.

A rank that is killed takes part in no reduction any more, and the others wait in theirs: until a connection breaks or, on GPUs,
until a time-out of ten minutes or more. None of this names the rank. Here each rank holds a connection to rank 0 over which
nothing is sent while all is well. The operating system closes it when a process ends, however that comes about, and rank 0
tells the others whose it was.
"""

import contextlib
import json
import os
import re
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size

from mmseg_semi.runtime.devices import end_workers
from mmseg_semi.runtime.stopping import Stopped

GRACE = 10.0
"""Seconds in which a rank may end by itself, such as by the error of a broken connection, or after it has saved."""

_NEWS = 5.0
"""Seconds for which a rank whose communication failed waits to be told why."""

_COMMUNICATION = re.compile(
    'gloo|nccl|connection (closed|reset)|broken pipe|process ?group', re.IGNORECASE
)
"""What errors of collectives say, in the words of each backend."""

_CONNECT = 20.0
_KEEP_ALIVE = {'TCP_KEEPIDLE': 10, 'TCP_KEEPINTVL': 5, 'TCP_KEEPCNT': 4}
"""A machine that is gone, and closes no connection, is noticed after 30 seconds."""


class PeerLost(RuntimeError):
    """Another rank has ended, so that this one cannot go on."""


_current: 'PeerWatch | None' = None


def _leave_to_the_parent() -> None:
    """In a forked child, such as a data loader's worker: the connections are the parent's, and end with it."""
    if _current is not None:
        _current.drop()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


@contextlib.contextmanager
def watched_peers(grace: float = GRACE) -> Iterator[None]:
    """Within it, this rank ends soon after another one does, and says which; entered by all ranks. Alone, nothing happens.

    Where the ranks cannot connect, they go on without it, and say so.

    Args:
        grace: Seconds in which this rank may end by itself; then its process ends with the status 1.

    Raises:
        PeerLost: Communication failed because another rank has ended.
    """
    global _current
    if get_world_size() == 1:
        yield
        return
    watch = PeerWatch(grace)
    outer, _current = _current, watch
    done = False
    try:
        yield
        done = True
    except (SystemExit, Stopped):  # all ranks end alike
        done = True
        raise
    except BaseException as error:
        said = watch.news(_NEWS) if _COMMUNICATION.search(str(error)) else None
        watch.close(said or _one_line(error))
        if said is not None:
            raise PeerLost(said) from error
        raise
    finally:
        # A signal's handler may raise in the lines above, as PyTorch's does when a data loader's worker dies: still no good end.
        watch.close(None if done else _one_line(sys.exc_info()[1]))
        _current = outer


def peer_is_lost() -> bool:
    """Whether another rank has ended before its time."""
    return _current is not None and _current.lost is not None


class PeerWatch:
    """The connections of this rank and the thread that reads them, see :func:`watched_peers`.

    Args:
        grace: Seconds from the end of a rank to that of this process.

    Attributes:
        lost: The first rank that has ended before its time, in words; None while all are there.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.lost: str | None = None
        self._lost = threading.Event()
        self._closed = threading.Event()
        self._sockets: dict[socket.socket, str] = {}
        """Connection -> the rank at its other end, in words."""
        failed = [reason for reason in all_gather_object(self._connect()) if reason]
        if failed:
            self.drop()
            if get_rank() == 0:
                print(
                    f'the ranks do not watch each other ({failed[0]}): if one is killed, the others end by their time-outs',
                    flush=True,
                )
            return
        self._wake, wake = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, args=(wake,), daemon=True)
        self._thread.start()

    # -- connecting ----------------------------------------------------------------------------

    def _connect(self) -> str | None:
        """Connects rank 0 with each of the others; returns why it failed."""
        rank, here = get_rank(), f'process {os.getpid()} on {socket.gethostname()}'
        listener, offer = None, [None]
        if rank == 0:
            with contextlib.suppress(OSError):
                listener = _listener()
                offer = [(listener.getsockname()[1], secrets.token_hex(16), here)]
        broadcast_object_list(offer)
        if offer[0] is None:
            return 'rank 0 cannot listen'
        port, token, first = offer[0]
        try:
            if listener is not None:
                with listener:
                    self._accept(listener, token)
            else:
                address = os.environ.get('MASTER_ADDR', '127.0.0.1')
                peer = socket.create_connection((address, port), timeout=_CONNECT)
                _send(peer, token=token, rank=rank, name=here)
                self._keep(peer, f'rank 0 ({first})')
        except (OSError, ValueError) as error:
            return f'{type(error).__name__}: {error}'
        return None

    def _accept(self, listener: socket.socket, token: str) -> None:
        listener.settimeout(_CONNECT)
        while len(self._sockets) < get_world_size() - 1:
            peer, _ = listener.accept()
            peer.settimeout(_CONNECT)
            hello = _receive(peer)
            if not hello or not secrets.compare_digest(str(hello[0].get('token')), token):
                peer.close()  # not one of ours
                continue
            self._keep(peer, f'rank {hello[0]["rank"]} ({hello[0]["name"]})')

    def _keep(self, peer: socket.socket, name: str) -> None:
        peer.settimeout(None)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE.items():
            if hasattr(socket, option):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._sockets[peer] = name

    # -- watching ------------------------------------------------------------------------------

    def _watch(self, wake: socket.socket) -> None:
        with wake, selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            for peer in self._sockets:
                selector.register(peer, selectors.EVENT_READ)
            while self.lost is None and not self._closed.is_set():
                for key, _ in selector.select():
                    if key.fileobj is wake:
                        continue
                    if self._read(key.fileobj):
                        selector.unregister(key.fileobj)
                if self.lost is None and len(selector.get_map()) == 1:
                    return  # all have said that they are done
        if self.lost is None or self._closed.wait(self.grace):
            return
        rank = get_rank()
        print(f'error{f" (rank {rank})" if rank else ""}: {self.lost}', file=sys.stderr, flush=True)
        with contextlib.suppress(Exception):
            end_workers()
        os._exit(1)

    def _read(self, peer: socket.socket) -> bool:
        """Reads from a connection; returns whether nothing more will come from there."""
        try:
            messages = _receive(peer)
        except OSError as error:  # such as a time-out of the keep-alive
            messages = [dict(error=str(error))]
        if not messages:
            messages = [dict(error=None)]
        for message in messages:
            if 'done' in message:
                return True
            if 'lost' in message:
                self._note(message['lost'])
            else:
                reason = f' ({message["error"]})' if message['error'] else ''
                self._note(
                    f'{self._sockets[peer]} has ended{reason}, and the others end with it; start all again with --resume'
                )
        return True

    def _note(self, said: str) -> None:
        if self.lost is not None:
            return
        if get_rank() == 0:
            for peer in self._sockets:
                with contextlib.suppress(OSError):
                    _send(peer, lost=said)
        self.lost = said
        self._lost.set()

    # -- ending --------------------------------------------------------------------------------

    def news(self, seconds: float) -> str | None:
        """What has happened to another rank, if that is known within some seconds."""
        if self._sockets:
            self._lost.wait(seconds)
        return self.lost

    def close(self, error: str | None = None) -> None:
        """Ends the watch; a second call does nothing.

        Args:
            error: Why this rank ends before its time, which the others are told; None if it is done.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        for peer in self._sockets:
            with contextlib.suppress(OSError):
                _send(peer, **(dict(done=True) if error is None else dict(error=error)))
        if self._sockets:
            with self._wake:
                with contextlib.suppress(OSError):  # all have ended before
                    self._wake.send(b'.')
                self._thread.join()
        self.drop()

    def drop(self) -> None:
        """Closes the connections of this process."""
        while self._sockets:
            self._sockets.popitem()[0].close()


def _one_line(error: BaseException) -> str:
    return (str(error).strip().partition('\n')[0] or type(error).__name__)[:300]


def _listener() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(('', 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(('', 0))


def _send(peer: socket.socket, **message: Any) -> None:
    peer.sendall(json.dumps(message).encode() + b'\n')


def _receive(peer: socket.socket) -> list[dict[str, Any]]:
    """The messages that have come; none if the connection is closed."""
    data = peer.recv(4096)
    while data and not data.endswith(b'\n'):
        more = peer.recv(4096)
        data = data + more if more else b''
    return [json.loads(line) for line in data.splitlines()]
