# CamVid from scratch, 46 labelled frames, SegFormer-B0: auxiliary linear classifiers on perturbed features of its head.
_base_ = [
    '../_base_/models/segformer_b0.py',
    '../_base_/datasets/camvid_weak.py',
    '../_base_/schedules/camvid_segformer.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
model = dict(
    iters_per_epoch=500,
    forward='stream',
    student=dict(
        decode_head=dict(dropout_ratio=0.0)
    ),  # the target is the prediction on clean features
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
