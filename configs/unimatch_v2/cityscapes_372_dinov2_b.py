_base_ = './cityscapes_372_dinov2_s.py'
model = dict(student=_base_.base)
