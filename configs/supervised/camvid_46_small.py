# CamVid from scratch, 46 labelled frames (160 x 120 frames, a small network): the same steps as the semi-supervised runs.
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/camvid_small.py',
    '../_base_/schedules/camvid_small.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=50,
    # most pixels are road, building, sky and tree: without OHEM, the rare classes are still at 0 when the run ends
    student=dict(
        decode_head=dict(
            loss_decode=dict(
                _delete_=True, type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=5000
            )
        )
    ),
)
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(split='camvid 46 seed0', unlabeled=None),
)
default_hooks = dict(checkpoint=dict(interval=250))
