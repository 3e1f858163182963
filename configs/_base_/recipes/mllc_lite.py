# MLLC in the frame of lite.py: two rounds of label correction on graphs of 21 x 21 nodes. The mixing and the strong view are
# those of the frame: MLLC's own, ClassMix and colours after it, are
# mixing=dict(_delete_=True, type='ColourAfterMixing', mixing=dict(type='ClassMix'), mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True)
# with unlabelled images in the weak view alone (to_weak of datasets/semi.py).
_base_ = './fixmatch_lite.py'
model = dict(
    student=dict(
        decode_head=dict(
            type='MLLCPlusHead',
            embedding_channels=96,
            rounds=2,
            class_layer='identity',  # 'factored' learns to predict for most of so short a run
            graph=dict(top_k=20),
        )
    ),
    # the frame's threshold, on corrected predictions; MLLC labels every pixel
    pseudo_label=dict(_delete_=True, type='TrainedGraphCorrection', label=_base_.lite.pseudo_label),
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only
        dict(
            type='MLLCObjective',
            w_clg=_base_.unlabeled_weight,
            tau_omega=0.9,  # OHEM leaves few pixels more confident than that
            inter_start=2,
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[1]),
        ),
    ],
)
