_base_ = '../cityscapes_u2pl_372.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
