_base_ = '../cityscapes_u2pl_744.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
