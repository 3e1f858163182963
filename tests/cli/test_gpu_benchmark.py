"""tools/benchmarks/gpu.sh at toy size on the CPU: numbers, what is left out and what fails stand in one file."""

import json
import os
import subprocess
import sys

import pytest
import torch

from mmseg_semi.cli.benchmark import gpu
from mmseg_semi.cli.common import CHECKOUT


def test_the_script_measures_within_its_time_and_prints_the_file(tmp_path):
    out = tmp_path / 'gpu.json'
    command = ['tools/benchmarks/gpu.sh', '--toy', '--methods', 'supervised', '--out', str(out)]
    done = subprocess.run(
        [*command, '--minutes', '5'],
        cwd=CHECKOUT,
        env=dict(os.environ, PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='-1', OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert {'cpu', 'torch', 'python', 'mmseg_semi'} <= result['machine'].keys()
    assert result['toy'] and result['date'] and result['spent_minutes'] < 5
    rows = {(row['precision'], row['layout'], row['compiled']): row for row in result['rows']}
    assert {key[0] for key in rows} == {'float32', 'bfloat16'}
    for row in rows.values():
        assert 'error' not in row
        assert row['batch'] == [2] and row['crop'] == [64, 64] and row['seed'] == 0
        assert row['images_per_second'] * row['seconds'] == pytest.approx(2)
        assert row['peak_bytes'] > 0 and row['first_step'] > 0
    # a compiled step's first call compiles
    plain, compiled = (rows['float32', 'contiguous', on] for on in (False, True))
    assert (
        compiled['first_step'] > 5 * compiled['seconds']
        and compiled['first_step'] > plain['first_step']
    )
    # every combination is a row, or is named with its reason
    dropped = {(entry['method'], entry['what']): entry['why'] for entry in result['dropped']}
    assert dropped['supervised', 'tf32, contiguous'] == 'tf32 needs a GPU'
    assert len(rows) + len(dropped) == len(gpu.VARIANTS)
    assert all(speed > 0 for speed in result['input'].values()) and result['input']
    assert done.stdout.rstrip().endswith(gpu.report(result))
    assert '| supervised | 2 | 64 x 64 | float32 | contiguous | no | ' in done.stdout
    assert 'toy sizes, which say nothing about speed' in done.stdout


@pytest.fixture
def result(tmp_path, monkeypatch):
    """Runs a session of two methods on variants that a CPU computes; takes what replaces ``build_step``."""

    def run(build, minutes: str = '5') -> dict:
        variants = (gpu.Variant('float32', 'contiguous'), gpu.Variant('bfloat16', 'contiguous'))
        monkeypatch.setattr(gpu, 'VARIANTS', variants)
        monkeypatch.setattr(gpu, 'build_step', build)
        monkeypatch.setattr(gpu, 'measure_input', lambda toy: {'complete, workers 1': 10.0})
        arguments = ['--toy', '--out', str(tmp_path / 'gpu.json'), '--minutes', minutes]
        gpu.main([*arguments, '--methods', 'fixmatch', 'cct'])
        return json.loads((tmp_path / 'gpu.json').read_text())

    return run


def test_a_combination_that_fails_stops_nothing(result, capsys):
    def build(method, variant, toy, folder):
        if method == 'fixmatch':
            raise torch.OutOfMemoryError('out of memory. Tried to allocate 2 GiB\nmore lines')
        raise ValueError('no such | thing')

    found = result(build)
    assert [row['error'] for row in found['rows'][:2]] == [
        'OutOfMemoryError: out of memory. Tried to allocate 2 GiB',
        'ValueError: no such | thing',
    ]
    assert len(found['rows']) == 4 and found['dropped'] == []
    assert 'ValueError: no such / thing' in capsys.readouterr().out


def test_what_the_time_does_not_allow_is_named(result, capsys):
    def build(method, variant, toy, folder):
        raise AssertionError('nothing is built')

    found = result(build, minutes='0.001')
    assert found['rows'] == [] and found['input'] == {}
    assert len(found['dropped']) == 5
    assert {entry['method'] for entry in found['dropped']} == {'fixmatch', 'cct', 'input pipeline'}
    assert 'of 0.001 minutes are left: fixmatch, cct' in capsys.readouterr().out


@pytest.mark.parametrize('toy', [False, True])
@pytest.mark.parametrize('method', gpu.METHODS)
def test_the_configs_of_all_methods(method, toy):
    path = CHECKOUT / 'configs' / f'{gpu.METHODS[method][toy]}.py'
    cfg = gpu.configs.load_config(path, with_model=False)
    options = gpu.step_options(cfg, gpu.TOY if toy else gpu.FULL)
    two = toy or method in ('unimatch', 'cps')  # as these recipes say
    images = 2 if two else 4
    assert options.batch_size == [images] * (1 if method == 'supervised' else 2)


def test_where_the_host_waits(monkeypatch):
    """The mode is on around the step, off inside the two allowed places, and off again afterwards."""
    modes = ['default']
    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', modes.append)
    with gpu.watched('error'):
        assert modes[-1] == 'error'
        seen = []
        monkeypatch.setattr(
            gpu.torch, 'stack', lambda values: seen.append(modes[-1]) or torch.ones(1)
        )
        gpu.segmentor.read_values({'loss': torch.ones(())})
        assert seen == ['default'] and modes[-1] == 'error'
        boxes = gpu.guided.object_boxes(torch.zeros(1, 4, 4, dtype=torch.bool), 1)
        assert len(boxes.image) == 0 and modes[-2:] == ['default', 'error']
    assert modes[-1] == 'default'
