# The baseline of CCT on Cityscapes and SUN RGB-D, 1,500 labelled images each: the same network and steps, labels only.
_base_ = './cct_cityscapes_sunrgbd_1500.py'
labels_only = dict(objectives=[dict(type='SupervisedObjective')])
model = dict(domains=dict(cityscapes=labels_only, sunrgbd=labels_only))
train_dataloader = dict(
    batch_size=6,
    sampler=dict(
        batch_size=6,
        samplers=dict(
            cityscapes=dict(batch_size=2, source_ratio=[1]),
            sunrgbd=dict(batch_size=4, source_ratio=[1]),
        ),
    ),
    dataset=dict(domains=dict(cityscapes=dict(unlabeled=None), sunrgbd=dict(unlabeled=None))),
)
