# The baseline of MLLC: ClassMix with an averaged teacher, weighted by the share of certain pixels; no graph, no embedding.
_base_ = '../../fixmatch/camvid_46_small.py'
model = dict(
    pseudo_label=dict(_delete_=True, type='TrainedGraphCorrection'),
    mixing=dict(_delete_=True, type='ClassMix'),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='MLLCObjective',
            tau_omega=0.9,  # mined labels leave few pixels more confident than that
            w_inter=0.0,
            w_intra=0.0,
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[8]),
        ),
    ],
)
