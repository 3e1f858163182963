"""The converter of deep-stem ResNets, on generated checkpoints in the layouts of the authors' files."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.backbones import ResNetV1c

from mmseg_semi.cli.model_converters import ddfp_resnet

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
SEQUENCE = ('conv1.0', 'conv1.1', 'conv1.3', 'conv1.4', 'conv1.6', 'bn1')
NUMBERED = ('conv1', 'bn1', 'conv2', 'bn2', 'conv3', 'bn3')


def run_tool(*arguments) -> None:
    ddfp_resnet.main([str(argument) for argument in arguments])


def their_checkpoint(stem, depth=101, stem_channels=128, base=64, random=False) -> dict:
    """Tensors under the authors' names, written from their description of the network."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def tensor(*shape, low=-1.0, high=1.0):
        if not random:  # one number of storage: a ResNet-101 in a few kilobytes
            return torch.zeros(()).expand(shape)
        return torch.rand(shape, generator=generator) * (high - low) + low

    def conv(name, out, into, size):
        bound = (3 / (into * size * size)) ** 0.5
        state[f'{name}.weight'] = tensor(out, into, size, size, low=-bound, high=bound)

    def norm(name, width):
        for part, low, high in (
            ('weight', 0.5, 1.5),
            ('bias', -0.5, 0.5),
            ('running_mean', -0.5, 0.5),
            ('running_var', 0.5, 1.5),
        ):
            state[f'{name}.{part}'] = tensor(width, low=low, high=high)

    widths = (3, stem_channels // 2, stem_channels // 2, stem_channels)
    for i in range(3):
        conv(stem[2 * i], widths[i + 1], widths[i], 3)
        norm(stem[2 * i + 1], widths[i + 1])
    into = stem_channels
    for stage, count in enumerate(BLOCKS[depth]):
        width = base * 2**stage
        sizes = (
            ((width, 3), (width, 3)) if depth == 18 else ((width, 1), (width, 3), (4 * width, 1))
        )
        for block in range(count):
            name, source = f'layer{stage + 1}.{block}', into
            for i, (out, size) in enumerate(sizes, 1):
                conv(f'{name}.conv{i}', out, source, size)
                norm(f'{name}.bn{i}', out)
                source = out
            if block == 0 and (stage > 0 or into != source):
                conv(f'{name}.downsample.0', source, into, 1)
                norm(f'{name}.downsample.1', source)
            into = source
    state['fc.weight'], state['fc.bias'] = tensor(1000, into), tensor(1000)
    return state


def their_outputs(state, stem, x, depth) -> list:
    """The encoder as the authors describe it: stage 4 without stride, dilated after its first block."""

    def conv(name, x, stride=1, dilation=1):
        weight = state[f'{name}.weight']
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, None, stride, padding, dilation)

    def norm(name, x):
        parts = [state[f'{name}.{p}'] for p in ('running_mean', 'running_var', 'weight', 'bias')]
        return F.batch_norm(x, *parts)

    for i, stride in enumerate((2, 1, 1)):
        x = norm(stem[2 * i + 1], conv(stem[2 * i], x, stride)).relu()
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    outputs = []
    for stage, count in enumerate(BLOCKS[depth]):
        for block in range(count):
            name = f'layer{stage + 1}.{block}'
            stride = 2 if block == 0 and stage in (1, 2) else 1
            dilation = 2 if stage == 3 and block > 0 else 1
            y = (
                conv(f'{name}.conv1', x)
                if depth != 18
                else conv(f'{name}.conv1', x, stride, dilation)
            )
            y = norm(f'{name}.bn1', y).relu()
            y = conv(f'{name}.conv2', y, *((stride, dilation) if depth != 18 else ()))
            y = norm(f'{name}.bn2', y)
            if depth != 18:
                y = norm(f'{name}.bn3', conv(f'{name}.conv3', y.relu()))
            if f'{name}.downsample.0.weight' in state:
                x = norm(f'{name}.downsample.1', conv(f'{name}.downsample.0', x, stride))
            x = (x + y).relu()
        outputs.append(x)
    return outputs


def encoder(depth, stem_channels, base=64) -> ResNetV1c:
    return ResNetV1c(
        depth=depth,
        stem_channels=stem_channels,
        base_channels=base,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        contract_dilation=True,
        norm_cfg=dict(type='BN'),
    )


@pytest.mark.parametrize('stem', [SEQUENCE, NUMBERED], ids=['sequence', 'numbered'])
@pytest.mark.parametrize('depth', [18, 50])
def test_the_converted_network_computes_what_theirs_does(stem, depth, tmp_path, capsys):
    state = their_checkpoint(stem, depth, stem_channels=16, base=8, random=True)
    torch.save(state, tmp_path / 'theirs.pth')
    run_tool(tmp_path / 'theirs.pth', tmp_path / 'new/ours.pth')
    assert f'depth={depth}, stem_channels=16, base_channels=8' in capsys.readouterr().out
    network = encoder(depth, 16, 8)
    network.eval()
    converted = torch.load(tmp_path / 'new/ours.pth', weights_only=True)['state_dict']
    lacking = network.load_state_dict(converted, strict=False)
    assert not lacking.unexpected_keys
    assert all(key.endswith('num_batches_tracked') for key in lacking.missing_keys)
    image = torch.randn(2, 3, 97, 65, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = network(image), their_outputs(state, stem, image, depth)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_resnet101_with_128_channels_fills_the_reference_config(tmp_path):
    # as saved from DistributedDataParallel, with batch counts and its classifier
    state = their_checkpoint(SEQUENCE)
    norms = [key.removesuffix('running_var') for key in state if key.endswith('running_var')]
    state |= {f'{norm}num_batches_tracked': torch.tensor(1) for norm in norms}
    state = {'state_dict': {f'module.{key}': value for key, value in state.items()}}
    torch.save(state, tmp_path / 'theirs.pth')
    run_tool(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    converted = torch.load(tmp_path / 'ours.pth', weights_only=True)['state_dict']
    with torch.device('meta'):
        network = encoder(101, 128)
    network.load_state_dict(converted, strict=True, assign=True)


def without(part):
    return lambda state: {key: value for key, value in state.items() if part not in key}


BAD = {
    'an ordinary stem': (
        lambda s: {'conv1.weight': torch.zeros(64, 3, 7, 7)} | {k: s[k] for k in s if 'layer' in k},
        'no key conv1.0.weight',
    ),
    'a stem cut short': (without('conv1.3.weight'), 'no key conv1.3.weight'),
    'a block cut short': (without('layer3.7.bn2.running_var'), 'no key layer3.7.bn2.running_var'),
    'no fourth stage': (without('layer4'), 'no key layer4.0.conv1.weight'),
    'other counts of blocks': (without('layer3.22.'), '3, 4, 22, 3 blocks'),
    'other widths': (
        lambda s: s | {'layer2.0.conv2.weight': torch.zeros(8, 8, 3, 3)},
        'layer2.0.conv2.weight has shape (8, 8, 3, 3), expected (128, 128, 3, 3)',
    ),
    'parts of another network': (
        lambda s: s | {'layer1.0.se.weight': torch.zeros(1)},
        'holds layer1.0.se.weight',
    ),
    'converted already': (
        lambda s: {k.replace('conv1.', 'stem.'): v for k, v in s.items()},
        'no key conv1.0.weight',
    ),
    'no weights': (lambda s: {'epoch': 3}, 'is no dict of tensors'),
    'nothing': (lambda s: {}, 'no tensors'),
}


@pytest.mark.parametrize('case', BAD)
def test_another_layout_is_refused_in_one_sentence(case, tmp_path, capsys):
    change, expected = BAD[case]
    torch.save(change(their_checkpoint(SEQUENCE)), tmp_path / 'theirs.pth')
    with pytest.raises(SystemExit) as stopped:
        run_tool(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    printed = capsys.readouterr().err
    assert stopped.value.code == 2
    assert printed.startswith('error: ') and printed.count('\n') == 1
    assert expected in printed and 'theirs.pth' in printed
    assert not (tmp_path / 'ours.pth').exists()
