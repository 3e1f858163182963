"""How a command ends under torchrun, whose own report comes last on the screen."""

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.commands import tool


@tool
def command():
    raise SetupError("config: train_cfg has no 'max_iters'; set it")


@pytest.mark.parametrize('rank', ['0', '1'])
def test_torchrun_repeats_the_sentence(tmp_path, monkeypatch, capsys, rank):
    path = tmp_path / 'error.json'
    monkeypatch.setenv('RANK', rank)
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(path))
    with pytest.raises(SystemExit) as ended:
        command()
    line = capsys.readouterr().err.strip()
    assert line.startswith('error: config' if rank == '0' else 'error (rank 1): config')
    failure = ProcessFailure(int(rank), 4711, ended.value.code, str(path))
    assert failure.message['extraInfo']['py_callstack'] == line and failure.timestamp > 0


def test_without_torchrun_or_with_no_place_for_it(tmp_path, monkeypatch, capsys):
    for place in (None, tmp_path / 'nowhere' / 'error.json'):
        if place:
            monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(place))
        with pytest.raises(SystemExit) as ended:
            command()
        assert ended.value.code == 2 and 'error: config' in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
