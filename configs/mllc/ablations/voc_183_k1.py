_base_ = '../voc_183.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
