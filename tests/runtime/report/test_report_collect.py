"""What is read of a run's folder."""

import json
from pathlib import Path

import pytest

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.report.collect import read_run


def write_log(folder: Path, start: str, *entries: dict, tail: str = '') -> Path:
    path = folder / start / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in entries) + tail)
    return path


def test_a_resumed_run_is_one_run(tmp_path):
    """The first start crashed at 40, after its checkpoint of 20; the second went on from there."""
    steps = [{'loss': i / 10, 'lr': 0.1, 'iter': i, 'step': i} for i in (10, 20, 30, 40)]
    score = {'teacher/mIoU': 1.0, 'time': 0.1, 'step': 20}
    late = {'teacher/mIoU': 9.0, 'step': 40}
    write_log(tmp_path, '20261128_1', *steps[:2], score, *steps[2:], late, tail='{"loss": 0.')
    again = [{'loss': 7.0, 'iter': i, 'step': i} for i in (30, 50)]
    write_log(tmp_path, '20261128_2', *again, {'teacher/mIoU': 2.0, 'step': 40})
    run = read_run(tmp_path)
    assert run.scalars['loss'] == [(10, 1.0), (20, 2.0), (30, 7.0), (50, 7.0)]
    assert run.scalars['lr'] == [(10, 0.1), (20, 0.1)]
    assert run.metric('teacher') == [(20, 1.0), (40, 2.0)]
    assert run.networks == ['teacher'] and run.predicting == 'teacher' and run.last_iter == 50


def test_two_starts_of_one_second_share_a_file(tmp_path):
    steps = [{'loss': float(i), 'iter': i, 'step': i} for i in (10, 20, 30)]
    write_log(tmp_path, '1', *steps, {'loss': 7.0, 'iter': 20, 'step': 20})
    assert read_run(tmp_path).scalars['loss'] == [(10, 10.0), (20, 7.0)]


def test_results_replace_the_log_s_validations(tmp_path):
    write_log(tmp_path, '1', {'student/mIoU': 1.0, 'step': 5})
    results = dict(history=[{'iter': 5, 'student/mIoU': 2.0}], protocol=dict(protocol='mine'))
    (tmp_path / 'results.json').write_text(json.dumps(results))
    run = read_run(tmp_path)
    assert run.metric('student') == [(5, 2.0)] and run.protocol == dict(protocol='mine')


@pytest.mark.parametrize(
    ('keys', 'metrics', 'expected'),
    [
        (['sup.decode.loss_ce', 'sup.aux.loss_ce'], ['student/mIoU'], True),
        (['decode.loss_ce', 'aux_0.loss_ce'], ['mIoU'], True),
        (['sup.decode.loss_ce', 'cct.loss'], ['student/mIoU'], False),
        (['sup.decode.loss_ce', 'peer.sup.decode.loss_ce'], ['student/mIoU', 'peer/mIoU'], False),
        (['sup.decode.loss_ce'], ['student/mIoU', 'teacher/mIoU'], False),
    ],
)
def test_supervised_runs(keys, metrics, expected, tmp_path):
    write_log(
        tmp_path,
        '1',
        {'loss': 1, 'iter': 1, **dict.fromkeys(keys, 1)},
        {'step': 1, **dict.fromkeys(metrics, 1)},
    )
    assert read_run(tmp_path).is_supervised is expected


def test_the_newest_config_is_read_and_not_run(tmp_path):
    write_log(tmp_path, '1').with_name('config.py').write_text('old')
    write_log(tmp_path, '2').with_name('config.py').write_text('raise SystemExit')
    assert read_run(tmp_path).config == 'raise SystemExit'


def test_pictures_of_pseudo_labels(tmp_path):
    write_log(tmp_path, '1')
    (tmp_path / 'pseudo_labels').mkdir()
    for name in ('iter_9.png', 'iter_10.png', 'iter_x.png', '.iter_11.png.7.draft'):
        (tmp_path / 'pseudo_labels' / name).touch()
    assert sorted(read_run(tmp_path).pseudo_pictures) == [9, 10]


def test_what_is_no_run(tmp_path):
    with pytest.raises(SetupError, match="gone' is no folder; name the work folder"):
        read_run(tmp_path / 'gone')
    with pytest.raises(SetupError, match='holds no training: neither results.json nor'):
        read_run(tmp_path)
    path = write_log(tmp_path, '1', {'loss': 1, 'iter': 1})
    path.write_text('nonsense\n{"loss": 1, "iter": 2}\n')
    with pytest.raises(
        SetupError, match=r'scalars.json, line 1 is no JSON \(.*\); remove the line'
    ):
        read_run(tmp_path)
    path.write_text('[]\n')
    with pytest.raises(SetupError, match='line 1 is no JSON object'):
        read_run(tmp_path)
    path.write_text('')
    for content, words in (
        ('{', r'results.json is no JSON \('),
        ('[]', 'holds a list, expected a'),
    ):
        (tmp_path / 'results.json').write_text(content)
        with pytest.raises(SetupError, match=words):
            read_run(tmp_path)


def test_data_of_another_version(tmp_path):
    write_log(tmp_path, '1')
    (tmp_path / 'report_data.json').write_text('{"format": 99}')
    with pytest.raises(
        SetupError, match='report_data.json has format=99, expected 1: another version'
    ):
        read_run(tmp_path)


def test_the_mean_of_several_domains_comes_first(tmp_path):
    keys = ('a/teacher/mIoU', 'mean/teacher/mIoU', 'mean/mIoU')
    write_log(tmp_path, '1', {'step': 5, **dict.fromkeys(keys, 1.0)})
    assert read_run(tmp_path).networks == ['mean', 'a/teacher', 'mean/teacher']
