# The teacher's predictions are aligned with the classes of the labels, which show the same kind of scenes.
_base_ = '../camvid_12_lite0.py'
model = dict(
    pseudo_label=dict(
        _delete_=True,
        type='DistributionAlignment',
        labeller=_base_.model.pseudo_label,
        power=1.0,
    )
)
