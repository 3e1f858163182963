"""A refused run removes what it has written, and nothing else."""

import pytest
from mmengine.visualization import Visualizer

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.refusals import no_traces


def write(folder, name):
    """What MMEngine writes before it looks at data or model."""
    (folder / 'now').mkdir(parents=True, exist_ok=True)
    (folder / 'now' / name).write_text('log')
    (folder / 'config.py').write_text(name)


def test_a_new_folder_and_its_parents_go(tmp_path):
    folder = tmp_path / 'work_dirs/mine/run'
    with pytest.raises(SetupError), no_traces(folder):
        write(folder, 'a.log')
        raise SetupError('wrong; fix it')
    assert not any(tmp_path.iterdir())


def test_what_was_there_stays(tmp_path):
    write(tmp_path, 'old.log')
    (tmp_path / 'iter_2.pth').touch()
    with pytest.raises(SetupError), no_traces(tmp_path):
        write(tmp_path, 'new.log')
        (tmp_path / 'later').mkdir()
        raise SetupError('wrong; fix it')
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')}
    assert found == {'now', 'now/old.log', 'config.py', 'iter_2.pth'}
    assert (tmp_path / 'config.py').read_text() == 'old.log'


@pytest.mark.parametrize('ending', ['begun', 'another error', 'interrupted'])
def test_logs_of_what_is_no_refusal_stay(tmp_path, ending):
    error = dict(begun=SetupError('nan'), interrupted=KeyboardInterrupt()).get(
        ending, OSError('disk')
    )
    with pytest.raises(type(error)), no_traces(tmp_path / 'run') as begun:
        write(tmp_path / 'run', 'a.log')
        if ending == 'begun':
            begun.after_train_iter(None, 0)
        raise error
    assert (tmp_path / 'run/now/a.log').exists()


def test_a_visualizer_of_the_run_is_forgotten(tmp_path):
    kept = Visualizer.get_instance('kept_by_refusals')
    with pytest.raises(SetupError), no_traces(tmp_path / 'run'):
        Visualizer.get_instance('made_by_a_refused_run')
        raise SetupError('wrong; fix it')
    assert Visualizer.get_instance('kept_by_refusals') is kept
    assert 'made_by_a_refused_run' not in Visualizer._instance_dict
