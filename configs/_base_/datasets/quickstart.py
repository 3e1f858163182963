# Generated scenes of 112 x 112 pixels: 8 labelled, 240 without labels, 60 for validation.
# Draw them with: python tools/quickstart.py --data-only
_base_ = './semi.py'
data_root = 'data/quickstart/'
crop_size = (64, 64)
num_classes = 6
strong_view = _base_.small_strong_view
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.7, 1.1))
labels = dict(type='LoadSegLabels', num_classes=num_classes)
labeled_pipeline = [_base_.load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both_small]

# Scenes are so small that loading them in the process itself costs less than handing them over.
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        labeled=dict(
            type='QuickstartDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
            ann_file='labeled.txt',
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='QuickstartDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train'),
            ann_file='unlabeled.txt',
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=10,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='QuickstartDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
    ),
)
test_dataloader = val_dataloader
