# CamVid from scratch, 184 labelled frames.
_base_ = './camvid_46_small.py'
split = 'configs/splits/camvid/184/seed0'
train_dataloader = dict(
    dataset=dict(
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
