_base_ = '../voc_366.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
