# CamVid from scratch, 12 labelled frames.
_base_ = './camvid_46_small.py'
split = 'configs/splits/camvid/12/seed0'
train_dataloader = dict(
    dataset=dict(
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
