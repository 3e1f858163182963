_base_ = '../cityscapes_186.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
