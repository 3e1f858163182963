# Cityscapes as MLLC trains on it: crops of 256 x 512 pixels out of images of half their size, labelled and unlabelled ones
# alike, without flips; the strong view's colour comes after mixing (ColourAfterMixing). Evaluated on images of half their
# size against the full labels.
_base_ = './cityscapes.py'
half_size = (1024, 512)  # width, height
crop_size = (256, 512)
gpus = 1
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(1.0, 1.0))
load = dict(type='LoadImage')
resize = dict(type='Resize', scale=half_size)
labeled_pipeline = [load, _base_.labels, resize, crop, _base_.to_labeled]
unlabeled_pipeline = [load, resize, _base_.valid, crop, _base_.to_weak]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=half_size),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
