# The teacher's predictions are aligned, by half, with the classes of the labels.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(
    pseudo_label=dict(
        _delete_=True,
        type='DistributionAlignment',
        labeller=_base_.model.pseudo_label,
        power=0.5,
    )
)
