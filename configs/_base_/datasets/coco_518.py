# COCO 2017: 118,287 training images, 80 categories of objects and background, evaluated on the 5,000 of val2017, in crops of 518 pixels,
# 37 patches of 14. One folder holds the masks of train2017 and val2017 (docs/data.md). The lists come from tools/splits.py import.
_base_ = './semi.py'
data_root = 'data/coco/'
crop_size = (518, 518)
num_classes = 81
gpus = 4
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labels = dict(type='LoadSegLabels', num_classes=num_classes)
labeled_pipeline = [_base_.load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both]
tta_pipeline = _base_.wide_tta_pipeline
train_dataloader = dict(
    dataset=dict(
        labeled=dict(
            type='COCOObjectsDataset',
            data_root=data_root,
            data_prefix=dict(img_path='train2017', seg_map_path='masks'),
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='COCOObjectsDataset',
            data_root=data_root,
            data_prefix=dict(img_path='train2017'),
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='COCOObjectsDataset',
        data_root=data_root,
        data_prefix=dict(img_path='val2017', seg_map_path='masks'),
    ),
)
test_dataloader = val_dataloader
