_base_ = '../voc_blender_662.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
