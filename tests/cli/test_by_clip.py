"""tools/test.py --pool and --by-clip against an own confusion matrix."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_semi import tiny_data, tiny_runner
from torch import nn

from mmseg_semi.cli import test as tool

NAMES = {'labeled': ['A_000', 'A_001', 'B_000', 'B_001']}
NAMES['unlabeled'] = ['A_002', 'A_003', 'B_002', 'B_003', 'C_left_000', 'C_left_001']
CLIPS = {
    'A': NAMES['unlabeled'][:2],
    'B': NAMES['unlabeled'][2:4],
    'C_left': NAMES['unlabeled'][4:],
}


def name_by_clip(data: Path) -> None:
    """Give the training frames names with clips; the frames of clip B lose class 0 from their masks."""
    for kind in ('images', 'labels'):
        names = NAMES['labeled'] + NAMES['unlabeled']
        for old, new in zip(sorted((data / kind / 'train').iterdir()), names, strict=True):
            old.rename(old.with_name(f'{new}.png'))
    for kind, names in NAMES.items():
        (data / f'{kind}.txt').write_text(''.join(f'{name}\n' for name in names))
    for name in CLIPS['B']:
        path = data / 'labels/train' / f'{name}.png'
        mask = np.array(Image.open(path))
        mask[mask == 0] = 255
        Image.fromarray(mask).save(path)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config, the checkpoint of two different networks, and that runner."""
    folder = tmp_path_factory.mktemp('by_clip')
    cfg = tiny_data(folder, 'fixmatch', iterations=1, checkpoint_interval=1)
    name_by_clip(folder / 'data')
    runner = tiny_runner(cfg)
    runner.train()
    torch.manual_seed(0)
    for network in runner.model.networks.values():
        nn.init.normal_(network.decode_head.conv_seg.weight)
        nn.init.constant_(network.decode_head.conv_seg.bias, 0.0)
        network.decode_head.conv_seg.bias.data[[0, 10]] = -1e3  # classes that are never predicted
    runner.save_checkpoint(str(folder), 'iter_7.pth', save_optimizer=False)
    return Path(cfg.filename), folder / 'iter_7.pth', runner


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'work'


_runs = iter(range(1000))


def call(config, checkpoint, out, *options) -> dict:
    run = f'by_clip{next(_runs)}'
    named = ['--cfg-options', f'experiment_name={run}', f'visualizer.name={run}']
    tool.main([str(config), str(checkpoint), '--work-dir', str(out), *options, *named])
    (path,) = out.glob('*_iter_7.json')
    return json.loads(path.read_text())


def confusion(runner, network: str, folder: Path, names) -> np.ndarray:
    """(mask, prediction) counts in float64, pixel by pixel of a plain forward pass."""
    matrix = np.zeros((11, 11))
    for name in names:
        image = np.array(Image.open(folder / 'images/train' / f'{name}.png'))[..., ::-1].copy()
        mask = np.array(Image.open(folder / 'labels/train' / f'{name}.png'))
        batch = dict(inputs=[torch.from_numpy(image).permute(2, 0, 1)])
        inputs = runner.model.data_preprocessor(batch, False)['inputs']
        with torch.no_grad():
            logits = runner.model.eval().network(network)(inputs)
            logits = nn.functional.interpolate(
                logits, mask.shape, mode='bilinear', align_corners=True
            )
        predicted = logits.argmax(1)[0].numpy()
        for truth, guess in zip(mask.ravel(), predicted.ravel(), strict=True):
            if truth != 255:
                matrix[truth, guess] += 1
    return matrix


def iou(matrix: np.ndarray) -> list:
    values = []
    for k in range(11):
        union = matrix[k].sum() + matrix[:, k].sum() - matrix[k, k]
        values.append(None if union == 0 else 100 * matrix[k, k] / union)
    return values


def test_the_pool_by_clip(trained, out):
    config, checkpoint, runner = trained
    result = call(config, checkpoint, out, '--pool')
    assert result['images'] == 'pool' and result['iter'] == 7
    assert result['without_mask'] == dict(count=0, first=[])
    assert list(result['clips']) == list(CLIPS) and result['all']['images'] == 6
    different = set()
    for clip, names in {**CLIPS, None: NAMES['unlabeled']}.items():
        entry = result['clips'][clip] if clip else result['all']
        assert entry['images'] == len(names) and set(entry['networks']) == {'teacher', 'student'}
        for network, values in entry['networks'].items():
            matrix = confusion(runner, network, config.parent / 'data', names)
            expected = iou(matrix)
            known = [value for value in expected if value is not None]
            assert entry['pixels'] == matrix.sum(1).tolist()
            assert values['IoU'] == pytest.approx(expected)
            assert values['mIoU'] == pytest.approx(np.mean(known))
            assert values['aAcc'] == pytest.approx(100 * matrix.trace() / matrix.sum())
            different.add(values['mIoU'])
    assert len(different) == 8  # the comparison can tell clips and networks apart
    # class 0 is in no mask of clip B and never predicted
    b = result['clips']['B']['networks']['teacher']['IoU']
    assert b[0] is None and b[10] == 0.0 and 'nanmean' in result['mean']


def test_the_log_has_the_table_and_mmengines_own_metric(trained, out):
    config, checkpoint, _ = trained
    tool.main([*map(str, (config, checkpoint, '--pool', '--work-dir', out)), '--cfg-options',
               'log_level=INFO', 'experiment_name=logged', 'visualizer.name=logged'])  # fmt: skip
    result = json.loads((out / 'pool_iter_7.json').read_text())
    (log,) = out.glob('*/*.log')
    text = log.read_text()
    row = next(line for line in text.splitlines() if line.startswith('C_left       2  teacher'))
    assert f'{result["clips"]["C_left"]["networks"]["teacher"]["mIoU"]:.1f}' in row
    assert '6 unlabelled training images, by clip' in text and 'pool_iter_7.json' in text
    (own,) = out.glob('2*/2*.json')
    metrics = json.loads(own.read_text())
    for name in ('teacher', 'student'):
        expected = metrics[f'{name}/mIoU']
        assert result['all']['networks'][name]['mIoU'] == pytest.approx(expected, abs=0.006)
    # the config in the work folder keeps its own test set
    saved = Config.fromfile(out / config.name)
    assert saved.test_dataloader.dataset.data_prefix.img_path == 'images/val'


def test_a_supervised_run_has_the_pool_of_its_split(trained, tmp_path, out):
    config, checkpoint, _ = trained
    cfg = Config.fromfile(config)
    dataset = cfg.train_dataloader.dataset
    expected = call(config, checkpoint, out, '--pool')
    dataset.split = str(config.parent / 'data')
    dataset.unlabeled = None
    del dataset.labeled['ann_file']
    cfg.dump(tmp_path / 'supervised.py')
    result = call(tmp_path / 'supervised.py', checkpoint, tmp_path / 'other', '--pool')
    assert result['clips'] == expected['clips']


def test_frames_without_a_mask_are_counted(trained, tmp_path, out, capsys):
    config, checkpoint, _ = trained
    shutil.copytree(config.parent / 'data', tmp_path / 'data')
    old = str(config.parent / 'data')
    moved = tmp_path / 'moved.py'
    moved.write_text(config.read_text().replace(old, str(tmp_path / 'data')))
    masks = tmp_path / 'data/labels/train'
    for name in ('B_002', 'C_left_000', 'C_left_001'):
        (masks / f'{name}.png').unlink()
    result = call(moved, checkpoint, out, '--pool')
    assert result['without_mask'] == dict(count=3, first=['B_002', 'C_left_000', 'C_left_001'])
    assert {clip: entry['images'] for clip, entry in result['clips'].items()} == dict(A=2, B=1)
    for name in NAMES['unlabeled']:
        (masks / f'{name}.png').unlink(missing_ok=True)
    said = refuse(capsys, moved, checkpoint, out, '--pool')
    assert 'none of the 6 unlabelled images' in said and f'{masks / "A_002.png"}' in said


def test_the_test_set_by_clip(trained, out):
    config, checkpoint, runner = trained
    result = call(config, checkpoint, out, '--clips', '(val0)', '--network', 'student')
    assert result['images'] == 'test' and list(result['clips']) == ['val0']
    assert set(result['all']['networks']) == {'student'}
    assert result['clips']['val0'] == result['all'] and result['all']['images'] == 2
    expected = runner.test()['student/mIoU']
    assert result['all']['networks']['student']['mIoU'] == pytest.approx(expected, abs=0.006)


def refuse(capsys, *args) -> str:
    with pytest.raises(SystemExit) as end:
        tool.main([*map(str, args[:2]), '--work-dir', str(args[2]), *args[3:]])
    assert end.value.code == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    return said


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--clips', '(C)'], "is not found in the name 'val00'"),
        (['--clips', 'val'], 'has 0 groups, expected one'),
        (['--clips', '(val'], 'is no regular expression'),
        (
            ['--by-clip', '--cfg-options', 'test_evaluator.format_only=True'],
            'need an IoUMetric in test_evaluator',
        ),
        (
            ['--pool', '--cfg-options', 'train_dataloader.dataset.unlabeled=None'],
            'has neither unlabelled images nor a split',
        ),
    ],
)
def test_mistakes(trained, out, capsys, options, words):
    config, checkpoint, _ = trained
    assert words in refuse(capsys, config, checkpoint, out, *options)
