_base_ = './coco_925_dinov2_s.py'
model = dict(student=_base_.base)
