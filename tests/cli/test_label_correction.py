"""The offline analysis of label correction, on a run of two steps."""

import json

import pytest
import torch
from PIL import Image
from tiny_semi import tiny_data, tiny_runner

from mmseg_semi.cli.analysis import label_correction
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc import correction_quality


def call(*arguments) -> None:
    label_correction.main([str(argument) for argument in arguments])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('mllc')
    cfg = tiny_data(folder, 'mllc', iterations=2, checkpoint_interval=2)
    tiny_runner(cfg).train()
    return cfg, folder / 'work_dir/iter_2.pth'


@pytest.mark.parametrize('on, images', [('val', 2), ('unlabeled', 6)])
def test_numbers_and_pictures(trained, tmp_path, capsys, on, images):
    cfg, checkpoint = trained
    call(cfg.filename, checkpoint, '--on', on, '--out', tmp_path, '--rows', 2)
    result = json.loads((tmp_path / f'{on}.json').read_text())
    assert result['images'] == images
    assert len(result['right']) == 3 and len(result['righted']) == 2
    labeled = sum(result['pixels'])
    # 48 x 36 pixels an image, of which a corner of 3 x 3 is void
    assert labeled == images * (48 * 36 - 9)
    for k in (1, 2):
        gain = sum(result['righted'][k - 1]) - sum(result['wronged'][k - 1])
        assert sum(result['right'][k]) - sum(result['right'][k - 1]) == gain
    assert result['accuracy_0'] == pytest.approx(sum(result['right'][0]) / labeled)
    with Image.open(tmp_path / f'{on}.png') as sheet:
        assert sheet.size[0] > 7 * 48
    assert 'round 2' in capsys.readouterr().out


def test_level_0_is_the_prediction_of_the_network(trained):
    cfg, checkpoint = trained
    tool = label_correction
    args = type('Args', (), dict(config=cfg.filename, checkpoint=str(checkpoint), rounds=None))
    args.cfg_options = None
    model, loaded = tool.build(args)
    dataset = tool.build_images(loaded, 'val')
    image, labels, truth = tool.labels_of(model, dataset[0], torch.device('cpu'))
    with torch.no_grad():
        logits = model.teacher._forward(image[None])
    expected = model.upsample(logits, truth.shape).argmax(dim=1)[0]
    assert torch.equal(labels[0], expected)
    assert (truth != IGNORE).any()
    assert int(correction_quality(labels, truth, 11).pixels.sum()) == 48 * 36 - 9


@pytest.mark.parametrize('method', ['fixmatch', 'cct'])
def test_a_run_of_another_method_without_trained_layers(tmp_path, capsys, method):
    cfg = tiny_data(tmp_path, method, iterations=2, checkpoint_interval=2)
    tiny_runner(cfg).train()
    checkpoint = tmp_path / 'work_dir/iter_2.pth'
    with pytest.raises(SystemExit) as end:
        call(cfg.filename, checkpoint)
    assert end.value.code == 2 and 'which corrects nothing' in capsys.readouterr().err
    call(cfg.filename, checkpoint, '--rounds', 1, '--out', tmp_path / 'out')
    result = json.loads((tmp_path / 'out/val.json').read_text())
    assert len(result['right']) == 2 and result['thresholds'] == pytest.approx([0.95] * 11)
