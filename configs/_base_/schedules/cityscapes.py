# 240 epochs of 325 iterations: ceil(2603 / 4) // 2 on 4 GPUs with 2 + 2 images each. No Cityscapes recipe of DDFP was
# published; learning rate, epochs and OHEM are those of UniMatch (github.com/LiheYoung/UniMatch), which it builds on.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=240 * 325, val_interval=4 * 325)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=240 * 325, by_epoch=False)
]
