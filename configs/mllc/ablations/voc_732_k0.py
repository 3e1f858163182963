_base_ = '../voc_732.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
