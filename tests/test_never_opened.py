"""Masks of unlabelled images are no part of training: without them everything is as before."""

import json

import pytest
from tiny_semi import tiny_data
from whole_runs import assert_same_checkpoint, train

from mmseg_semi.data import splits
from mmseg_semi.preparing import split_lists


@pytest.fixture
def cfg(tmp_path):
    return tiny_data(tmp_path, 'ddfp', iterations=6, checkpoint_interval=6)


def test_training_with_the_masks_of_unlabelled_images_deleted(tmp_path, cfg):
    # a config that names their folder, as one that was copied from a labelled source does
    unlabeled = cfg.train_dataloader.dataset.unlabeled
    unlabeled.data_prefix.seg_map_path = 'labels/train'
    train(cfg, tmp_path / 'with')
    masks = tmp_path / 'data' / 'labels' / 'train'
    names = (tmp_path / 'data' / 'unlabeled.txt').read_text().split()
    assert len(names) == 6
    for name in names:
        (masks / f'{name}.png').unlink()
    train(cfg, tmp_path / 'without')
    assert_same_checkpoint(tmp_path / 'with/iter_6.pth', tmp_path / 'without/iter_6.pth')


def test_results_name_the_protocol_of_the_lists(tmp_path, cfg):
    data = tmp_path / 'data'
    names = {kind: (data / f'{kind}.txt').read_text().split() for kind in splits.KINDS}
    split_lists.write_split(data, *names.values(), dict(protocol='tiny 4 seed 0'))
    cfg.train_cfg.max_iters, cfg.train_cfg.val_interval, cfg.log_level = 1, 1, 'INFO'
    train(cfg, tmp_path / 'run')
    results = json.loads((tmp_path / 'run' / 'results.json').read_text())
    assert results['protocol'] == dict(
        protocol='tiny 4 seed 0', **{kind: splits.summarize(names[kind]) for kind in splits.KINDS}
    )
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert (
        f"protocol 'tiny 4 seed 0'; labelled SHA-256 {splits.hash_names(names['labeled'])}" in log
    )
