# PASCAL VOC 2012 as MLLC trains on it: crops of 321 pixels out of images of 0.5 to 1.6 times their size, labelled and
# unlabelled ones alike, without flips; the strong view's colour comes after mixing (ColourAfterMixing).
_base_ = './voc_320.py'
crop_size = (321, 321)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 1.6), factor='tenths')
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
