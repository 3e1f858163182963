"""What ReportHook counts, keeps and writes in a training, and what happens if it cannot."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import ValLoop
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from report_runs import CLASS, IMAGE
from tiny_semi import tiny_data
from whole_runs import assert_same_checkpoint, train

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.report import confusion
from mmseg_semi.runtime.report import hook as module
from mmseg_semi.runtime.report.hook import ReportHook


def masks(folder: Path, names) -> list[np.ndarray]:
    return [np.asarray(Image.open(folder / f'{name}.png')) for name in names]


def test_the_matrix_has_the_scores_of_the_metrics(finished):
    results = json.loads((finished.folder / 'results.json').read_text())
    assert [entry['iter'] for entry in finished.data['validations']] == [4, 8]
    assert finished.data['iter'] == finished.data['max_iters'] == 8
    assert finished.data['predicting'] == 'teacher'
    for network in ('teacher', 'student'):
        matrix = np.array(finished.data['matrix'][network])
        accuracy = 100 * np.trace(matrix) / matrix.sum()
        assert accuracy == pytest.approx(results['history'][1][f'{network}/aAcc'], abs=0.006)
        for entry, scores in zip(finished.data['validations'], results['history'], strict=True):
            known = [iou for iou in entry['iou'][network] if iou is not None]
            assert np.mean(known) == pytest.approx(scores[f'{network}/mIoU'], abs=0.006)


def test_pixels_and_images_of_each_class_are_those_of_the_masks(finished):
    root = finished.folder.parent / 'data/labels'
    val = masks(root / 'val', (IMAGE, 'val01'))
    expected = [sum((mask == c).sum() for mask in val) for c in range(11)]
    assert np.array(finished.data['matrix']['teacher']).sum(1).tolist() == expected
    assert finished.data['shows'] == [sum((mask == c).any() for mask in val) for c in range(11)]
    labeled = masks(root / 'train', [f'train{i:02d}' for i in range(4)])
    assert finished.data['labels'] == dict(
        images=4,
        counted=4,
        pixels=[sum(int((mask == c).sum()) for mask in labeled) for c in range(11)],
        shows=[sum(bool((mask == c).any()) for mask in labeled) for c in range(11)],
    )


def test_pseudo_labels_are_counted_from_the_start(finished):
    first, last = (entry['shares'] for entry in finished.data['validations'])
    # self-training begins in iteration 2; with threshold 0 every pixel of two crops has a label, but for padding
    assert 0 < sum(first['pseudo']) <= 2 * 2 * 32 * 32 < sum(last['pseudo']) <= 6 * 2 * 32 * 32
    assert sum(first['labelled']) < sum(last['labelled'])
    state = torch.load(finished.folder / 'iter_8.pth', weights_only=True)
    assert state['class_shares']['']['total'] == last['pseudo']


def test_each_image_is_shown_once(finished):
    best, worst = finished.data['best'], finished.data['worst']
    assert len(best) == len(worst) == 1 and best[0]['score'] >= worst[0]['score']
    assert {best[0]['name'], worst[0]['name']} == {f'val/{IMAGE}.png', 'val/val01.png'}


def test_a_resumed_run_keeps_what_was_before(finished, tmp_path):
    parts = tmp_path / 'parts'
    train(finished.cfg, parts, stop=6)
    assert len(json.loads((parts / 'report_data.json').read_text())['validations']) == 1
    train(finished.cfg, parts, resume=True)
    data = json.loads((parts / 'report_data.json').read_text())
    assert data == finished.data
    assert_same_checkpoint(finished.folder / 'iter_8.pth', parts / 'iter_8.pth')


def test_a_page_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    """The training ends as it would have, the reason is in its log, and the page before stays."""
    cfg = tiny_data(tmp_path, 'supervised', iterations=2, val_interval=1)
    cfg.default_hooks.report = dict(type='ReportHook')
    cfg.log_level = 'WARNING'
    write, calls = module.write_page, []

    def fail_later(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, 'No space left on device')
        write(*arguments)

    monkeypatch.setattr(module, 'write_page', fail_later)
    runner = train(cfg, tmp_path / 'run')
    assert runner.iter == 2 and len(calls) == 2
    assert 'Iteration 1 of 2' in (tmp_path / 'run/report.html').read_text()
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert 'report of iteration 2 could not be made (OSError: [Errno 28] No space' in text
    assert text.count('could not be made') == 1 and 'default_hooks.report=None' in text
    assert not any(metric.results for metric in runner.val_loop.evaluator.metrics)
    assert len(runner.val_loop.evaluator.metrics) == 1


def test_switched_off(tmp_path):
    cfg = tiny_data(tmp_path, 'supervised', iterations=1)
    cfg.default_hooks.report = None
    runner = train(cfg, tmp_path / 'run')
    assert not any(isinstance(hook, ReportHook) for hook in runner.hooks)
    assert not list((tmp_path / 'run').glob('report.*'))


def test_settings_that_cannot_work(tmp_path):
    with pytest.raises(SetupError, match='pictures=-1, count_masks=200; expected numbers >= 0'):
        ReportHook(pictures=-1)
    with pytest.raises(SetupError, match="gone' is no folder; name the work folder"):
        ReportHook(beside=str(tmp_path / 'gone')).before_train(None)


# -- without a training ------------------------------------------------------------------------


def stub(folder: Path, images: int) -> SimpleNamespace:
    """What the hook uses of a runner whose validation set has ``images`` images of two classes."""
    loop = object.__new__(ValLoop)
    meta = dict(classes=('a', CLASS))

    class Images(list):
        metainfo = meta

    loop.dataloader = SimpleNamespace(dataset=Images(range(images)))
    loop._evaluator = loop.evaluator = SimpleNamespace(metrics=[])
    (folder / 'now/vis_data').mkdir(parents=True, exist_ok=True)
    (folder / 'now/vis_data/scalars.json').write_text('{"loss": 1.0, "iter": 5}\n')
    return SimpleNamespace(
        val_loop=loop,
        work_dir=str(folder),
        iter=5,
        max_iters=5,
        hooks=[],
        model=SimpleNamespace(data_preprocessor=None, predicting_network='student'),
        message_hub=MessageHub(f'report {folder}'),
        logger=MMLogger.get_current_instance(),
        train_dataloader=SimpleNamespace(dataset=Unlabeled()),
    )


class Unlabeled(list):
    """A data set without masks."""

    def __init__(self) -> None:
        super().__init__([0])

    def get_data_info(self, index: int) -> dict:
        return dict(img_path='a.png')


def sample(number: int) -> SegDataSample:
    """Image ``number`` of three, whose predictions are right in ``number`` of 3 pixels."""
    truth = torch.tensor([[[0, 1, 1]]])
    predicted = torch.where(torch.arange(3) < number, truth, 1 - truth)
    return SegDataSample(
        gt_sem_seg=PixelData(data=truth),
        pred_sem_seg=PixelData(data=predicted),
        metainfo=dict(img_path=f'{number}.png'),
    )


def validate(folder: Path, numbers=(0, 1, 2), runner=None) -> dict | None:
    """A validation of three images, of which this rank gets ``numbers``."""
    runner = runner or stub(folder, images=3)
    hook = ReportHook(pictures=1)
    hook.before_train(runner)
    hook.before_val_epoch(runner)
    for number in numbers:
        inputs = [torch.full((3, 1, 3), 60 * number, dtype=torch.uint8)]
        outputs = [sample(number)]
        for metric in runner.val_loop.evaluator.metrics:
            metric.process(dict(inputs=inputs), [one.to_dict() for one in outputs])
        hook.after_val_iter(runner, 0, dict(inputs=inputs), outputs)
    hook.after_val_epoch(runner, {})
    path = folder / 'report_data.json'
    return json.loads(path.read_text()) if path.exists() else None


def test_two_ranks_are_one_process(tmp_path, monkeypatch):
    """tests/test_distributed.py has two processes; here the second rank's part is there before the first one's."""
    expected = validate(tmp_path / 'one')
    # by hand: image 0 has 0 of 3 pixels right, image 1 one, image 2 two
    assert expected['matrix'] == {'student': [[2, 1], [5, 1]]}
    assert expected['shows'] == [3, 3] and expected['labels'] is None
    assert expected['validations'][0]['iou']['student'] == pytest.approx([25.0, 100 / 7])
    assert [case['name'] for case in expected['best'] + expected['worst']] == ['2.png', '0.png']
    assert expected['best'][0]['score'] == pytest.approx(0.5)  # 1 of 2, and 1 of 2
    parts = []

    def gather(part):
        parts.insert(0, part)
        return list(parts)

    monkeypatch.setattr(module, 'all_gather_object', gather)
    # the sampler gives the second rank the first image again, as MMEngine's does
    for rank, numbers in ((1, (1, 0)), (0, (0, 2))):
        monkeypatch.setattr(confusion, 'get_dist_info', lambda rank=rank: (rank, 2))
        monkeypatch.setattr(module, 'is_main_process', lambda rank=rank: rank == 0)
        found = validate(tmp_path / 'two', numbers)
        assert found == (None if rank else expected)


def test_the_network_that_predicts_may_be_left_out(tmp_path):
    """With val_cfg.networks=['teacher'] of a model whose student predicts, the pictures are the teacher's."""
    runner = stub(tmp_path, images=3)
    runner.val_loop.evaluators = dict(teacher=runner.val_loop.evaluator)
    found = validate(tmp_path, runner=runner)
    assert list(found['matrix']) == ['teacher'] and found['predicting'] == 'student'
    assert len(found['best']) == 1
    assert 'prediction of the teacher' in (tmp_path / 'report.html').read_text()


@pytest.mark.parametrize('place', ['confusion_matrix', 'shrink_case'])
def test_what_cannot_be_counted_is_a_warning(place, tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError('no such\nshape')

    monkeypatch.setattr(confusion if place == 'confusion_matrix' else module, place, fail)
    lines = []
    monkeypatch.setattr(
        MMLogger.get_current_instance(), 'warning', lambda line, **_: lines.append(line)
    )
    assert validate(tmp_path) is None  # nothing was written
    (line,) = lines
    assert line.startswith(
        'ReportHook: the report of iteration 5 could not be made (ValueError: no such shape); '
    )


def test_loops_without_an_evaluator_of_one_data_set(tmp_path):
    """Such as that of several domains: the page has curves and no classes."""
    runner = stub(tmp_path, 3)
    runner.val_loop = SimpleNamespace()
    hook = ReportHook()
    hook.before_train(runner)
    hook.before_val_epoch(runner)
    hook.after_val_epoch(runner, {})
    page = (tmp_path / 'report.html').read_text()
    assert 'Sum of the losses' in page and '<h2>Classes</h2>' not in page
    assert 'matrix' not in json.loads((tmp_path / 'report_data.json').read_text())


def test_a_validation_outside_of_a_training_writes_nothing(tmp_path):
    runner = stub(tmp_path, 3)
    hook = ReportHook()
    hook.before_val_epoch(runner)
    hook.after_val_epoch(runner, {})
    assert not runner.val_loop.evaluator.metrics and not (tmp_path / 'report.html').exists()


def test_the_config_of_every_training_has_it():
    root = Path(__file__).resolve().parents[3]
    cfg = Config.fromfile(root / 'configs/_base_/default_runtime.py')
    assert cfg.default_hooks.report == dict(type='ReportHook')
