# VOC classic, 732 labelled images alone, in crops of 321 pixels: the supervised row of UniMatch's tables, which DGCL's and other papers
# quote. As many iterations as configs/unimatch/voc_732.py; in the released code an epoch passes the labelled images, a tenth of them.
_base_ = '../../unimatch/voc_732.py'
labeled_pipeline = [*_base_.labeled_pipeline[:-1], _base_.to_labeled]
model = dict(
    teacher=None,
    pseudo_label=None,
    mixing=None,
    feature_views=[],
    forward='joint',
    objectives=[dict(type='SupervisedObjective')],
)
train_dataloader = dict(
    batch_size=2,
    sampler=dict(batch_size=2, source_ratio=[1]),
    dataset=dict(labeled=dict(pipeline=labeled_pipeline), unlabeled=None),
)
