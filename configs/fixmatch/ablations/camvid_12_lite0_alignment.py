# The teacher's predictions are aligned with the classes of the labels, which show the same kind of scenes.
_base_ = '../camvid_12_lite0.py'
model = dict(
    pseudo_label=dict(
        _delete_=True,
        type='DistributionAlignment',
        labeller=dict(type='ConfidenceThreshold', threshold=0.7),
        power=1.0,
    )
)
