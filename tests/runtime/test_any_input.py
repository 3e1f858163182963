"""MMSegmentation's own inference on what mmseg-semi publish writes, and on the config of a run."""

import numpy as np
import pytest
from mmseg.apis import MMSegInferencer, inference_model, init_model
from PIL import Image
from tiny_predictor import tiny_run, write_photos

from mmseg_semi.cli import publish
from mmseg_semi.runtime.any_input import AnyInput


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp('inferred'), resize=33)


@pytest.fixture(scope='module')
def published(run, tmp_path_factory):
    out = tmp_path_factory.mktemp('published')
    publish.main([str(run / 'mine.py'), str(run / 'iter_2.pth'), '--out', str(out)])
    (checkpoint,) = out.glob('*.pth')
    return str(checkpoint.with_suffix('.py')), str(checkpoint)


def test_files_and_arrays_in_any_order(published, run, tmp_path):
    (path,) = write_photos(tmp_path, [(40, 52)])
    bgr = np.asarray(Image.open(path))[..., ::-1].copy()
    model = init_model(*published, device='cpu')
    expected = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
    assert expected.shape == (40, 52) and len(np.unique(expected)) > 1
    for given in (bgr, str(path), bgr):
        found = inference_model(model, given).pred_sem_seg.data[0].numpy()
        np.testing.assert_array_equal(found, expected)
    both = inference_model(model, [bgr, bgr])
    assert len(both) == 2
    # the run's own config, whose teacher was published
    trained = init_model(str(run / 'mine.py'), str(run / 'iter_2.pth'), device='cpu')
    found = inference_model(trained, bgr).pred_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(found, expected)


def test_the_inferencer(published, tmp_path):
    (path,) = write_photos(tmp_path, [(40, 52)])
    expected = inference_model(init_model(*published, device='cpu'), str(path)).pred_sem_seg.data[0]
    inferencer = MMSegInferencer(*published, device='cpu')
    for given in (str(path), np.asarray(Image.open(path))[..., ::-1].copy()):
        found = inferencer(given, show=False)['predictions']
        np.testing.assert_array_equal(found, expected.numpy())
    inferencer(str(path), out_dir=str(tmp_path / 'out'), img_out_dir='vis', pred_out_dir='pred')
    assert (tmp_path / 'out/vis/p0.png').is_file()
    assert list((tmp_path / 'out/pred').iterdir())


def test_arrays_of_more_bits_take_the_range_of_the_loader():
    deep = np.broadcast_to(np.uint16([0, 2048, 4095]), (4, 5, 3))
    results = AnyInput(dict(type='LoadAnyImage', value_range=(0, 4095)))(deep)
    # what a file would hold: red, green, blue
    assert (results['img'] == [255, 128, 0]).all() and results['ori_shape'] == (4, 5)


def test_a_published_file_keeps_the_range_of_the_data(tmp_path):
    run = tiny_run(tmp_path)
    with (tmp_path / 'own/data.yaml').open('a') as file:
        file.write('value_range: [0, 4095]\n')
    publish.main([str(run / 'mine.py'), str(run / 'iter_2.pth'), '--out', str(tmp_path / 'pub')])
    (checkpoint,) = (tmp_path / 'pub').glob('*.pth')
    model = init_model(str(checkpoint.with_suffix('.py')), str(checkpoint), device='cpu')
    assert tuple(model.cfg.test_pipeline[0].value_range) == (0, 4095)
