# The network of configs/cct/camvid_46_small.py from its labelled images alone, in as many iterations.
_base_ = '../camvid_46_small.py'
model = dict(objectives=[dict(type='SupervisedObjective')])
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)
