# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others: DGCL's anchors with U2PL's negatives.
_base_ = ['../../_base_/datasets/camvid_clips_lite.py', '../../_base_/recipes/dgcl_lite.py']
unreliable = dict(
    type='DGCLUnreliableObjective',
    unreliable=dict(type='Line', values=(20.0, 0.0), times=(0, 8), whole=True),
    queue_size=3000,
    keys_per_step=200,
)
model = dict(
    teacher=dict(rows='labeled+weak'),
    objectives=[*_base_.model.objectives[:2], dict(_base_.contrast, **unreliable)],
)
train_dataloader = dict(dataset=dict(split='camvid_clips 12 seed0'))
