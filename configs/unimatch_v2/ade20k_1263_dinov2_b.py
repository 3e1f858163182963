_base_ = './ade20k_1263_dinov2_s.py'
model = dict(student=_base_.base)
