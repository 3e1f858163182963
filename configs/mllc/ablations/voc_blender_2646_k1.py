_base_ = '../voc_blender_2646.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
