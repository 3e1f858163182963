"""The converter of DeepLab's COCO weights, on generated checkpoints in the layout of the authors' file."""

import re

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_semi.cli.model_converters import deeplab_coco_resnet

BACKBONE = dict(
    type='CeilResNet', depth=50, base_channels=4, stem_channels=4, style='caffe', norm_eval=False
)


def run_tool(*arguments) -> None:
    deeplab_coco_resnet.main([str(argument) for argument in arguments])


def their_checkpoint(prefix: str = 'Scale.') -> dict:
    """Names from the description of the network: torch's of old, no counts, a dilated classifier behind."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def conv(name, out, into, size):
        state[f'{name}.weight'] = torch.randn(out, into, size, size, generator=generator)

    def norm(name, width):
        for part in ('weight', 'bias', 'running_mean', 'running_var'):
            state[f'{name}.{part}'] = torch.rand(width, generator=generator) + 0.5

    conv('conv1', 4, 3, 7)
    norm('bn1', 4)
    into = 4
    for stage, count in enumerate((3, 4, 6, 3), 1):
        width = 4 * 2 ** (stage - 1)
        for block in range(count):
            name = f'layer{stage}.{block}'
            for index, (out, inner, size) in enumerate(
                ((width, into, 1), (width, width, 3), (4 * width, width, 1)), 1
            ):
                conv(f'{name}.conv{index}', out, inner, size)
                norm(f'{name}.bn{index}', out)
            if block == 0:
                conv(f'{name}.downsample.0', 4 * width, into, 1)
                norm(f'{name}.downsample.1', 4 * width)
            into = 4 * width
    conv('layer5.conv2d_list.0', 21, into, 3)
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize('prefix', ['', 'Scale.', 'module.'])
def test_every_tensor_arrives(tmp_path, capsys, prefix):
    theirs = their_checkpoint(prefix)
    torch.save(theirs, tmp_path / 'in.pth')
    run_tool(tmp_path / 'in.pth', tmp_path / 'out.pth')
    assert 'depth=50, base_channels=4' in capsys.readouterr().out
    init_default_scope('mmseg')
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'out.pth'))
    backbone = MODELS.build(BACKBONE | dict(init_cfg=start))
    backbone.init_weights()
    own = backbone.state_dict()
    for key, value in theirs.items():
        key = key.removeprefix(prefix)
        assert key.startswith('layer5.') or torch.equal(own.pop(key), value), key
    assert all(key.endswith('num_batches_tracked') for key in own)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda state: state.pop('layer3.2.bn2.bias'), r'layer3\.2\.bn2\.bias has shape None'),
        (lambda state: state.pop('conv1.weight'), 'no ResNet with a 7x7 stem'),
        (
            lambda state: state.update({'layer1.0.conv2.weight': torch.zeros(4, 4, 1, 1)}),
            r'layer1\.0\.conv2\.weight has shape \(4, 4, 1, 1\)',
        ),
    ],
)
def test_another_network_is_refused(tmp_path, capsys, change, message):
    state = their_checkpoint('')
    change(state)
    torch.save(state, tmp_path / 'in.pth')
    with pytest.raises(SystemExit) as end:
        run_tool(tmp_path / 'in.pth', tmp_path / 'out.pth')
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_file_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_tool(tmp_path / 'none.pth', tmp_path / 'out.pth')
    assert 'does not exist' in capsys.readouterr().err
