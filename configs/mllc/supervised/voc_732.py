# The baseline that MLLC's paper names: the same network, batches and steps, labels only.
_base_ = '../voc_732.py'
model = dict(
    student=dict(decode_head=dict(embedding_channels=0, rounds=0)),
    teacher=None,
    pseudo_label=None,
    mixing=None,
    objectives=[dict(type='SupervisedObjective')],
)
train_dataloader = dict(
    batch_size=10,
    sampler=dict(batch_size=10, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)
