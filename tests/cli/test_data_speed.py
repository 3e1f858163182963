"""tools/analysis/data_speed.py compares pipelines that give the same pictures; no word on speed."""

import re

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmseg_semi.cli.analysis import data_speed


@pytest.fixture
def tool():
    return data_speed


def test_both_pipelines_give_the_same_views(tool):
    init_default_scope('mmseg')
    (content,) = tool.files_of('voc', 1)
    ours, crop = tool.shipped_pipeline('voc', deferred=False)
    assert crop == 513
    for seed in range(6):
        np.random.seed(seed)
        weak, strong, valid = tool.plain_pipeline(content, crop, normalise=False)
        np.random.seed(seed)
        packed = ours(dict(img_path='', img_bytes=content, seg_fields=[]))
        images = [packed['inputs'][view].flip(0).int() for view in ('weak', 'strong')]
        assert (images[0] - weak).abs().max() <= 1
        assert (images[1] - strong).abs().float().mean() < 2
        # where a centre falls between two pixels, Pillow chooses either
        same = packed['data_samples']['weak'].valid_map.data[0] == valid
        assert same.float().mean() > 0.995
    normalised, _, _ = tool.plain_pipeline(content, crop, normalise=True)
    assert normalised.dtype == torch.float32 and normalised.abs().max() < 3


def test_pool_and_list_are_read_whole(tool, tmp_path, capsys):
    tool.main(
        ['pool', '--images', '160', '--per-shard', '30', '--workers', '0', '--work', str(tmp_path)]
    )
    out = capsys.readouterr().out
    assert '160 different images in 160 draws' in out
    assert len(re.findall(r'^ +\d+ +\d+ +\d+ +\d+, \d+', out, re.M)) == 10
    tool.main(['list', '--images', '50', '--draws', '4', '--work', str(tmp_path)])
    out = capsys.readouterr().out
    assert '54 images: checked in' in out and out.count('a worker: ') == 2
