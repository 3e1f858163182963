_base_ = './cityscapes_u2pl_372.py'
model = dict(
    student=dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c')))
)
