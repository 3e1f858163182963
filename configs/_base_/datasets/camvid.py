# CamVid at full size: 367 training frames of 360 x 480 pixels, 11 classes, evaluated on 101 frames.
# Prepare data/camvid with tools/dataset_converters/camvid.py; splits are committed in configs/splits/camvid.
_base_ = './semi.py'
data_root = 'data/camvid/'
crop_size = (360, 360)
num_classes = 11
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labels = dict(type='LoadSegLabels', num_classes=num_classes)
labeled_pipeline = [_base_.load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(
            type='CamVidDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='CamVidDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train'),
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='CamVidDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
    ),
)
test_dataloader = val_dataloader
