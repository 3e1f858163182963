_base_ = './voc_732_dinov2_s.py'
model = dict(student=_base_.base)
