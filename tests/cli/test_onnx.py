"""ONNX export of what tools/publish.py writes, by PyTorch's current exporter; onnxruntime gives the same logits."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from mmseg.apis import init_model
from PIL import Image
from tiny_semi import tiny_data, tiny_model

from mmseg_semi.cli import export_onnx, publish

MISSING = [
    name for name in ('onnx', 'onnxruntime', 'onnxscript') if not importlib.util.find_spec(name)
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f'not installed: {", ".join(MISSING)}')
SIZE = (64, 64)


def run_tool(module, *arguments) -> None:
    module.main([str(argument) for argument in arguments])


@pytest.fixture
def published(request, tmp_path, shallow):
    """Config and checkpoint of a plain network, whose norms and classifier are not those of its first day."""
    method = getattr(request, 'param', 'ddfp')
    model = tiny_model(method, num_classes=11)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith(('running_mean', 'running_var')):
                value += 0.2 * torch.rand(value.shape, generator=generator)
            if key.endswith('conv_seg.weight'):
                value *= 50
            if key.endswith('conv_seg.project.weight'):
                value *= 5
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'run.pth')
    cfg = tiny_data(tmp_path, method)
    run_tool(publish, cfg.filename, tmp_path / 'run.pth', '--out', tmp_path / 'plain')
    (checkpoint,) = (tmp_path / 'plain').glob('*.pth')
    return checkpoint.with_suffix('.py'), checkpoint


def run_onnx(path, image) -> torch.Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return torch.from_numpy(session.run(None, {name: image.numpy()})[0])


def test_the_plain_model_exports_as_it_is(published, tmp_path):
    model = init_model(*map(str, published), device='cpu')
    assert type(model).__module__.startswith('mmseg.')
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    path = tmp_path / 'plain.onnx'
    torch.onnx.export(model, (image,), str(path), dynamo=True, verbose=False)
    with torch.no_grad():
        expected = model(image, mode='tensor')
    assert expected.std() > 0.1
    torch.testing.assert_close(run_onnx(path, image), expected, rtol=0, atol=1e-4)


def test_the_tool_writes_a_graph_for_images_of_any_size(published, tmp_path, capsys):
    path = tmp_path / 'deployed/model.onnx'
    run_tool(export_onnx, *published, path, '--size', *SIZE, '--dynamic')
    assert 'any size, channels red, green, blue' in capsys.readouterr().out
    assert [file.name for file in path.parent.iterdir()] == ['model.onnx']
    model = init_model(*map(str, published), device='cpu')
    picture = sorted((tmp_path / 'data/images/val').iterdir())[0]
    colours = np.asarray(Image.open(picture).convert('RGB')).astype(np.float32)
    image = torch.from_numpy(colours).permute(2, 0, 1)[None]
    assert image.shape[2:] != SIZE
    # mmseg's own way: its preprocessor, its logits at the image's size
    data = model.data_preprocessor({'inputs': [image[0].flip(0)], 'data_samples': None})
    meta = [dict(img_shape=image.shape[2:], ori_shape=image.shape[2:])]
    with torch.no_grad():
        expected = model.encode_decode(data['inputs'], meta)
    found = run_onnx(path, image)
    # what is compared varies from pixel to pixel by far more than the tolerance
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert expected.std(dim=(2, 3)).min() > 1e-3


@pytest.mark.parametrize('published', ['cct'], indirect=True)
def test_logits_that_reach_over_the_image_are_cropped(published, tmp_path, capsys):
    """As MMSegmentation's own way crops it. The pyramid of CCT's head pools by the size of its image: one graph a size."""
    path = tmp_path / 'model.onnx'
    size = (36, 44)
    run_tool(export_onnx, *published, path, '--size', *size)
    model = init_model(*map(str, published), device='cpu')
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    data = model.data_preprocessor({'inputs': [image[0].flip(0)], 'data_samples': None})
    with torch.no_grad():
        expected = model.encode_decode(data['inputs'], [dict(img_shape=size, ori_shape=size)])
    assert expected.std() > 0.01 and expected.shape[2:] == size
    torch.testing.assert_close(run_onnx(path, image), expected, rtol=0, atol=1e-4)
    with pytest.raises(SystemExit):
        run_tool(export_onnx, *published, path, '--size', *size, '--dynamic')
    assert 'CCTHead' in capsys.readouterr().err


def test_what_cannot_be_exported_is_said_in_one_sentence(published, tmp_path, monkeypatch, capsys):
    config, checkpoint = published
    for arguments, sentence in (
        ((config, checkpoint, 'x.onnx', '--network', 'teacher'), 'is a plain segmentor'),
        ((config, tmp_path / 'none.pth', 'x.onnx'), 'does not exist'),
    ):
        with pytest.raises(SystemExit) as stopped:
            run_tool(export_onnx, *arguments)
        printed = capsys.readouterr().err
        assert stopped.value.code == 2 and printed.count('\n') == 1 and sentence in printed
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(SystemExit):
        run_tool(export_onnx, config, checkpoint, 'x.onnx')
    assert 'onnxscript is not installed' in capsys.readouterr().err
