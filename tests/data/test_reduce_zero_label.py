"""Masks whose label 0 is ignored (ADE20K): what training, its checks and validation make of them."""

import re
from pathlib import Path
from threading import Barrier, Thread, local

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmseg.registry import DATASETS
from PIL import Image
from tiny_semi import tiny_data, tiny_runner
from whole_runs import call_tool

from mmseg_semi.data import checks
from mmseg_semi.errors import SetupError

CLASSES = 150


def masks(folder: Path) -> list[Path]:
    return sorted((folder / 'data/labels').rglob('*.png'))


def rewrite(paths: list[Path], change) -> None:
    for path in paths:
        labels = change(np.array(Image.open(path)).astype(int))
        Image.fromarray(labels.astype(np.uint8)).save(path)


@pytest.fixture
def cfg(tmp_path) -> Config:
    """A run on a folder like ADE20K's: labels 1 to 150 (here 1 to 11 and 150), 0 where none is."""
    cfg = tiny_data(tmp_path, 'fixmatch', iterations=4, checkpoint_interval=4)
    rewrite(masks(tmp_path), lambda labels: np.where(labels == 255, 0, labels + 1))
    rewrite(masks(tmp_path), lambda labels: np.where(labels == 5, CLASSES, labels))
    data = cfg.train_dataloader.dataset
    for source in (data.labeled, data.unlabeled, cfg.val_dataloader.dataset):
        source.update(type='ADE20KDataset', serialize_data=False)
    data.labeled.pipeline[1].num_classes = CLASSES
    cfg.test_dataloader = cfg.val_dataloader
    cfg.model.student.decode_head.num_classes = CLASSES
    cfg.model.pseudo_label.threshold = 0.0
    return cfg


def expected(path: str) -> np.ndarray:
    raw = np.array(Image.open(path)).astype(int)
    return np.where(raw == 0, 255, raw - 1)


def test_a_whole_run(cfg, tmp_path):
    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            samples = data_batch['data_samples']['labeled'][:2]
            found.update(*(sample.gt_sem_seg.data.unique().tolist() for sample in samples))

    found = set()
    runner = tiny_runner(cfg)
    runner.register_hook(Look())
    runner.train()
    assert found <= {0, 1, 2, 3, 149, 5, 6, 7, 8, 9, 10, 255} and len(found) > 8
    dataset = runner.train_dataloader.dataset
    assert all(source.reduce_zero_label for source in dataset.datasets)
    step = dataset.datasets[0].pipeline.transforms[1]
    for index in range(4):
        info = dataset.datasets[0].get_data_info(index)
        labels = step.transform(dict(info, seg_fields=[]))['gt_seg_map']
        assert np.array_equal(labels, expected(info['seg_map_path']))
    for index in range(2):  # validation reads by MMSegmentation's own transform
        item = runner.val_dataloader.dataset[index]['data_samples']
        assert np.array_equal(item.gt_sem_seg.data[0], expected(item.seg_map_path))
    scores = runner.message_hub.get_info('results')[-1]
    assert {'student/mIoU', 'teacher/mIoU'} <= set(scores)
    assert (tmp_path / 'work_dir/iter_4.pth').is_file()


def test_masks_that_begin_at_class_0_are_refused(cfg, tmp_path, capfd):
    rewrite(masks(tmp_path), lambda labels: np.where(labels == 0, 255, labels - 1))
    cfg.dump(cfg.filename)
    with pytest.raises(SystemExit) as exit_info:
        call_tool('train', cfg.filename, '--work-dir', tmp_path / 'run')
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    assert exit_info.value.code == 2 and len(said) == 1
    assert 'holds pixels of 255, and none of 4 masks holds the label 150' in said[0]
    assert 'ADE20KDataset has reduce_zero_label=True' in said[0]
    assert 'reduce_zero_label=False in the data sets of training and validation' in said[0]
    # as the sentence says
    data = cfg.train_dataloader.dataset
    for source in (data.labeled, data.unlabeled, cfg.val_dataloader.dataset):
        source.reduce_zero_label = False
    item = DATASETS.build(data)[0]['data_samples']['labeled']
    assert set(torch.unique(item.gt_sem_seg.data).tolist()) <= {*range(11), 149, 255}


def test_ignored_pixels_of_255_are_no_reason_where_the_last_class_is_there(cfg, tmp_path):
    rewrite(masks(tmp_path)[:1], lambda labels: np.where(labels == 0, 255, labels))
    dataset = DATASETS.build(cfg.train_dataloader.dataset).datasets[0]
    info = dataset.get_data_info(0)
    labels = dataset.pipeline.transforms[1].transform(dict(info, seg_fields=[]))['gt_seg_map']
    assert set(labels[:3, :3].ravel()) == {255}


def on_two_ranks(dataset: BaseDataset, monkeypatch) -> list[str]:
    """What the check says on each of two ranks, which are threads here; '' if nothing."""
    both, rank, parts, said = Barrier(2), local(), [None, None], ['', '']

    def gather(part):
        parts[rank.number] = part
        both.wait(60)
        found = list(parts)
        both.wait(60)  # a next gathering must not begin before both have read this one
        return found

    def check(number):
        rank.number = number
        try:
            checks.check_label_values(dataset, CLASSES)
        except SetupError as error:
            said[number] = str(error)

    monkeypatch.setattr(checks, 'get_dist_info', lambda: (rank.number, 2))
    monkeypatch.setattr(checks, 'all_gather_object', gather)
    ranks = [Thread(target=check, args=(number,)) for number in (0, 1)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join()
    assert None not in parts
    return said


def test_ranks_decide_together(cfg, monkeypatch):
    """Rank 0 reads masks 0 and 2, rank 1 reads masks 1 and 3."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset).datasets[0]
    dataset.full_init()
    paths = [Path(dataset.get_data_info(index)['seg_map_path']) for index in range(4)]
    mine, other = paths[::2], paths[1::2]
    # rank 0 alone has 255, rank 1 alone has class 150
    rewrite(mine, lambda labels: np.where(labels == CLASSES, 7, labels))
    rewrite(mine, lambda labels: np.where(labels == 0, 255, labels))
    assert on_two_ranks(dataset, monkeypatch) == ['', '']
    rewrite(other, lambda labels: np.where(labels == CLASSES, 7, labels))
    first, second = on_two_ranks(dataset, monkeypatch)
    assert first == second
    assert f'{paths[0]} holds pixels of 255, and none of 4 masks holds the label 150' in first
    # a rank that refuses a mask keeps no other one waiting; whether it has read its second one depends on its threads
    rewrite(other[:1], lambda labels: np.full_like(labels, CLASSES + 1))
    first, second = on_two_ranks(dataset, monkeypatch)
    assert re.search('none of [23] masks', first) and 'holds the label 151' in second


def test_a_label_above_the_classes_is_refused(cfg, tmp_path):
    rewrite(masks(tmp_path)[:1], lambda labels: np.where(labels == CLASSES, CLASSES + 1, labels))
    with pytest.raises(SetupError) as error:
        tiny_runner(cfg).train()
    sentence = str(error.value)
    assert 'holds the label 151 (' in sentence and '\n' not in sentence
    assert 'labels must be 1 to 150 (reduce_zero_label=True), or 0 for pixels to ignore' in sentence


def test_a_choice_of_classes_keeps_the_labels_of_the_files(cfg, tmp_path):
    # MMSegmentation maps the classes that are not chosen to 255
    chosen = ('wall', 'sky')
    labeled = dict(cfg.train_dataloader.dataset.labeled, metainfo=dict(classes=chosen))
    labeled['pipeline'][1]['num_classes'] = len(chosen)
    rewrite(masks(tmp_path)[:1], lambda labels: np.where(labels == 0, 255, labels))
    dataset = DATASETS.build(dict(type='SemiDataset', labeled=labeled)).datasets[0]
    info = dataset.get_data_info(0)
    labels = dataset.pipeline.transforms[1].transform(dict(info, seg_fields=[]))['gt_seg_map']
    before = expected(info['seg_map_path'])
    assert np.array_equal(labels == 0, before == 0) and np.array_equal(labels == 1, before == 2)
    assert (labels[(before != 0) & (before != 2)] == 255).all()
