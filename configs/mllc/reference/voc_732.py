# What the authors' script computes, its crashes repaired (the shipped VOC config mixes nothing, and cannot run): the student in
# train mode labels its own weak views, one bank for the features of all levels, a class-level graph gated by the permuted class
# map, no contrast within an image, padding takes part in graphs, counts and losses, labels at the nodes by plain nearest.
# Evaluated on images padded to 505 x 505 pixels. The script starts from COCO weights: --cfg-options
# model.student.backbone.init_cfg.checkpoint=<tools/model_converters/deeplab_coco_resnet.py>.
_base_ = '../voc_732.py'
# resized without antialiasing, padded with 0 after the mean was subtracted: with the mean colour (BGR)
crop = dict(
    type='RandomScaleCrop',
    crop_size=_base_.crop_size,
    ratio_range=(0.5, 1.6),
    factor='tenths',
    interpolation='bilinear_plain',
    pad_val=dict(img=(104, 116, 124), seg=255),
)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)
model = dict(
    data_preprocessor=dict(data_preprocessor=dict(test_cfg=dict(size=(505, 505)))),
    student=dict(decode_head=dict(graph=dict(clg_gate='permuted'))),
    teacher=dict(weights='student', mode='train', rows='weak'),
    pseudo_label=dict(pad_mask=False, label_grid='nearest'),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', inter_start=2000, w_intra=0.0, banks='shared'),
    ],
)
