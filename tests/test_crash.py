"""Training that is killed resumes from a complete checkpoint and ends in the same state.

``tools/analysis/crash_test.py`` does the same with more kills and whole processes; docs/robustness.md has its outcome.
"""

import json
import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from tiny_semi import tiny_data
from whole_runs import call_tool, forkserver, make_light

from mmseg_semi.cli.analysis import crash_test as module


def train(config: str, work_dir: Path) -> None:
    """The command, in a process that has the stack imported already."""
    make_light()
    log = os.open(f'{work_dir}.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    call_tool('train', config, '--work-dir', work_dir, '--resume')


@pytest.fixture
def start(tmp_path):
    cfg = tiny_data(tmp_path, 'ddfp', iterations=8, checkpoint_interval=1, val_interval=4)

    def start(work_dir: Path) -> multiprocessing.Process:
        with forkserver() as context:
            process = context.Process(target=train, args=(cfg.filename, work_dir))
            process.start()
        return process

    return start


def test_three_kills(tmp_path, start):
    said = []
    counts = module.crash_test(start, tmp_path / 'runs', 3, report=said.append)
    assert counts['kills'] == 3 and counts['finished'] >= 1
    assert sum(line.startswith('kill ') for line in said) == 3


def test_parts_of_a_long_test_add_up(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out.json'

    def crash_test(start, folder, times, seed, report, note):
        note(dict(kills=times, in_saving=seed, anew=1, finished=0))

    monkeypatch.setattr(module, 'crash_test', crash_test)
    config = ['config.py', '--json', str(out), '--kills']
    module.main([*config, '4'])
    module.main([*config, '3', '--seed', '2'])
    capsys.readouterr()
    module.main([*config, '0'])
    assert '7 kills, 2 of them in the middle of saving and 2 before' in capsys.readouterr().out
    first, second = json.loads(out.read_text())
    assert (first['seed'], second['kills']) == (0, 3) and 'torch' in first['versions']
    with pytest.raises(SystemExit) as end:
        module.main([*config, '3', '--seed', '2'])
    assert end.value.code == 2 and 'give another seed' in capsys.readouterr().err
    out.write_text('{}')
    with pytest.raises(SystemExit):
        module.main([*config, '0'])
    assert 'was not written by this command' in capsys.readouterr().err


def test_what_it_would_notice(tmp_path):
    """The comparison at the end and the look into the folder are not blind."""
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    loss = {'__history__': {'values': {'__ndarray__': torch.tensor([3.0, 2.0])}}}
    state = dict(
        meta=dict(iter=2),
        state_dict=dict(w=torch.ones(3)),
        optimizer=dict(state={0: dict(step=2)}),
        message_hub=dict(log_scalars={'train/loss': loss}),
    )

    def save(name: str = 'iter_2.pth', **changes) -> None:
        torch.save({**state, **changes}, work_dir / name)

    save()
    module._check_end(work_dir, state)
    assert module._check_folder(work_dir, 1) == 2
    off = torch.tensor([1.0, 1.0, 1.0 + 2**-23])
    other = {'__history__': {'values': {'__ndarray__': torch.tensor([3.0, 2.5])}}}
    for change in (
        dict(state_dict=dict(w=off)),
        dict(optimizer=dict(state={0: dict(step=1)})),
        dict(meta=dict(iter=1)),
        dict(message_hub=dict(log_scalars={'train/loss': other})),
    ):
        save(**change)
        with pytest.raises(module.Lost):
            module._check_end(work_dir, state)
    save()
    with pytest.raises(module.Lost, match='it was of 3'):
        module._check_folder(work_dir, 3)
    content = (work_dir / 'iter_2.pth').read_bytes()
    (work_dir / 'iter_1.pth').write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception):  # noqa: B017  (torch says it in its own way)
        module._check_folder(work_dir, 2)
    (work_dir / 'iter_1.pth').unlink()
    (work_dir / 'iter_2.pth').unlink()
    with pytest.raises(module.Lost, match='no checkpoint is left'):
        module._check_folder(work_dir, 2)
