"""The scripts for Slurm, with an ``srun`` that tells what it was asked for."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
POSITIONS = {'train': ['config.py'], 'test': ['config.py', 'weights.pth']}


@pytest.fixture
def srun(tmp_path):
    stub = tmp_path / 'srun'
    stub.write_text('#!/bin/sh\necho "MASTER_PORT=$MASTER_PORT"\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)

    def call(name: str, *options: str, **environment: str) -> list[str]:
        kept = {key: value for key, value in os.environ.items() if 'PORT' not in key}
        kept = {key: value for key, value in kept.items() if not key.startswith('GPUS')}
        done = subprocess.run(
            [
                'bash',
                ROOT / 'tools' / f'slurm_{name}.sh',
                'part',
                'job',
                *POSITIONS[name],
                *options,
            ],
            env=kept | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'} | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    return call


@pytest.mark.parametrize('name', ['train', 'test'])
@pytest.mark.parametrize(
    ('environment', 'expected'),
    [
        ({'GPUS': '2'}, (2, 2, 29500)),
        ({}, (4, 4, 29500)),
        ({'GPUS': '8', 'PORT': '29611'}, (8, 4, 29611)),
        ({'GPUS': '8', 'GPUS_PER_NODE': '8', 'MASTER_PORT': '29622'}, (8, 8, 29622)),
    ],
)
def test_what_srun_is_asked_for(srun, name, environment, expected):
    asked = srun(name, '--resume', **environment)
    tasks, per_node, port = expected
    assert asked[0] == f'MASTER_PORT={port}'
    assert {f'--ntasks={tasks}', f'--ntasks-per-node={per_node}', f'--gres=gpu:{per_node}'} <= {
        *asked
    }
    assert asked[-3:] == ['--launcher', 'slurm', '--resume']
