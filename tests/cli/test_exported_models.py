"""tools/analysis/exported_models.py on a small graph whose variants differ by known amounts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_semi.cli.analysis import exported_models
from mmseg_semi.cli.analysis.exported_models import Row, compare, load_images

pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')


def graph(folder: Path, name: str, weights: np.ndarray, side: int | str = 8) -> Path:
    """A 1 x 1 convolution from three colours to two logits."""
    from onnx import TensorProto, helper, numpy_helper

    values = [3, side, side], [2, side, side]
    image, logits = (
        helper.make_tensor_value_info(key, TensorProto.FLOAT, [1, *shape])
        for key, shape in zip(('image', 'logits'), values, strict=True)
    )
    kernel = numpy_helper.from_array(weights.astype(np.float32)[..., None, None], 'w')
    node = helper.make_node('Conv', ['image', 'w'], ['logits'], kernel_shape=[1, 1])
    model = helper.make_model(
        helper.make_graph([node], 'g', [image], [logits], [kernel]),
        opset_imports=[helper.make_opsetid('', 18)],
        ir_version=10,
    )
    onnx.save(model, folder / name)
    return folder / name


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.png')
    return folder


def test_differences_are_counted(tmp_path, images):
    """Red against green; a variant that swaps them changes every pixel where they differ."""
    path = graph(tmp_path, 'a.onnx', np.array([[1, 0, 0], [0, 1, 0]]))
    other = graph(tmp_path, 'b.onnx', np.array([[0, 1, 0], [1, 0, 0]]))
    run, dynamic = exported_models.in_onnxruntime(path, 1)
    swapped, _ = exported_models.in_onnxruntime(other, 1)
    arrays = load_images(sorted(images.iterdir()), None, False)
    expected = [run(array) for array in arrays]
    assert not dynamic and all((e == a[:, :2]).all() for e, a in zip(expected, arrays, strict=True))
    same = compare('same', 1, run, dynamic, arrays, expected)
    assert (same.logits, same.pixels) == (0, 0)
    found = compare('swapped', 1, swapped, dynamic, arrays, expected)
    stack = np.concatenate(arrays)
    assert found.pixels == (stack[:, 0] != stack[:, 1]).mean()
    gap = np.abs(stack[:, 0] - stack[:, 1]) / np.maximum(stack[:, :2].min(1), 1)
    assert found.logits == pytest.approx(gap.max())


def test_the_order_of_colours(images):
    paths = sorted(images.iterdir())
    rgb, bgr = load_images(paths, (4, 4), False), load_images(paths, (4, 4), True)
    assert rgb[0].shape == (1, 3, 4, 4) and (rgb[0] == bgr[0][:, ::-1]).all()


def test_the_command(tmp_path, images, capsys):
    path = graph(tmp_path, 'a.onnx', np.array([[1, 0, 0], [0, 1, 0]]))
    assert (
        exported_models.main([str(path), str(images), '--number', '4', '--calibration', '2']) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    (int8,) = [line for line in lines if line.startswith('int8')]
    assert lines[0].startswith('onnxruntime') and 'pixels  0.0000%' in lines[0]
    assert 'one size' in int8 and '%' in int8
    assert any('openvino: not installed' in line or 'OpenVINO' in line for line in lines)


def test_a_graph_of_any_size_is_told(tmp_path):
    run, dynamic = exported_models.in_onnxruntime(graph(tmp_path, 'a.onnx', np.eye(3)[:2], 'n'), 1)
    assert dynamic and run(np.zeros((1, 3, 5, 5), np.float32)).shape == (1, 2, 5, 5)
    assert 'any size' in exported_models.row(Row('x', 0, dynamic, 0, 0, 1))


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['no.onnx', '{images}'], "'no.onnx' does not exist; write it by mmseg-semi export"),
        (['{model}', 'none'], "'none' is no folder"),
        (['{model}', '{images}'], 'holds 6 images, expected --number 20 and --calibration 20'),
        (['{model}', '{images}', '--number', '0'], '--number, --calibration and --threads'),
    ],
)
def test_wrong_calls(tmp_path, images, capsys, arguments, text):
    model = graph(tmp_path, 'a.onnx', np.eye(3)[:2])
    with pytest.raises(SystemExit) as stopped:
        exported_models.main([a.format(model=model, images=images) for a in arguments])
    assert stopped.value.code == 2 and text in capsys.readouterr().err
