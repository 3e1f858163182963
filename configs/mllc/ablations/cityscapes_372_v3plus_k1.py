_base_ = '../cityscapes_372_v3plus.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
