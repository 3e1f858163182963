_base_ = '../voc_blender_1323.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
