# Label correction without trained layers as the pseudo-labeller of FixMatch.
_base_ = '../../fixmatch/camvid_46_small.py'
model = dict(
    pseudo_label=dict(
        _delete_=True,
        type='GraphCorrection',
        rounds=2,
        stride=4,
        graph=dict(top_k=20),
        label=dict(type='ConfidenceThreshold', threshold=0.9),
    )
)
