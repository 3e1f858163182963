# CamVid at half of its size, for a pretrained network on a CPU: every frame is resized to 241 x 177 pixels, in training and in
# evaluation. Labels are resized with their image and compared at that size.
# All sides, of frames and crops, are 16 m + 1: then TensorFlow's padding, which EfficientNet-Lite was trained with, is symmetric
# in every layer, and the positions of all maps stand where align_corners=True puts them. At other sides they are shifted by a
# part of a position.
_base_ = './camvid.py'
frame_size = (241, 177)  # width, height
crop_size = (161, 161)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.75, 1.5))
resize = dict(type='Resize', scale=frame_size)
load, labels, valid, flip = _base_.load, _base_.labels, _base_.valid, _base_.flip
labeled_pipeline = [load, labels, resize, crop, flip, _base_.to_labeled]
unlabeled_pipeline = [load, resize, valid, crop, flip, _base_.to_both_lite]

# small frames with labels of their size, for evaluation
val_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations'),
    resize,
    dict(type='EvaluateAtThisSize'),
    dict(type='PackSegInputs'),
]

# inference on an image of any size, predicted at that size; MMSegmentation's own transforms alone
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    resize,
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

# evaluation at full size with test-time augmentation (tools/test.py --tta)
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=scale) for scale in ((193, 145), frame_size, (305, 225))],
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
