# CamVid at half of its size, evaluated on 82 training frames of other clips (configs/splits/camvid_clips).
_base_ = './camvid_lite.py'
val_dataloader = dict(
    dataset=dict(
        data_root=None,  # the list stands in the repository, not beside the images
        data_prefix=dict(
            img_path=_base_.data_root + 'images/train',
            seg_map_path=_base_.data_root + 'labels/train',
        ),
        ann_file='configs/splits/camvid_clips/eval.txt',
    ),
)
test_dataloader = val_dataloader
