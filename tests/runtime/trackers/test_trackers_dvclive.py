"""DVCLive: one folder, and nothing initialised."""

import pytest
import stand_in_trackers
from stand_in_trackers import start

from mmseg_semi.runtime.trackers.dvclive import drop_later_rows


def test_dvclive_keeps_the_folder_and_drops_later_rows(calls, tmp_path):
    stand_in_trackers.dvclive(calls)
    start(tmp_path, 'DVCLiveVisBackend')
    table = tmp_path / '000001/vis_data/plots/metrics/teacher/mIoU.tsv'
    table.parent.mkdir(parents=True)
    table.write_text('step\tmIoU\n2\t0.5\n4\t0.6\n6\t0.7\n')
    start(tmp_path, 'DVCLiveVisBackend', resume=True, iteration=4)
    first, second = calls.of('live')
    folder = str(tmp_path / '000001/vis_data')
    assert first == dict(dir=folder, save_dvc_exp=True, cache_images=True)
    assert second == dict(first, resume=True)
    assert table.read_text() == 'step\tmIoU\n2\t0.5\n4\t0.6\n'


@pytest.mark.parametrize('where', [dict(user=False), dict(repository=False)], ids=str)
def test_dvclive_initialises_nothing(calls, tmp_path, monkeypatch, where):
    """MMEngine would call ``dvc init -f``, which empties a project's .dvc."""
    monkeypatch.setattr('os.system', lambda command: pytest.fail(command))
    stand_in_trackers.dvclive(calls, **where)
    start(tmp_path, 'DVCLiveVisBackend')
    start(tmp_path, 'DVCLiveVisBackend', init_kwargs=dict(save_dvc_exp=True))
    assert [one['save_dvc_exp'] for one in calls.of('live')] == [False, True]


@pytest.mark.parametrize(
    'text, kept',
    [
        ('step\tx\n1\t2\n2\t', 'step\tx\n1\t2\n'),  # cut short by a kill
        ('step\tx\n1\t2\n2', 'step\tx\n1\t2\n'),
        ('step\tx\n1\t2\n', 'step\tx\n1\t2\n'),
        ('', ''),
        ('a table of another kind\n', 'a table of another kind\n'),
    ],
)
def test_tables_of_dvclive(tmp_path, text, kept):
    (tmp_path / 'x.tsv').write_text(text)
    drop_later_rows(tmp_path / 'x.tsv', 1)
    assert (tmp_path / 'x.tsv').read_text() == kept
