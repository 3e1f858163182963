# The baseline that MLLC's paper names: the same network, batches and steps, labels only.
_base_ = '../cityscapes_372.py'
model = dict(
    student=dict(decode_head=dict(embedding_channels=0, rounds=0)),
    teacher=None,
    pseudo_label=None,
    mixing=None,
    objectives=[dict(type='SupervisedObjective')],
)
train_dataloader = dict(
    batch_size=2,
    sampler=dict(batch_size=2, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)
