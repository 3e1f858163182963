"""Ctrl-C while a command imports the stack ends it with 130 and without a word."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from whole_runs import ROOT

from mmseg_semi.runtime import interrupts
from mmseg_semi.runtime.commands import tool

# a stack whose import a user interrupts; only the interpreter's own modules and what stands before it come to be imported
TORCH = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
while True:
    pass
"""


@pytest.mark.parametrize(
    'command',
    [
        (ROOT / 'tools' / 'train.py', 'config.py'),
        (ROOT / 'tools' / 'analysis' / 'compare.py',),
        ('-m', 'mmseg_semi', 'train', 'config.py'),
        ('-m', 'mmseg_semi.cli', 'train', 'config.py'),
    ],
    ids=lambda command: str(command[:2][-1]),
)
def test_ctrl_c_while_a_command_imports(tmp_path, command):
    (tmp_path / 'torch.py').write_text(TORCH)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, '', '')


def test_a_program_keeps_its_own_handler(tmp_path):
    (tmp_path / 'torch.py').write_text(TORCH)
    (tmp_path / 'tools').mkdir()
    own = tmp_path / 'tools' / 'train.py'  # such as MMSegmentation's
    own.write_text(
        "try:\n    import mmseg_semi\nexcept KeyboardInterrupt:\n    print('handled here')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, own],
        env=os.environ | {'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.stdout == 'handled here\n'


def test_a_command_has_python_s_handler_back(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, 'argv', [str(Path(ROOT, 'tools', 'test.py'))])
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupts.quiet_imports_of_commands()
        assert signal.getsignal(signal.SIGINT) is interrupts._end

        @tool
        def command():
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(SystemExit) as end:
            command()
        assert end.value.code == 130 and capsys.readouterr() == ('', '')
    finally:
        signal.signal(signal.SIGINT, before)
