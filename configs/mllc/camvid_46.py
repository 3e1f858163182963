# CamVid from scratch, 46 labelled frames (480 x 360 frames, ResNet-50, DeepLabV3+): MLLC on graphs at stride 8.
_base_ = '../fixmatch/camvid_46.py'
model = dict(
    student=dict(decode_head=dict(type='MLLCPlusHead', embedding_channels=256, rounds=2)),
    teacher=dict(rows='weak', start=0),
    pseudo_label=dict(_delete_=True, type='TrainedGraphCorrection'),
    mixing=dict(_delete_=True, type='ClassMix'),
    forward='stream',
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', inter_start=4),  # 2,000 iterations
    ],
)
default_hooks = dict(teacher=dict(momentum=0.01))
