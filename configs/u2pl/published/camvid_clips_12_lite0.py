# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others: U2PL with the teacher, threshold, mixing,
# weights and norms of its published configs, instead of those of lite.py.
_base_ = [
    '../../_base_/datasets/camvid_clips_lite.py',
    '../../_base_/recipes/u2pl_published_lite.py',
]
unlabeled_pipeline = [
    *_base_.unlabeled_pipeline[:-1],
    _base_.to_weak,
]  # the strong view is the weak one
train_dataloader = dict(
    dataset=dict(split='camvid_clips 12 seed0', unlabeled=dict(pipeline=unlabeled_pipeline))
)
