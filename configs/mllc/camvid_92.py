# CamVid from scratch, 92 labelled frames.
_base_ = './camvid_46.py'
split = 'configs/splits/camvid/92/seed0'
train_dataloader = dict(
    dataset=dict(
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
