_base_ = '../voc_92.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
