"""MLflow: one run in a store that MLflow accepts."""

import sys
from pathlib import Path

import stand_in_trackers
from stand_in_trackers import start

from mmseg_semi.runtime.trackers.record import FILE


def test_mlflow_continues_the_run_in_a_database_of_the_work_folder(calls, tmp_path):
    stand_in_trackers.mlflow(calls)
    work = tmp_path / 'a'
    backend = start(work, 'MLflowVisBackend', run_name='r')
    (work / 'results.json').touch()
    (work / 'mlartifacts/run1/artifacts').mkdir(parents=True)
    (work / 'mlartifacts/run1/artifacts/config.py').touch()
    backend.close()
    start(work, 'MLflowVisBackend', run_name='r', resume=True).close()
    assert calls.of('start_run') == [dict(run_id='run1')] * 2
    assert {one['uri'] for one in calls.of('uri')} == {f'sqlite:///{work}/mlflow.db'}
    # the store is not copied into itself
    stored = {Path(one['path']).name for one in calls.of('artifact')}
    assert stored == {'results.json', FILE}
    params = sys.modules['mlflow'].runs['run1'].data.params
    assert params['resume'] == 'False'  # what a run has logged, MLflow never changes


def test_mlflow_begins_a_run_where_there_is_none_to_continue(calls, tmp_path):
    stand_in_trackers.mlflow(calls)
    start(tmp_path, 'MLflowVisBackend').close()
    start(tmp_path, 'MLflowVisBackend', exp_name='other', resume=True).close()
    sys.modules['mlflow'].runs['run2'].info.lifecycle_stage = 'deleted'
    start(tmp_path, 'MLflowVisBackend', exp_name='other', resume=True).close()
    del sys.modules['mlflow'].runs['run3']
    start(tmp_path, 'MLflowVisBackend', exp_name='other', resume=True)
    assert [one['run_id'] for one in calls.of('start_run')] == ['run1', 'run2', 'run3', 'run3']


def test_mlflow_of_the_environment(calls, tmp_path, monkeypatch):
    stand_in_trackers.mlflow(calls)
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'http://localhost:5000')
    start(tmp_path, 'MLflowVisBackend')
    assert {one['uri'] for one in calls.of('uri')} == {'http://localhost:5000'}
