# VOC classic, 732 labelled images, in crops of 321 pixels out of images with a long side of 200 to 800: ST++ as published, three
# trainings of 80 epochs with batches of 16 on 4 GPUs. Run it by tools/selective_retraining.py.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc_two_each.py',
    '../_base_/schedules/voc.py',
    '../_base_/default_runtime.py',
]
from mmseg_semi.methods.stpp import lengths_on_split

crop_size = (321, 321)
crop = dict(_base_.crop, crop_size=crop_size, base=400)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [
    _base_.load,
    dict(type='LoadPseudoMask', num_classes=_base_.num_classes),
    _base_.valid,
    crop,
    _base_.flip,
    _base_.to_pseudo_labeled,
]
keys = lengths_on_split(_base_, split='voc classic 732')
keys['train_dataloader']['dataset'].update(
    labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
)
model = dict(
    # output stride 8
    student=dict(
        backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        decode_head=dict(dilations=(12, 24, 36)),
    ),
    # the published loss is one mean over all pixels of a batch, half of which is pseudo-labelled
    objectives=[
        dict(type='SupervisedObjective', weight=0.5),
        dict(type='PseudoMaskObjective', weight=0.5),
    ],
)
keys['stages']['labels']['model'] = dict(objectives=[dict(type='SupervisedObjective')])
globals().update(keys)
del keys
