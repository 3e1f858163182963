# CamVid at half of its size, evaluated on 82 training frames of other clips (configs/splits/camvid_clips).
_base_ = './camvid_lite.py'
from mmseg_semi.data.splits import committed_list

val_dataloader = dict(
    dataset=dict(
        data_root=None,  # the list comes with the package, it does not stand beside the images
        data_prefix=dict(
            img_path=_base_.data_root + 'images/train',
            seg_map_path=_base_.data_root + 'labels/train',
        ),
        ann_file=committed_list('camvid_clips/eval.txt'),
    ),
)
test_dataloader = val_dataloader
