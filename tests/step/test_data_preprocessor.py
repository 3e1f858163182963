import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from tiny_semi import tiny_batch, tiny_preprocessor

from mmseg_semi.errors import SetupError

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture
def build():
    init_default_scope('mmseg')

    def _build(**changes):
        inner = tiny_preprocessor() | changes
        return MODELS.build(dict(type='SemiDataPreprocessor', data_preprocessor=inner))

    return _build


def normalised(image: torch.Tensor) -> np.ndarray:
    """BGR uint8 to normalised RGB, in float64."""
    rgb = image.numpy().astype(np.float64)[::-1]
    return (rgb - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))


def test_branches_are_gathered_and_normalised(build):
    batch = tiny_batch(2, 3)
    output = build()(batch, training=True)
    assert {branch: len(images) for branch, images in output['inputs'].items()} == {
        'labeled': 2,
        'weak': 3,
        'strong': 3,
        'strong_2': 3,
    }
    for branch, images in output['inputs'].items():
        originals = [image for image in batch['inputs'][branch] if image is not None]
        samples = [sample for sample in batch['data_samples'][branch] if sample is not None]
        assert images.dtype == torch.float32
        for image, original in zip(images, originals, strict=True):
            assert np.abs(image.numpy() - normalised(original)).max() < 1e-5
        found = [sample.img_path for sample in output['data_samples'][branch]]
        assert found == [sample.img_path for sample in samples]


def test_a_supervised_batch_has_one_branch(build):
    output = build()(tiny_batch(2, 0), training=True)
    assert set(output['inputs']) == set(output['data_samples']) == {'labeled'}


def test_a_plain_batch_is_labelled(build):
    batch = tiny_batch(2, 0)
    plain = {key: value['labeled'] for key, value in batch.items()}
    output, expected = build()(plain, training=True), build()(batch, training=True)
    assert torch.equal(output['inputs']['labeled'], expected['inputs']['labeled'])


def test_outside_training_it_is_the_inner_one(build):
    preprocessor = build()
    batch = tiny_batch(2, 0)
    plain = {key: value['labeled'] for key, value in batch.items()}
    output = preprocessor(plain, training=False)
    expected = preprocessor.data_preprocessor(plain, training=False)
    assert torch.equal(output['inputs'], expected['inputs'])
    # also after training has told it a crop size
    preprocessor(tiny_batch(size=64), training=True)
    assert torch.equal(preprocessor(plain, training=False)['inputs'], expected['inputs'])


def test_crops_of_one_size_need_no_size(build):
    preprocessor = build()
    for size in (32, 48):  # labelled and unlabelled ones may differ, and from run to run
        assert preprocessor(tiny_batch(size=size), training=True)['inputs']['weak'].shape[2:] == (
            size,
            size,
        )
    batch = tiny_batch(2, 0)
    batch['inputs']['labeled'][0] = batch['inputs']['labeled'][0][:, :20]
    with pytest.raises(SetupError, match="branch 'labeled'.*PadAllMaps"):
        preprocessor(batch, training=True)


def test_a_size_of_its_own_pads(build):
    output = build(size=(40, 48))(tiny_batch(2, 0), training=True)
    assert output['inputs']['labeled'].shape[2:] == (40, 48)
    label = output['data_samples']['labeled'][0].gt_sem_seg.data
    assert label.shape == (1, 40, 48) and (label[:, 32:] == 255).all()


def test_an_unknown_branch_is_refused(build):
    batch = tiny_batch(2, 0)
    batch = {key: {'unsup_teacher': value['labeled']} for key, value in batch.items()}
    with pytest.raises(SetupError, match="branch 'unsup_teacher'"):
        build()(batch, training=True)


def test_validity(build):
    preprocessor = build()
    samples = tiny_batch(0, 2, padding=5)['data_samples']['weak']
    valid = preprocessor.stack_valid(samples, torch.device('cpu'))
    expected = torch.ones(2, 32, 32, dtype=torch.bool)
    expected[:, :, 27:] = False
    assert torch.equal(valid, expected)
    samples[1].valid_map = PixelData(data=torch.zeros(1, 32, 32, dtype=torch.uint8))
    valid = preprocessor.stack_valid(samples, torch.device('cpu'))
    assert valid.dtype == torch.bool and not valid[1].any()
    del samples[0].valid_map
    with pytest.raises(SetupError, match='InitValidMap'):
        preprocessor.stack_valid(samples, torch.device('cpu'))


def test_labels_that_come_with_unlabelled_images(build):
    preprocessor, cpu = build(), torch.device('cpu')
    samples = tiny_batch(0, 3)['data_samples']['weak']
    assert preprocessor.stack_noisy(samples, cpu) is None
    labels = torch.randint(0, 9, (1, 32, 32), dtype=torch.uint8)
    samples[1].given_map = PixelData(data=labels)
    given = preprocessor.stack_noisy(samples, cpu)
    assert given.dtype == torch.int64 and torch.equal(given[1], labels[0].long())
    assert (given[0] == 255).all() and (given[2] == 255).all()
