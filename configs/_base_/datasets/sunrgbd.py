# SUN RGB-D: 5,285 training images of 561 x 427 to 730 x 530 pixels, 37 classes, evaluated on the 5,050 of the official test set.
# Prepare data/sunrgbd with tools/dataset_converters/sun_rgbd.py, and lists with tools/splits.py make (docs/data.md).
_base_ = './semi.py'
data_root = 'data/sunrgbd/'
crop_size = (480, 480)
num_classes = 37
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labels = dict(type='LoadSegLabels', num_classes=num_classes)
labeled_pipeline = [_base_.load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(
            type='SUNRGBDDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='SUNRGBDDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train'),
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='SUNRGBDDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
    ),
)
test_dataloader = val_dataloader
