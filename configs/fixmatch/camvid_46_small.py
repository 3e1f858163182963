# CamVid from scratch, 46 labelled frames (160 x 120 frames, a small network).
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/camvid_small.py',
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
    # averaged weights with batch norms of their own: the student's batches hold strong views, so its running statistics do not
    # fit them
    teacher=dict(weights='ema', mode='train', buffers='own', rows='labeled+weak', start=1),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.9),
    mixing=dict(type='CutMix', prob=0.5),
    objectives=[
        dict(type='SupervisedObjective'),
        # 8 epochs of labels only: from scratch, the first epochs' pseudo-labels are mostly wrong
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
