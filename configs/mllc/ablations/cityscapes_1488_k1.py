_base_ = '../cityscapes_1488.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
