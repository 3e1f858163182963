# The baseline of CCT on Cityscapes and CamVid, 50 labelled images each: the same network and steps, labels only.
_base_ = './cct_cityscapes_camvid_50.py'
labels_only = dict(objectives=[dict(type='SupervisedObjective')])
model = dict(domains=dict(cityscapes=labels_only, camvid=labels_only))
train_dataloader = dict(
    batch_size=6,
    sampler=dict(
        batch_size=6,
        samplers=dict(
            cityscapes=dict(batch_size=2, source_ratio=[1]),
            camvid=dict(batch_size=4, source_ratio=[1]),
        ),
    ),
    dataset=dict(domains=dict(cityscapes=dict(unlabeled=None), camvid=dict(unlabeled=None))),
)
