# MLLC: pseudo-labels are corrected on graphs of features and of labels, two rounds; a mixed view's colour comes after mixing.
mllc = dict(
    teacher=dict(weights='ema', mode='eval', buffers='copy', rows='weak'),
    pseudo_label=dict(type='TrainedGraphCorrection'),
    mixing=dict(
        type='ColourAfterMixing',
        mixing=dict(type='ClassMix'),
        mean=[103.530, 116.280, 123.675],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    forward='stream',
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', w_inter=0.1, w_intra=0.1, inter_start=2000),
    ],
)
