"""Heads and losses of ours in someone else's config: a plain EncoderDecoder, mmseg's data, runner and tools."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from tiny_semi import tiny_head, tiny_preprocessor, tiny_student, write_pictures

ROOT = Path(__file__).resolve().parents[1]
MMSEG_TOOLS = Path(mmseg.__file__).parent / '.mim/tools'


def plain_config(folder: Path, head: str = 'DDFPHead') -> Path:
    """A config as an MMSegmentation user has it; of ours are the head, the losses and one import."""
    root = write_pictures(folder / 'data', num_train=8)
    ohem = dict(type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=200)
    model = tiny_student(11, head, loss_decode=ohem)
    model['auxiliary_head'] = tiny_head(
        'FCNHead', 11, in_channels=32, in_index=2, num_convs=1, loss_decode=ohem
    )
    model['data_preprocessor'] = tiny_preprocessor() | dict(size=(32, 32))
    pictures = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=[f'c{i}' for i in range(11)], palette=[[i] * 3 for i in range(11)]),
        data_root=str(root),
        img_suffix='.png',
    )
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomCrop', crop_size=(32, 32)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs'),
    ]
    config = Config(
        dict(
            custom_imports=dict(imports=['mmseg_semi'], allow_failed_imports=False),
            default_scope='mmseg',
            model=model,
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dict(
                    **pictures,
                    data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
                    pipeline=pipeline,
                ),
            ),
            val_dataloader=dict(
                batch_size=1,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    **pictures,
                    data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
                    pipeline=[pipeline[0], pipeline[1], pipeline[-1]],
                ),
            ),
            val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            val_cfg=dict(type='ValLoop'),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
            ),
            randomness=dict(seed=0),
            env_cfg=dict(dist_cfg=dict(backend='gloo')),
            log_processor=dict(by_epoch=False),
            work_dir=str(folder / 'work_dir'),
        )
    )
    path = folder / 'plain.py'
    config.dump(path)
    return path


@pytest.mark.parametrize('head', ['DDFPHead', 'DGCLHead', 'CCTHead', 'DeepLabV3PlusHead'])
def test_the_head_alone_has_nothing_its_loss_does_not_reach(head, tmp_path):
    cfg = Config.fromfile(plain_config(tmp_path, head))
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    assert type(model).__module__.startswith('mmseg.')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = [dataset[i] for i in range(4)]
    batch = {key: [item[key] for item in batch] for key in ('inputs', 'data_samples')}
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert losses.keys() == {
        f'{h}.{k}' for h in ('decode', 'aux') for k in ('loss_ohem', 'acc_seg')
    }
    model.parse_losses(losses)[0].backward()
    assert not [key for key, p in model.named_parameters() if p.grad is None]


def test_it_trains_with_mmsegs_own_tool(tmp_path):
    # a process of its own, in which only the config imports the package
    done = subprocess.run(
        [sys.executable, MMSEG_TOOLS / 'train.py', plain_config(tmp_path)],
        env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert 'decode.loss_ohem' in done.stdout and 'aux.loss_ohem' in done.stdout
    assert 'mIoU' in done.stdout
    saved = torch.load(tmp_path / 'work_dir/iter_3.pth', weights_only=False)['state_dict']
    assert not [key for key in saved if 'aux_norm' in key]
    assert all(tensor.isfinite().all() for tensor in saved.values())


def train_as(rank: int, path: Path, folder: Path) -> None:
    """One of two processes; MMEngine's own launcher would ask for a GPU."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=2)
    cfg = Config.fromfile(path)
    cfg.launcher = 'pytorch'
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, find_unused_parameters=False
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    torch.save([p.detach() for p in runner.model.parameters()], folder / f'rank{rank}.pt')


def test_it_trains_on_two_processes_without_find_unused_parameters(tmp_path):
    path = plain_config(tmp_path)
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=train_as, args=(r, path, tmp_path)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        process.kill()
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f'rank{rank}.pt') for rank in range(2))
    assert len(first) > 50
    for mine, theirs in zip(first, second, strict=True):
        assert torch.equal(mine, theirs)
