_base_ = '../cityscapes_372.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
