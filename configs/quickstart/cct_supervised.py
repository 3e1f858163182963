# CCT's network from the labelled scenes alone, as many steps as CCT.
_base_ = './cct.py'
model = dict(objectives=[dict(type='SupervisedObjective')])
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)
