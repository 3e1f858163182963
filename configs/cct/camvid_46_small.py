# CamVid from scratch, 46 labelled frames (160 x 120 frames, a small network): cross-consistency of auxiliary decoders.
_base_ = [
    '../_base_/models/cct_small.py',
    '../_base_/datasets/camvid_small_weak.py',
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
    objectives=[
        dict(type='SupervisedObjective'),
        # 8 epochs of labels only: from scratch, there is nothing to agree on before
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=8),
            # sky, building, road, pavement, tree: the other classes are objects
            background_classes=(0, 1, 3, 4, 5),
        ),
    ],
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
