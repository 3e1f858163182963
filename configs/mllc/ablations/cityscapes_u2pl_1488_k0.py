_base_ = '../cityscapes_u2pl_1488.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
