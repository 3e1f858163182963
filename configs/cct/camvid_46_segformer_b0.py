# CamVid from scratch, 46 labelled frames, SegFormer-B0: auxiliary linear classifiers on perturbed features of its head.
_base_ = [
    '../_base_/models/segformer_b0.py',
    '../_base_/datasets/camvid_weak.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=500,
    forward='stream',
    student=dict(decode_head=dict(dropout_ratio=0.0)),  # the target is the answer on clean features
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=1),
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

# SegFormer's optimiser at ten times its learning rate, for weights that were never trained; no decay of norms
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=500, end=20000, by_epoch=False),
]
