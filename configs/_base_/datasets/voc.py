# PASCAL VOC 2012 with the extra SBD masks: 10,582 training images, 21 classes, evaluated on the 1,449 images of val.
# SegmentationClassAug holds the masks of all training images. The lists come from tools/splits.py import.
_base_ = './semi.py'
data_root = 'data/VOCdevkit/VOC2012/'
crop_size = (513, 513)
num_classes = 21
gpus = 4
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labels = dict(type='LoadSegLabels', num_classes=num_classes)
labeled_pipeline = [_base_.load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both]
tta_pipeline = _base_.wide_tta_pipeline
train_dataloader = dict(
    dataset=dict(
        labeled=dict(
            type='PascalVOCDataset',
            data_root=data_root,
            data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='PascalVOCDataset',
            data_root=data_root,
            data_prefix=dict(img_path='JPEGImages'),
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
    ),
)
test_dataloader = val_dataloader
