"""A headless Chromium that is spoken to by its DevTools protocol over a pipe, for tests of pages."""

import contextlib
import functools
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome')
_FLAGS = (
    *('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'),
    *('--disable-extensions', '--disable-background-networking', '--disable-component-update'),
)


@functools.cache
def find_browser() -> str | None:
    """The first browser of :data:`NAMES` on PATH that starts; some systems have a script there that asks for a package."""
    for path in filter(None, map(shutil.which, NAMES)):
        if not subprocess.run([path, '--version'], capture_output=True, timeout=60).returncode:
            return path
    return None


class Tab:
    """One page of a browser.

    Attributes:
        events: What the browser reported, (method, parameters): console lines, exceptions, requests, dialogs.
    """

    def __init__(self, source: Any, sink: Any) -> None:
        self._source, self._sink = source, sink
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.events: list[tuple[str, dict]] = []
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        session = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = session['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def call(self, method: str, **parameters: Any) -> dict:
        """The result of a method of the protocol."""
        number = next(self._numbers)
        message = dict(id=number, method=method, params=parameters)
        if self._session:
            message['sessionId'] = self._session
        self._sink.write(json.dumps(message).encode() + b'\0')
        self._sink.flush()
        while True:
            reply = self._read()
            if reply.get('id') == number:
                assert 'error' not in reply, reply
                return reply['result']

    def open(self, path: Path, width: int, height: int = 800, dark: bool = False) -> None:
        """Show a file in a window of a size, and wait until it is loaded."""
        self.events.clear()
        scheme = dict(name='prefers-color-scheme', value='dark' if dark else 'light')
        self.call('Emulation.setEmulatedMedia', features=[scheme])
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call('Page.navigate', url=path.resolve().as_uri())
        end = time.monotonic() + 30
        while not self.heard('Page.loadEventFired'):
            assert time.monotonic() < end
            self._read()
        self.value('new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))')

    def value(self, expression: str) -> Any:
        """A JavaScript expression's value."""
        reply = self.call(
            'Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True
        )
        assert 'exceptionDetails' not in reply, reply
        return reply['result'].get('value')

    def heard(self, *methods: str) -> list[dict]:
        """Parameters of the events of these methods."""
        return [parameters for method, parameters in self.events if method in methods]

    def _read(self) -> dict:
        content = bytearray()
        while (byte := self._source.read(1)) != b'\0':
            assert byte, 'the browser ended'
            content += byte
        message = json.loads(content)
        if 'method' in message:
            self.events.append((message['method'], message['params']))
        return message


@contextlib.contextmanager
def open_tab(folder: Path) -> Iterator[Tab]:
    """A tab of a new browser, which ends with the block.

    Args:
        folder: For its profile.
    """
    to_browser, from_browser = os.pipe(), os.pipe()
    command = [find_browser(), *_FLAGS, f'--user-data-dir={folder}', '--remote-debugging-pipe']
    # the protocol has the descriptors 3 and 4
    shell = f'exec 8<&{to_browser[0]} 9>&{from_browser[1]}; exec "$@" 3<&8 4>&9'
    process = subprocess.Popen(
        ['bash', '-c', shell, 'bash', *command],
        pass_fds=(to_browser[0], from_browser[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    with os.fdopen(from_browser[0], 'rb') as source, os.fdopen(to_browser[1], 'wb') as sink:
        try:
            yield Tab(source, sink)
        finally:
            process.kill()
            process.wait(10)
