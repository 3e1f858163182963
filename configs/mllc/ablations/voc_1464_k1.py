_base_ = '../voc_1464.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
