# ADE20K of the scene parsing challenge: 20,210 training images, 150 classes, evaluated on the 2,000 of val, in crops of 518 pixels,
# 37 patches of 14. The masks are the published ones, with 0 for pixels that are ignored and 1 to 150 for the classes:
# ADE20KDataset has reduce_zero_label=True. The lists come from tools/splits.py import.
_base_ = './semi.py'
data_root = 'data/ade/ADEChallengeData2016/'
crop_size = (518, 518)
num_classes = 150
batch_size_labeled = 2  # images a GPU
batch_size_unlabeled = 2
gpus = 4
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labels = dict(type='LoadSegLabels', num_classes=num_classes)
labeled_pipeline = [_base_.load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both]
tta_pipeline = _base_.wide_tta_pipeline
train_dataloader = dict(
    batch_size=batch_size_labeled + batch_size_unlabeled,
    sampler=dict(
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
    dataset=dict(
        labeled=dict(
            type='ADE20KDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='ADE20KDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/training'),
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='ADE20KDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
    ),
)
test_dataloader = val_dataloader
