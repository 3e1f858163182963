import json
import logging
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from mmseg_semi.runtime.results import ResultsHook


@pytest.fixture
def runner(tmp_path, request):
    logger = logging.getLogger(request.node.name)
    logger.setLevel('INFO')
    hub = MessageHub(f'results of {tmp_path}')
    return SimpleNamespace(iter=0, work_dir=str(tmp_path), message_hub=hub, logger=logger)


def validate(runner, iteration: int, **metrics) -> dict:
    runner.iter = iteration
    names = {key.replace('__', '/'): value for key, value in metrics.items()}
    ResultsHook().after_val_epoch(runner, names)
    return written(runner)


def written(runner) -> dict:
    from pathlib import Path

    return json.loads(Path(runner.work_dir, 'results.json').read_text())


def test_last_and_best_of_every_network(runner, caplog):
    validate(runner, 10, teacher__mIoU=20.0, student__mIoU=25.0, teacher__aAcc=60)
    validate(runner, 20, teacher__mIoU=40.0, student__mIoU=30.0, teacher__aAcc=50)
    caplog.clear()
    with caplog.at_level('INFO', runner.logger.name):
        found = validate(runner, 30, teacher__mIoU=35.5, student__mIoU=36.0, teacher__aAcc=55)
    assert found['summary'] == {
        'teacher/mIoU': dict(last=35.5, last_iter=30, best=40.0, best_iter=20),
        'student/mIoU': dict(last=36.0, last_iter=30, best=36.0, best_iter=30),
        'teacher/aAcc': dict(last=55.0, last_iter=30, best=60.0, best_iter=10),
    }
    assert [entry['iter'] for entry in found['history']] == [10, 20, 30]
    assert found['history'][1]['student/mIoU'] == 30.0
    assert caplog.messages == [
        'teacher/mIoU: last 35.50 (iteration 30), best 40.00 (iteration 20)',
        'student/mIoU: last 36.00 (iteration 30), best 36.00 (iteration 30)',
    ]


def test_unlabelled_images_without_a_hash_have_a_count(runner):
    labeled = dict(count=3, sha256='ab')
    dataset = SimpleNamespace(
        protocol=dict(protocol=None, labeled=labeled, unlabeled=None),
        datasets=[range(3), range(5), range(7)],
    )
    runner._train_loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    found = validate(runner, 10, mIoU=20.0)['protocol']
    assert found == dict(protocol=None, labeled=labeled, unlabeled=dict(count=12, sha256=None))
    assert dataset.protocol['unlabeled'] is None
    dataset.datasets = dataset.datasets[:1]  # labelled images alone
    assert validate(runner, 20, mIoU=20.0)['protocol']['unlabeled'] is None


def test_of_equal_values_the_first_is_the_best(runner):
    validate(runner, 10, mIoU=20.0)
    assert validate(runner, 20, mIoU=20.0)['summary']['mIoU']['best_iter'] == 10


def test_a_resumed_run_goes_on_with_its_table(runner):
    validate(runner, 10, mIoU=50.0)
    state = runner.message_hub.state_dict()
    # a crash: 20 and 30 are validated, but the run resumes from 10
    validate(runner, 20, mIoU=90.0)
    validate(runner, 30, mIoU=95.0)
    runner.message_hub = MessageHub('another process')
    runner.message_hub.load_state_dict(state)
    found = validate(runner, 20, mIoU=40.0)
    assert [entry['iter'] for entry in found['history']] == [10, 20]
    assert found['summary']['mIoU'] == dict(last=40.0, last_iter=20, best=50.0, best_iter=10)
    # the same iteration validated twice is one entry
    found = validate(runner, 20, mIoU=41.0)
    assert [entry['iter'] for entry in found['history']] == [10, 20]
    assert found['summary']['mIoU']['last'] == 41.0


def test_without_metrics_nothing_is_written(runner, tmp_path):
    ResultsHook().after_val_epoch(runner, None)
    ResultsHook().after_val_epoch(runner, {})
    assert not list(tmp_path.iterdir())
