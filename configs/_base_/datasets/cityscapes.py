# Cityscapes: 2,975 training images of 2048 x 1024 pixels, 19 classes, evaluated on the 500 images of val, in windows of the crop
# size (test_cfg of the model). Needs the labelTrainIds masks of MMSegmentation's converter, and lists from tools/splits.py import.
_base_ = './semi.py'
data_root = 'data/cityscapes/'
crop_size = (801, 801)
num_classes = 19
batch_size_labeled = 2  # images a GPU
batch_size_unlabeled = 2
gpus = 4
load = dict(type='LoadImage', defer=True)  # RandomScaleCrop decodes the part that it shows
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labels = dict(type='LoadSegLabels', num_classes=num_classes)
labeled_pipeline = [load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [load, _base_.valid, crop, _base_.flip, _base_.to_both]
tta_pipeline = _base_.wide_tta_pipeline
train_dataloader = dict(
    batch_size=batch_size_labeled + batch_size_unlabeled,
    sampler=dict(
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
    dataset=dict(
        labeled=dict(
            type='CityscapesDataset',
            data_root=data_root,
            data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='CityscapesDataset',
            data_root=data_root,
            data_prefix=dict(img_path='leftImg8bit/train'),
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    ),
)
test_dataloader = val_dataloader
