_base_ = '../cityscapes_744.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
