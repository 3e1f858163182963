"""The shipped data set configs, run on miniature trees in the true layout."""

import pytest
from miniatures import ROOT, ade20k, camvid, cityscapes, coco, voc
from mmengine.config import Config
from mmengine.runner import Runner

# the lists of the miniatures, which are not the published ones, by the data set that a config begins with
LISTS = dict(
    camvid='camvid 46 seed0',
    voc='data/splits/u2pl/voc/732',
    cityscapes='data/splits/cps/cityscapes/372',
    ade20k='data/splits/unimatch/ade20k/1263',
    coco='data/splits/unimatch/coco/925',
)


def load(name: str) -> Config:
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    cfg.train_dataloader.dataset.split = LISTS[name.partition('_')[0]]
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    return cfg


@pytest.mark.parametrize(
    ('name', 'make', 'crop', 'counts', 'evaluated'),
    [
        ('camvid', camvid, 360, (4, 4), (360, 480)),
        ('camvid_small', camvid, 112, (4, 4), (120, 160)),
        ('voc', voc, 513, (4, 4), (375, 500)),
        ('cityscapes', cityscapes, 801, (2, 2), (256, 512)),
        ('ade20k_518', ade20k, 518, (2, 2), (480, 640)),
        ('coco_518', coco, 518, (4, 4), (480, 640)),
    ],
)
def test_loaders_of_the_shipped_configs(tmp_path, monkeypatch, name, make, crop, counts, evaluated):
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    cfg = load(name)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    loader.sampler.check_loader(loader)
    batch = next(iter(loader))
    filled = [img is not None for img in batch['inputs']['labeled']]
    assert filled == [True] * counts[0] + [False] * counts[1]
    for view, rows in (('labeled', slice(counts[0])), ('strong', slice(counts[0], None))):
        for img, data in zip(
            batch['inputs'][view][rows], batch['data_samples'][view][rows], strict=True
        ):
            assert img.shape == (3, crop, crop)
            assert ('gt_sem_seg' in data) == (view == 'labeled')
            assert ('valid_map' in data) == (view == 'strong')

    data = next(iter(Runner.build_dataloader(cfg.val_dataloader)))['data_samples'][0]
    assert data.gt_sem_seg.data.shape[1:] == evaluated
    assert data.ori_shape == evaluated  # predictions are resized to this before they are compared

    # supervised-only, as the supervised configs say it
    alone = Config(cfg.to_dict())
    alone.merge_from_dict(
        dict(
            train_dataloader=dict(
                batch_size=2,
                sampler=dict(batch_size=2, source_ratio=[1]),
                dataset=dict(unlabeled=None),
            )
        )
    )
    batch = next(iter(Runner.build_dataloader(alone.train_dataloader, seed=0)))
    assert all(img is not None for img in batch['inputs']['labeled'])


@pytest.mark.parametrize(
    'name', ['camvid', 'camvid_small', 'voc', 'cityscapes', 'sunrgbd', 'ade20k_518', 'coco_518']
)
def test_plain_evaluation_pipelines_are_mmseg_alone(name):
    """A published model must run without this package."""
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    types = [step['type'] for step in cfg.test_pipeline]
    assert set(types) <= {'LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackSegInputs'}
    # mmseg's inference takes exactly this step out
    assert dict(type='LoadAnnotations') in cfg.test_pipeline


@pytest.mark.parametrize(
    ('name', 'make', 'crop', 'count', 'evaluated', 'seen'),
    [
        ('voc_321', voc, (321, 321), 10, (375, 500), (375, 500)),
        ('cityscapes_256x512', cityscapes, (256, 512), 2, (256, 512), (512, 1024)),
    ],
)
def test_crops_for_colour_after_mixing(
    tmp_path, monkeypatch, name, make, crop, count, evaluated, seen
):
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    cfg = load(name)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    loader.sampler.check_loader(loader)
    batch = next(iter(loader))
    for view, rows in (('labeled', slice(count)), ('weak', slice(count, None))):
        assert all(img.shape == (3, *crop) for img in batch['inputs'][view][rows])
    assert all('valid_map' in data for data in batch['data_samples']['weak'][count:])
    assert not any(img is not None for img in batch['inputs'].get('strong', []))
    item = next(iter(Runner.build_dataloader(cfg.val_dataloader)))
    assert item['data_samples'][0].gt_sem_seg.data.shape[1:] == evaluated
    assert item['inputs'][0].shape[1:] == seen
