"""Classes that the pseudo-labels lose are named once, on all ranks together and after a resumption too."""

import copy

import pytest
import torch
from tiny_semi import tiny_data, tiny_preprocessor, tiny_runner, tiny_student
from whole_runs import assert_same_checkpoint, on_ranks, train

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step import class_shares
from mmseg_semi.step.class_shares import ClassShareHook, ClassShares, lost_classes


def maps(*counts: int) -> torch.Tensor:
    """(1, 1, W) labels with so many pixels of each class, and a few ignored ones."""
    pixels = [c for c, count in enumerate(counts) for _ in range(count)]
    return torch.tensor([[pixels + [IGNORE] * 3]])


def test_which_classes_are_lost():
    labels = [500, 300, 100, 100, 0]
    assert lost_classes([500, 300, 100, 100, 0], labels) == ([4], [])
    # 100 of 1000 labelled pixels: less than 10 of 1000
    assert lost_classes([981, 0, 10, 9, 0], labels) == ([1, 4], [3])
    assert lost_classes([0, 0, 0, 0, 0], labels) == ([0, 1, 2, 3, 4], [])
    assert lost_classes([5, 5], [0, 0]) == ([], [])


def test_each_class_is_named_once_for_each_reason():
    shares = ClassShares(num_classes=3, length=2)
    names = ('road', 'pole', 'sign')
    labels = maps(50, 25, 25)

    def steps(*pseudo):
        assert shares.lines(names) == []
        lines = []
        for one in pseudo:
            shares.add(maps(*one), labels)
            lines.append(shares.lines(names))
        assert lines[0] == []
        return lines[-1]

    first = steps((50, 0, 0), (47, 1, 0))  # 1 of 98 is less than a tenth of a quarter
    assert len(first) == 2
    assert first[0].startswith("in 2 iterations, classes without a pseudo-label: 'sign' (25.00% of")
    assert (
        "below 1/10 of that among the labels: 'pole' (25.00% of the labelled pixels, 1.02%"
        in first[1]
    )
    assert steps((50, 0, 0), (47, 1, 0)) == []
    assert steps((50, 0, 5), (50, 0, 5))[0].count('(') == 1  # now 'pole' has none
    assert steps((50, 0, 0), (50, 0, 1)) == []
    (line,) = steps((0, 9, 9), (0, 9, 9))
    assert "'road' (50.00% of the labelled pixels" in line


def test_labels_are_those_of_all_steps_and_pseudo_labels_those_of_the_last_ones():
    shares = ClassShares(num_classes=2, length=1)
    shares.add(maps(1, 1), maps(0, 8))
    assert shares.lines(None) == []
    shares.add(maps(99, 1), maps(8, 0))
    assert shares.lines(None) == [
        'in 1 iterations, classes whose share among the pseudo-labels is below 1/10 of that among the labels: '
        '1 (50.00% of the labelled pixels, 1.00% of the pseudo-labels)'
    ]
    assert shares.counts.tolist() == [[0, 0], [8, 8]] and shares.steps == 0


def counts_of(rank: int, world_size: int) -> dict:
    if world_size > 1:
        torch.distributed.init_process_group('gloo')
    shares = ClassShares(num_classes=3, length=2)
    lines = []
    for step in range(3):
        pseudo = torch.tensor([[[0, 0, step]], [[1, IGNORE, 1]]])
        label_l = torch.tensor([[[0, 1, 2]], [[2, 2, IGNORE]]])
        mine = slice(None) if world_size == 1 else slice(rank, rank + 1)
        shares.add(pseudo[mine], label_l[mine])
        lines += shares.lines(None)
    state = shares.state()
    return dict(state, counts=state['counts'].tolist(), named=state['named'].tolist(), lines=lines)


def test_two_ranks_are_one_process_with_the_joint_batch():
    expected = counts_of(0, 1)
    assert expected['lines'] and expected['steps'] == 1
    assert on_ranks(counts_of, 2, 2) == [expected, expected]


def config(folder, method='fixmatch', **model):
    cfg = tiny_data(folder, method, iterations=8, checkpoint_interval=5, model=model)
    cfg.default_hooks.class_shares = dict(type='ClassShareHook')
    cfg.dump(cfg.filename)
    return cfg


@pytest.fixture
def said(monkeypatch):
    """What the hook logs."""
    lines = []
    monkeypatch.setattr(class_shares, 'print_log', lambda line, **_: lines.append(line))
    return lines


def test_a_resumed_run_names_no_class_twice_and_forgets_none(tmp_path, said):
    """Pseudo-labels begin in iteration 2, so pairs of steps end after 4, 6 and 8; the checkpoint is that of 5."""
    cfg = config(tmp_path, pseudo_label=dict(type='ConfidenceThreshold', threshold=0.0))
    cfg.default_hooks.class_shares.interval = 2
    cfg.dump(cfg.filename)
    train(cfg, tmp_path / 'whole')
    whole = copy.copy(said)
    assert whole and whole[0].startswith("in 2 iterations, classes without a pseudo-label: '")
    assert 'docs/pseudo_labels.md' in whole[0] and 'of the labelled pixels' in whole[0]
    said.clear()
    train(cfg, tmp_path / 'parts', stop=5)
    before = [*said]
    said.clear()
    train(cfg, tmp_path / 'parts', resume=True)
    assert before and before + said == whole
    early = torch.load(tmp_path / 'parts/iter_5.pth', weights_only=True)['class_shares']['']
    assert early['steps'] == 1 and early['named'].any() and early['counts'].sum() > 0
    state = assert_same_checkpoint(tmp_path / 'whole/iter_8.pth', tmp_path / 'parts/iter_8.pth')
    assert state['class_shares']['']['counts'][1].sum() > early['counts'][1].sum()


def test_epochs_and_models_without_pseudo_labels(tmp_path, said):
    runner = tiny_runner(config(tmp_path / 'a', 'supervised'), train_cfg__max_iters=2)
    runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, ClassShareHook))
    assert not said and hook.shares[''].steps == 0 and hook.shares[''].length == 2
    assert not any(key.startswith('class_shares') for key in runner.model.state_dict())
    runner = tiny_runner(config(tmp_path / 'b', iters_per_epoch=1), train_cfg__max_iters=1)
    runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, ClassShareHook))
    assert hook.shares[''].length == 8  # the validation's interval


def test_mistakes(tmp_path):
    with pytest.raises(SetupError, match='ClassShareHook: interval=0'):
        ClassShareHook(interval=0)
    plain = tiny_student(11) | dict(data_preprocessor=tiny_preprocessor() | dict(size=(32, 32)))
    runner = tiny_runner(config(tmp_path), model=dict(plain, _delete_=True))
    with pytest.raises(SetupError, match="ClassShareHook needs model.type='SemiSegmentor', found"):
        runner.train()
