"""What a training shows to people: a summary, a line per interval or a bar, and the rest in the log file."""

import json
import logging
import os
import re
import select
import sys
from types import SimpleNamespace

import pytest
from tiny_semi import tiny_data
from whole_runs import train

from mmseg_semi.runtime import stack
from mmseg_semi.runtime.live_line import LiveLine
from mmseg_semi.runtime.progress import ProgressHook


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """What the console, the log file and the scalars of one run hold."""
    folder = tmp_path_factory.mktemp('progress')
    cfg = tiny_data(folder, 'fixmatch', iterations=12, val_interval=6)
    cfg.default_hooks.logger = dict(type='ProgressHook', interval=50, log_metric_by_epoch=False)
    cfg.model.monitor_interval = 50
    cfg.log_level = 'INFO'
    said: list[str] = []

    class Stream:
        write, flush = staticmethod(said.append), staticmethod(lambda: None)
        isatty = staticmethod(lambda: False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'stdout', Stream())
        runner = train(cfg, folder / 'run')
    (log,) = (folder / 'run').glob('*/*.log')
    (scalars,) = (folder / 'run').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    return SimpleNamespace(
        console=''.join(said),
        file=log.read_text(),
        scalars={line['iter']: line for line in lines if 'loss' in line},
        runner=runner,
    )


def test_the_summary_counts_what_is_there(run):
    rows = dict(re.findall(r'^(\w+) {2,}(.*)$', run.console, re.M))
    assert rows['data'] == '4 labelled and 6 unlabelled images'
    assert rows['validation'] == '2 images, every 6 iterations'
    # 12 iterations of 2 of 4 images
    expected = (
        '12 iterations of 2 labelled and 2 unlabelled images (6.0 passes over the labelled ones)'
    )
    assert rows['training'] == expected
    assert '11 classes: ' in rows['network'] and 'DeepLabV3PlusHead' in rows['network']
    assert rows['method'] == 'sup, selftrain; an EMA teacher labels; the teacher predicts'
    assert rows['results'].endswith('run')


def test_a_short_run_shows_every_loss(run):
    lines = re.findall(r'iteration +(\d+)/12  loss ([\d.]+)', run.console)
    assert [int(number) for number, _ in lines] == [*range(1, 13)]
    for number, loss in lines:  # the mean of ten, as in the file of scalars
        assert float(loss) == pytest.approx(run.scalars[int(number)]['loss'], abs=6e-4)
    assert run.runner.model.monitor_interval == 1
    assert 'selftrain.accuracy' in run.scalars[12]


def test_the_time_left_is_told_after_ten_iterations(run):
    (line,) = re.findall(r'.*10 iterations: .*', run.console)
    assert re.search(r'[\d.]+ s each, about \d+ s left, until \d\d:\d\d; [\d.]+ GiB', line)
    assert run.console.index('iteration 10/12') < run.console.index(line)


def test_validations_are_told_with_the_line(run):
    assert re.search(r'iteration  7/12 .* teacher mIoU [\d.]+ ', run.console)
    assert 'teacher/mIoU: last' in run.console


def test_the_rest_stands_in_the_file_alone(run):
    for text in ('System environment:', 'Config:\n', 'Hooks will be executed', 'Saving checkpoint'):
        assert text in run.file and text not in run.console
    assert 'Iter(train) [12/12]' in run.file and 'Iter(train)' not in run.console
    assert 'iteration 12/12' not in run.file
    assert 'paramwise_options' not in run.console
    assert len(run.console.splitlines()) < 110  # of which 60 are the classes of two validations


@pytest.mark.parametrize(
    ('interval', 'iterations', 'expected'),
    [(50, 20, 1), (50, 19, 1), (50, 600, 30), (50, 4000, 50), (10, 600, 10)],
)
def test_the_interval_follows_the_length(interval, iterations, expected):
    model = SimpleNamespace(monitor_interval=interval, module=None)
    hook = ProgressHook(interval)
    hook.shorten_interval(SimpleNamespace(max_iters=iterations, model=model))
    assert hook.interval == model.monitor_interval == expected


def read_all(reader: int) -> bytes:
    """All that was written to a terminal: a read gives what one write wrote, or less."""
    parts = []
    while select.select([reader], [], [], 0.2)[0]:
        parts.append(os.read(reader, 65536))
    return b''.join(parts)


def test_the_bar_on_a_terminal(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '60')
    reader, writer = os.openpty()
    stdout = sys.stdout
    with os.fdopen(writer, 'w') as terminal:
        handler = logging.StreamHandler(terminal)
        bar = LiveLine(handler, total=10, done=2)
        try:
            bar.show(3, 'loss 0.512 ' + 60 * 'x')
            handler.emit(logging.LogRecord('x', 20, '', 0, 'a line of the log', (), None))
        finally:
            bar.close()
        assert handler.stream is terminal and sys.stdout is stdout
        handler.flush()
        said = read_all(reader).decode()
    os.close(reader)
    lines = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', said).replace('\r', '\n').split('\n')
    assert 'a line of the log' in [line.strip() for line in lines]
    drawn = [line for line in lines if '3/10' in line and 'loss 0.512' in line]
    assert drawn and max(map(len, lines)) <= 60  # cut, not wrapped
    assert drawn[-1].rstrip().endswith('…')
    assert said.rfind('\x1b[?25h') > said.rfind('\x1b[?25l')  # the cursor is back


@pytest.mark.parametrize(
    ('keys', 'shown'),
    [
        ('_conv_head.weight, _bn1.running_mean, _bn1.num_batches_tracked, _fc.bias', False),
        ('fc.weight, fc.bias', False),
        ('fc.weight, layer4.0.conv1.weight', True),
        ('fc.weight\n\nmissing keys in source state_dict: layer4.0.conv1.weight', True),
    ],
)
def test_weights_that_lack_a_classifier_alone_are_no_warning(keys, shown):
    text = 'The model and loaded state dict do not match exactly\n\n'
    message = f'{text}unexpected key in source state_dict: {keys}\n'
    record = logging.LogRecord('mmengine', logging.WARNING, '', 0, message, (), None)
    assert stack._Reader(short=True, console=True).filter(record) is shown
    assert stack._Reader(short=False, console=False).filter(record)
