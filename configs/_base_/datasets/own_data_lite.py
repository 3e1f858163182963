# Own folders, for a pretrained network on a CPU. Images of every size are brought to a long side of frame_size pixels in training,
# evaluation and inference; predictions are brought back to the size of the image, and compared with its mask there. Objects that
# are a few pixels wide then need a larger frame_size (in all places below) and crop_size.
# Sides are 16 m + 1, as camvid_lite.py explains: 257 x 193 for images of 4:3, 257 x 145 for 16:9.
_base_ = './own_data.py'
frame_size = 257
crop_size = (161, 161)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.75, 1.5), base=frame_size)
load, labels, valid, flip = _base_.load, _base_.labels, _base_.valid, _base_.flip
labeled_pipeline = [load, labels, crop, flip, _base_.to_labeled]
unlabeled_pipeline = [load, valid, crop, flip, _base_.to_both_lite]

# resampled as in training, by Pillow; masks are loaded after it and keep their size
resize, *others = [
    dict(type='ResizeAnyImage', scale=(side, side), keep_ratio=True)
    for side in (frame_size, 193, 321)
]
val_pipeline = [load, resize, labels, dict(type='PackSegInputs')]
test_pipeline = [load, resize, dict(type='PackSegInputs')]
tta_pipeline = [
    load,
    dict(
        type='TestTimeAug',
        transforms=[[resize, *others], *_base_.tta_pipeline[1].transforms[1:]],
    ),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
