"""A whole run on 16-bit TIFF files of four bands with pixels without data, and what the tools make of it."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from PIL import Image
from whole_runs import ROOT, call_tool

from mmseg_semi.cli import band_statistics
from mmseg_semi.cli.browse_dataset import build_loader, build_preprocessor
from mmseg_semi.cli.export_onnx import load
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.pictures import undo_preprocessing
from mmseg_semi.step.checks import check_bands, check_networks
from mmseg_semi.step.image_kernels import image_channels

EMPTY = 9
"""Rows without data at the top of each image."""
DATA = """\
labeled: {images: photos, masks: masks}
unlabeled: [more]
val: 0.25
classes: [ground, plant]
bands: {count: 4, colour: [2, 1, 0]}
"""


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four bands (H, W, 4), of which near infrared alone shows the plant; its mask is wrong where data are missing."""
    rng = np.random.default_rng(seed)
    image, mask = rng.integers(300, 900, (48, 64, 4)), np.zeros((48, 64), np.uint8)
    top, left = rng.integers(EMPTY, 24), rng.integers(0, 36)
    mask[top : top + 20, left : left + 20] = 1
    image[..., 3][mask == 1] += 6000
    image[:EMPTY], mask[:EMPTY] = 0, 1
    return image.astype(np.uint16), mask


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('bands')
    for i in range(16):
        image, mask = scene(i)
        path = root / (f'photos/{i}.tif' if i < 8 else f'more/{i}.tif')
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(
            path,
            np.moveaxis(image, 2, 0),
            photometric='minisblack',
            planarconfig='separate',
            extratags=[(42113, 's', 0, '0', True)],
        )
        if i < 8:
            (root / 'masks').mkdir(exist_ok=True)
            Image.fromarray(mask).save(root / f'masks/{i}.png')
    (root / 'data.yaml').write_text(DATA)
    band_statistics.main([str(root / 'data.yaml')])
    return root


@pytest.fixture(scope='module')
def config(folder) -> Path:
    path = folder / 'mine.py'
    loader = 'num_workers=0, persistent_workers=False, '
    path.write_text(
        f"""_base_ = '{ROOT}/configs/own_data/ddfp_small.py'
D = {str(folder / 'data.yaml')!r}
crop = dict(type='RandomScaleCrop', crop_size=(48, 48), ratio_range=(0.8, 1.2))
train_dataloader = dict({loader}dataset=dict(
    labeled=dict(data_file=D, pipeline=[_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]),
    unlabeled=dict(data_file=D, pipeline=[_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both])))
val_dataloader = dict({loader}dataset=dict(data_file=D))
test_dataloader = dict({loader}dataset=dict(data_file=D))
model = dict(iters_per_epoch=1)
train_cfg = dict(max_iters=3, val_interval=3)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=3, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=3), logger=dict(interval=1))
"""
    )
    return path


@pytest.fixture(scope='module')
def trained(config) -> Path:
    call_tool('train', config, '--work-dir', config.parent / 'wd')
    return config.parent / 'wd/iter_3.pth'


def test_the_config_follows_the_data_file(config):
    cfg = configs.load_config(config)
    inner = cfg.model.data_preprocessor.data_preprocessor
    assert cfg.model.student.backbone.in_channels == 4
    assert inner.type == 'BandsDataPreprocessor' and len(inner.mean) == len(inner.std) == 4
    assert cfg.model.data_preprocessor.bands == dict(channels=4, colour=[2, 1, 0])
    dumped = Config.fromfile(cfg.filename).filename and cfg.pretty_text
    saved = config.parent / 'resolved.py'
    saved.write_text(dumped)
    assert configs.load_config(saved).pretty_text == dumped  # a run's saved config stays as it is


def test_inputs_are_normalised_and_without_signal_where_data_are_missing(config):
    cfg = configs.load_config(config)
    loader, preprocessor = build_loader(cfg, 0), build_preprocessor(cfg)
    data = preprocessor(next(iter(loader)), training=True)
    inputs, samples = data['inputs'], data['data_samples']
    labels = torch.stack([s.gt_sem_seg.data[0] for s in samples['labeled']])
    valid = torch.stack([s.valid_map.data[0] for s in samples['weak']])
    assert inputs['labeled'].shape[1] == inputs['weak'].shape[1] == inputs['strong'].shape[1] == 4
    known = inputs['labeled'].permute(0, 2, 3, 1)[labels != 255]
    # interpolation takes some of the deviation of noise
    assert known.mean(0).abs().max() < 0.4 and 0.4 < known[:, :3].std() < 1.2
    # rows of pixels that are missing all around are 0, that is the mean
    for images, ignored in ((inputs['labeled'], labels == 255), (inputs['weak'], ~valid)):
        top = ignored[:, :3].all(2).all(1)  # crops that begin above the first row with data
        assert top.any()
        assert images[top][:, :, :3].abs().max() < 1e-3
    plant = labels == 1
    infrared = inputs['labeled'][:, 3]
    assert infrared[plant].mean() > infrared[labels == 0].mean() + 1
    picture = undo_preprocessing(inputs['labeled'], preprocessor)[0]
    assert picture.shape == (48, 48, 3) and picture.dtype == np.uint8


def test_the_nonsense_under_missing_data_is_not_learned(trained, folder):
    log = next((folder / 'wd').glob('*/*.log')).read_text()
    assert 'Iter(train) [3/3]' in log and 'teacher/mIoU' in log


def test_tools_take_any_number_of_bands(trained, config, folder, capsys):
    call_tool('browse_dataset', config, '--out', folder / 'browse', '--count', 1)
    call_tool('test', config, trained, '--work-dir', folder / 'wt', '--show-dir', folder / 'shown')
    # the visualiser of a process is the one of its first run, and so is its folder
    assert len(list(folder.rglob('vis_image/test_*.tif_*.png'))) == 2
    with pytest.raises(SystemExit) as ended:
        call_tool('check_dataset', config, '--out', folder / 'check')
    assert ended.value.code in (0, None), capsys.readouterr().out
    assert 'data:image/jpeg' in (folder / 'check/index.html').read_text()


def test_a_published_model_reads_the_files_by_itself(trained, config, folder):
    call_tool('publish', config, trained, '--network', 'student', '--out', folder / 'published')
    (weights,) = (folder / 'published').glob('*.pth')
    model = init_model(str(weights.with_suffix('.py')), str(weights), device='cpu')
    assert image_channels(model) == 4
    found = inference_model(model, str(folder / 'more/9.tif')).seg_logits.data
    # the same by hand, from the numbers in the file
    cfg = Config.fromfile(weights.with_suffix('.py'))
    bands = cfg.test_pipeline[0].bands
    image = scene(9)[0].astype(np.float64)
    low, high, mean, std = (np.array(bands[key]) for key in ('low', 'high', 'mean', 'std'))
    normalised = (image.clip(low, high) - mean) / std
    normalised[:EMPTY] = 0
    inputs = torch.from_numpy(np.moveaxis(normalised, 2, 0)).float()[None]
    with torch.no_grad():
        logits = model.inference(
            inputs, [dict(ori_shape=(48, 64), img_shape=(48, 64), pad_shape=(48, 64))]
        )
    torch.testing.assert_close(found, logits[0], rtol=1e-3, atol=1e-3)


def test_the_graph_to_export_takes_levels(trained, config):
    module, _ = load(str(config), str(trained), 'student')
    assert module.channels == 4
    assert module(torch.rand(1, 4, 48, 48) * 255).shape == (1, 2, 48, 48)


def test_a_network_for_other_bands_is_refused_in_one_sentence(config):
    """in_channels=4 alone: the images still are of three channels."""
    cfg = configs.load_config(ROOT / 'configs/own_data/ddfp_small.py')
    cfg.model.student.backbone.in_channels = 4
    model = MODELS.build(cfg.model)
    with pytest.raises(
        SetupError, match=r'takes images of 4 bands \(in_channels\), but they have 3'
    ):
        check_networks(model)
    own = configs.load_config(config)
    dataset = build_loader(own, 0).dataset
    with pytest.raises(
        SetupError, match=r'have 4 bands, but model\.data_preprocessor has mean and std of 3'
    ):
        check_bands(
            'train_dataloader',
            dataset,
            MODELS.build(
                {
                    **cfg.model,
                    'student': {
                        **cfg.model.student,
                        'backbone': {**cfg.model.student.backbone, 'in_channels': 3},
                    },
                }
            ),
        )


@pytest.mark.parametrize(
    ('extra', 'sentence'),
    [
        (
            'model = dict(student=dict(backbone=dict(in_channels=3)))',
            r'in_channels=3, but .* describes 4 bands',
        ),
        (
            "model = dict(mixing=dict(_delete_=True, type='ColourAfterMixing', mixing=dict(type='ClassMix'),"
            ' mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True))',
            r'model\.mixing uses ColourAfterMixing, which knows red, green and blue alone',
        ),
    ],
)
def test_a_config_that_contradicts_the_data_file(config, extra, sentence):
    other = config.parent / 'other.py'
    other.write_text(f"_base_ = './mine.py'\n{extra}\n")
    with pytest.raises(SetupError, match=sentence):
        configs.load_config(other)


def test_bands_that_are_not_measured_yet(config, folder):
    bare = folder / 'bare.yaml'
    bare.write_text(DATA)
    other = config.parent / 'bare.py'
    other.write_text(
        f"_base_ = './mine.py'\ntrain_dataloader = dict(dataset=dict(labeled=dict(data_file={str(bare)!r})))\n"
    )
    with pytest.raises(
        SetupError, match=r'bands has no low, high, mean, std; .*mmseg-semi band-statistics'
    ):
        configs.load_config(other)
