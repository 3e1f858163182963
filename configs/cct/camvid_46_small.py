# CamVid from scratch, 46 labelled frames (160 x 120 frames, a small network): cross-consistency of auxiliary decoders.
_base_ = [
    '../_base_/models/cct_small.py',
    '../_base_/datasets/camvid_small_weak.py',
    '../_base_/schedules/camvid_small.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
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
    objectives=[
        dict(type='SupervisedObjective'),
        # 8 epochs of labels only: from scratch, the first epochs' predictions are no target
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=8),
            # sky, building, road, pavement, tree: the other classes are objects
            background_classes=(0, 1, 3, 4, 5),
        ),
    ],
)
