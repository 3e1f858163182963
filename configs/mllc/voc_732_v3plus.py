# VOC classic, 732 labelled images: MLLC on DeepLabV3+ with graphs at stride 8. The authors' network and schedule are not
# published: head, optimiser and length are those of the other methods here.
_base_ = '../fixmatch/voc_732.py'
model = dict(
    student=dict(decode_head=dict(type='MLLCPlusHead', embedding_channels=256, rounds=2)),
    teacher=dict(rows='weak', start=0),
    pseudo_label=dict(_delete_=True, type='TrainedGraphCorrection'),
    mixing=dict(_delete_=True, type='ClassMix'),
    forward='stream',
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', inter_start=3.25),  # 2,000 iterations
    ],
)
default_hooks = dict(teacher=dict(momentum=0.01))
