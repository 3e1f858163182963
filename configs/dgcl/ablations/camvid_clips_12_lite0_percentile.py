# DGCL's own labels: of each batch the most uncertain 20 % of the pixels have no label at first, none at the end.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(
    pseudo_label=dict(
        _delete_=True,
        type='EntropyPercentile',
        drop=dict(type='Line', values=(20.0, 0.0), times=(1, 8)),
    )
)
