# What the authors' script computes, its crashes repaired: the student in train mode labels its own weak views, one bank for the
# features of all levels, a class-level graph gated by the permuted class map, no contrast within an image, void takes part in
# graphs and counts, labels at the nodes by plain nearest. Evaluated at half size, labels included, as the script does: that
# mIoU is not the official one. The script starts from COCO weights: --cfg-options
# model.student.backbone.init_cfg.checkpoint=<tools/model_converters/deeplab_coco_resnet.py>.
_base_ = '../cityscapes_372.py'
# images are made half as large by Pillow, with antialiasing
load = dict(type='LoadImage')
resize = dict(type='Resize', scale=_base_.half_size, backend='pillow')
labeled_pipeline = [load, _base_.labels, resize, _base_.crop, _base_.to_labeled]
unlabeled_pipeline = [load, resize, _base_.valid, _base_.crop, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)
model = dict(
    student=dict(decode_head=dict(graph=dict(clg_gate='permuted'))),
    teacher=dict(weights='student', mode='train', rows='weak'),
    pseudo_label=dict(pad_mask=False, label_grid='nearest'),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', inter_start=2000, w_intra=0.0, banks='shared'),
    ],
)
val_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations'),
    resize,
    dict(type='EvaluateAtThisSize'),
    dict(type='PackSegInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
