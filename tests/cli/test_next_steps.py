"""What the command that trains tells to type next: commands that are there, and the better network."""

import re
import sys
from types import SimpleNamespace

import pytest
from tiny_predictor import write_photos
from tiny_semi import tiny_data
from whole_runs import call_tool

from mmseg_semi.cli import next_steps
from mmseg_semi.cli.train import parse_args


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (['a.py'], 'a.py --resume'),
        (['a.py', '--resume', '--amp'], 'a.py --amp --resume'),
        (['a.py', '--resume', 'x.pth', '--time', '2h'], 'a.py --time 2h --resume'),
        (['a.py', '--resume=x.pth'], 'a.py --resume'),
        (
            ['my a.py', '--cfg-options', 'x.y=[1,2]', 'z=3'],
            "'my a.py' --cfg-options 'x.y=[1,2]' z=3 --resume",
        ),
    ],
)
def test_the_command_that_goes_on(monkeypatch, given, expected):
    for called, start in (
        ('tools/train.py', 'python tools/train.py '),
        ('/usr/bin/mmseg-semi train', 'mmseg-semi train '),
    ):
        monkeypatch.setattr(sys, 'argv', [called])
        assert next_steps.resume_command(parse_args(given)) == start + expected

    assert 'with --resume' in next_steps.resume_command(parse_args(['a.py', '--launcher', 'slurm']))


def fake_runner(scores: dict, folder) -> SimpleNamespace:
    history = [{'iter': 4, **{f'{name}/mIoU': value for name, value in scores.items()}}]
    info = dict(results=history, last_ckpt=f'{folder}/iter_4.pth', best_ckpt=f'{folder}/best.pth')
    return SimpleNamespace(
        message_hub=SimpleNamespace(runtime_info=info),
        model=SimpleNamespace(predicting_network='teacher'),
    )


@pytest.mark.parametrize(
    ('scores', 'expected'),
    [
        (dict(teacher=60.0, student=50.0), ('best.pth', 'teacher')),
        (dict(teacher=50.0, student=60.0), ('iter_4.pth', 'student')),
        (dict(teacher=50.0, student=50.0), ('best.pth', 'teacher')),
        (dict(student=50.0), ('iter_4.pth', 'student')),  # of networks=['student']
    ],
)
def test_the_network_that_is_better_at_the_end(tmp_path, monkeypatch, scores, expected):
    monkeypatch.chdir(tmp_path)
    runner = fake_runner(scores, tmp_path)
    assert next_steps.choose(runner, next_steps.last_scores(runner)) == expected


def test_what_is_told_can_be_typed(tmp_path, monkeypatch, capfd):
    cfg = tiny_data(tmp_path, 'fixmatch', iterations=2, checkpoint_interval=2)
    monkeypatch.chdir(tmp_path)
    call_tool(
        'train', cfg.filename, '--cfg-options', 'experiment_name=next', 'visualizer.name=next'
    )
    said = capfd.readouterr().out
    commands = re.findall(r'^  python \S*tools/(\w+)\.py (.*)$', said, re.M)
    assert [name for name, _ in commands] == ['test', 'predict', 'publish']
    assert 'finished after 2 iterations; last mIoU: teacher ' in said
    for name, arguments in commands:
        more = ['--work-dir', 'tested'] if name == 'test' else []
        words = arguments.replace('FOLDER_OF_IMAGES', 'photos').split()
        if name == 'predict':
            write_photos(tmp_path / 'photos', [(36, 48)])
            with pytest.raises(SystemExit) as ended:
                call_tool(name, *words)
            assert not ended.value.code and (tmp_path / 'predictions/masks/p0.png').is_file()
            continue
        call_tool(name, *words, *more)
    assert [*tmp_path.glob('work_dir/published/*.pth')]
