# Own folders, as data/own/data.yaml describes them (docs/custom_data.md): images with masks, images
# without, and what the masks' values mean. The number of classes stands in model.student.decode_head.
_base_ = './semi.py'
data_file = 'data/own/data.yaml'
crop_size = (512, 512)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
load = dict(type='LoadAnyImage')
labels = dict(type='LoadAnyLabels')
labeled_pipeline = [load, labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [load, _base_.valid, crop, _base_.flip, _base_.to_both]

# complete images with masks of any kind, for evaluation
val_pipeline = [load, labels, dict(type='PackSegInputs')]

# inference on single images; images of more than 8 bits with a range of their own need value_range
test_pipeline = [load, dict(type='PackSegInputs')]

# evaluation with test-time augmentation (tools/test.py --tta)
tta_pipeline = [
    load,
    dict(
        type='TestTimeAug',
        transforms=[
            _base_.tta_pipeline[1].transforms[0],
            _base_.tta_rest[0],
            [labels],
            _base_.tta_rest[2],
        ],
    ),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(
            type='FolderDataset', data_file=data_file, part='labeled', pipeline=labeled_pipeline
        ),
        unlabeled=dict(
            type='FolderDataset', data_file=data_file, part='unlabeled', pipeline=unlabeled_pipeline
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(type='FolderDataset', data_file=data_file, part='val', pipeline=val_pipeline)
)
# the images of the key test; without it those of val
test_dataloader = dict(
    dataset=dict(type='FolderDataset', data_file=data_file, part='test', pipeline=val_pipeline)
)
