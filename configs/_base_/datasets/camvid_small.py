# CamVid at a third of its size, for use on a CPU: every frame is resized to 160 x 120 pixels, in training and in evaluation.
# Labels are resized with their image and compared at that size, which keeps evaluation cheap; its mIoU does not compare with
# that of full frames.
_base_ = './camvid.py'
frame_size = (160, 120)  # width, height
crop_size = (112, 112)
strong_view = _base_.small_strong_view
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.75, 1.5))
resize = dict(type='Resize', scale=frame_size)
load, labels, valid, flip = _base_.load, _base_.labels, _base_.valid, _base_.flip
labeled_pipeline = [load, labels, resize, crop, flip, _base_.to_labeled]
unlabeled_pipeline = [load, resize, valid, crop, flip, _base_.to_both_small]

# small frames with labels of their size, for evaluation
val_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=frame_size),
    dict(type='EvaluateAtThisSize'),
    dict(type='PackSegInputs'),
]

# inference on an image of any size, predicted at that size; MMSegmentation's own transforms alone
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=frame_size),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

# evaluation at full size with test-time augmentation (tools/test.py --tta)
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=scale) for scale in ((120, 90), frame_size, (200, 150))],
            *_base_.tta_rest,
        ],
    ),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
