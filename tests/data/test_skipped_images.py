"""Images that cannot be read while training: the run stops, or goes on and tells."""

import pytest
import torch
from tiny_semi import tiny_data
from whole_runs import assert_same_checkpoint, train

from mmseg_semi.data.samplers import SampleKey
from mmseg_semi.data.skipped_images import FILE
from mmseg_semi.errors import SetupError

N = 2


def damaged(folder, policy: str | None, workers: int = 0):
    """A run of four iterations of 2 + 2 images, whose pool of six has two damaged ones."""
    cfg = tiny_data(
        folder, 'fixmatch', iterations=2 * N, checkpoint_interval=N, num_workers=workers
    )
    for name in ('train05', 'train07'):
        path = folder / 'data' / 'images' / 'train' / f'{name}.png'
        path.write_bytes(path.read_bytes()[:100])
    if policy:
        cfg.train_dataloader.dataset.on_unreadable = policy
    return cfg


@pytest.mark.parametrize('workers', [0, 2])
def test_the_run_stops_with_the_name_by_default(tmp_path, workers):
    with pytest.raises(SetupError, match=r'image \S+/train0[57].png \(100 bytes\) cannot'):
        train(damaged(tmp_path, None, workers), tmp_path / 'run')
    assert not (tmp_path / 'run' / FILE).exists()


def test_skipped_images_are_named_counted_and_replaced_by_the_seed(tmp_path, shallow):
    cfg = damaged(tmp_path, 'skip')
    cfg.log_level = 'WARNING'
    train(cfg, tmp_path / 'whole')
    lines = (tmp_path / 'whole' / FILE).read_text().splitlines()
    # eight draws from six images, two of which are damaged
    assert len(lines) >= 2
    assert all('train05.png' in line or 'train07.png' in line for line in lines)
    for line in lines:
        problem, _, taken = line.partition('; taken instead: ')
        assert 'cannot be decoded' in problem and taken.endswith('.png')
        assert taken.rpartition('/')[2] not in ('train05.png', 'train07.png')
        assert int(taken[-6:-4]) >= 4  # of the same source: the first four are labelled
    log = next((tmp_path / 'whole').glob('*/*.log')).read_text()
    assert lines[0] in log
    assert f'skipped: 2 files could not be read, {len(lines)} times in this run' in log

    # stopped and continued, by workers: same images, same record, same weights
    cfg = damaged(tmp_path, 'skip', workers=2)
    train(cfg, tmp_path / 'parts', stop=N)
    train(cfg, tmp_path / 'parts', resume=True)
    assert_same_checkpoint(
        tmp_path / 'whole' / f'iter_{2 * N}.pth', tmp_path / 'parts' / f'iter_{2 * N}.pth'
    )
    assert set((tmp_path / 'parts' / FILE).read_text().splitlines()) == set(lines)


def test_replacements_follow_from_the_sample_alone(tmp_path):
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS

    init_default_scope('mmseg')
    cfg = damaged(tmp_path, 'skip').train_dataloader.dataset
    dataset = DATASETS.build(cfg)
    bad = 5  # train05, the second of the pool behind four labelled images
    taken = set()
    for seed in range(30):
        a, b = (dataset[SampleKey(bad, seed)] for _ in range(2))
        assert torch.equal(a['inputs']['weak'], b['inputs']['weak'])
        sample = a['data_samples']['weak']
        assert len(sample.skipped) >= 1 and 'train05' in sample.skipped[0]
        assert sample.img_path == b['data_samples']['weak'].img_path
        taken.add(sample.img_path[-11:])
    assert taken == {f'train{i:02d}.png' for i in (4, 6, 8, 9)}
    assert 'skipped' not in dataset[SampleKey(4, 0)]['data_samples']['weak'].metainfo
    assert dataset[bad]['data_samples']['weak'].skipped

    for path in (tmp_path / 'data' / 'images' / 'train').glob('*.png'):
        path.write_bytes(b'')
    with pytest.raises(SetupError, match='10 images in a row cannot be read, the last: image'):
        dataset[SampleKey(bad, 0)]
    with pytest.raises(SetupError, match="on_unreadable='ignore', expected 'stop' or 'skip'"):
        DATASETS.build({**cfg, 'on_unreadable': 'ignore'})
