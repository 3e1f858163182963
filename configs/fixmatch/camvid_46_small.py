# CamVid from scratch, 46 labelled frames (160 x 120 frames, a small network).
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/camvid_small.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=50,
    # most pixels are road, building, sky and tree: without mining, the rare classes are still at 0 when the run ends
    student=dict(
        decode_head=dict(
            loss_decode=dict(
                _delete_=True, type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=5000
            )
        )
    ),
    # averaged weights with batch norms of their own: running statistics of the student, whose batches hold strong views,
    # do not fit them
    teacher=dict(weights='ema', mode='train', buffers='own', rows='labeled+weak', start=1),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.9),
    mixing=dict(type='CutMix', prob=0.5),
    objectives=[
        dict(type='SupervisedObjective'),
        # from scratch, the pseudo-labels of the first epochs would be worth nothing: labels only up to there
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[8]),
        ),
    ],
)
default_hooks = dict(
    checkpoint=dict(interval=250),
    teacher=dict(momentum=0.02),  # a run of 1000 iterations needs a shorter memory than 0.001
)
train_dataloader = dict(
    dataset=dict(
        labeled=dict(ann_file='configs/splits/camvid/46/seed0/labeled.txt'),
        unlabeled=dict(ann_file='configs/splits/camvid/46/seed0/unlabeled.txt'),
    )
)

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1000, val_interval=250)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1000, by_epoch=False)]
