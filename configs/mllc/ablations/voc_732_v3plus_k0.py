_base_ = '../voc_732_v3plus.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
