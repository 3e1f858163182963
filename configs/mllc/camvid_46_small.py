# CamVid from scratch, 46 labelled frames (160 x 120 frames, a small network): MLLC, two rounds of label correction on graphs
# of 28 x 28 nodes.
_base_ = '../fixmatch/camvid_46_small.py'
model = dict(
    student=dict(
        decode_head=dict(
            type='MLLCPlusHead',
            embedding_channels=64,
            rounds=2,
            class_layer='identity',  # 'factored' needs most of such a run before a corrected prediction is confident
            graph_pool=1,  # nodes at stride 4: at 8, a pole is a quarter of a node wide
            graph=dict(top_k=20),
        )
    ),
    pseudo_label=dict(_delete_=True, type='TrainedGraphCorrection'),
    mixing=dict(_delete_=True, type='ClassMix'),
    objectives=[
        dict(type='SupervisedObjective'),
        # labels only up to there, as in every small config: from scratch, strong views in the first epochs cost more than
        # their labels are worth
        dict(
            type='MLLCObjective',
            tau_omega=0.9,  # mined labels leave few pixels more confident than that
            w_inter=0.1,
            w_intra=0.1,
            inter_start=8,
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[8]),
        ),
    ],
)
