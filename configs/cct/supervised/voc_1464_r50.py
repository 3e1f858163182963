# The network of configs/cct/voc_1464_r50.py from its labelled images alone, in as many iterations.
_base_ = '../voc_1464_r50.py'
model = dict(objectives=[dict(type='SupervisedObjective')])
train_dataloader = dict(
    batch_size=10,
    sampler=dict(batch_size=10, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)
